//! Register tiles of matrix products in fused multiply-adds, to be inlined into loops that are
//! [`vectorised`](super::lanes::vectorised).
//!
//! Four rows by sixteen columns fill eight AVX2 registers: enough independent sums to hide the latency of two
//! fused multiply-adds per cycle. (Every x86-64 since 2013 and every aarch64 has the instruction; without it
//! each would call a library function, slow but right.) Right operands and results are panels of sixteen
//! columns: (columns/16, rows, 16).

/// Columns of a panel.
pub const PANEL: usize = 16;
/// Rows of a tile.
pub const ROWS: usize = 4;

/// One row of a panel.
pub type Lane = [f32; PANEL];

/// The panel's rows in `data`.
#[inline(always)]
pub fn lanes(data: &[f32]) -> &[Lane] {
    data.as_chunks().0
}

/// [`lanes`] to write to.
#[inline(always)]
pub fn lanes_mut(data: &mut [f32]) -> &mut [Lane] {
    data.as_chunks_mut().0
}

/// `sums[r] += Σ_k a[r·stride + k] · b[k]`: rows of the left operand are contiguous and may overlap.
#[inline(always)]
pub fn add_dot<const R: usize>(sums: &mut [Lane; R], a: &[f32], stride: usize, b: &[Lane]) {
    let count = b.len();
    let rows: [&[f32]; R] = core::array::from_fn(|r| &a[r * stride..][..count]);
    for k in 0..count {
        for r in 0..R {
            let factor = rows[r][k];
            for lane in 0..PANEL {
                sums[r][lane] = factor.mul_add(b[k][lane], sums[r][lane]);
            }
        }
    }
}

/// `sums[r] += Σ_k a[k·stride + r] · b[k]`: the left operand is transposed.
#[inline(always)]
pub fn add_outer<const R: usize>(sums: &mut [Lane; R], a: &[f32], stride: usize, b: &[Lane]) {
    for (k, b) in b.iter().enumerate() {
        let factors: &[f32] = &a[k * stride..][..R];
        for r in 0..R {
            for lane in 0..PANEL {
                sums[r][lane] = factors[r].mul_add(b[lane], sums[r][lane]);
            }
        }
    }
}
