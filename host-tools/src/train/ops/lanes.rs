//! Loops over f32 rows in a form that LLVM vectorises: 16 interleaved partial sums, branch-free functions.

/// Runs `loops` compiled for the widest vector unit that this CPU has: what is inlined into the closure is
/// autovectorised once per instruction set, picked at run time.
pub fn vectorised<R>(loops: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(loops)
}

/// Lanes of a row reduction: two AVX2 or one AVX-512 register.
pub const LANES: usize = 16;

/// `Σ f(i)` over `0..len` by 16 interleaved partial sums, which are then added in order.
#[inline(always)]
fn sum_lanes(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut partial = [0f32; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, p) in partial.iter_mut().enumerate() {
            *p += f(start + lane);
        }
    }
    for i in whole..len {
        partial[i - whole] += f(i);
    }
    partial.iter().sum()
}

/// Sum of a row.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    sum_lanes(x.len(), |i| x[i])
}

/// Sum of squared differences from `mean`.
#[inline(always)]
pub fn sum_squares(x: &[f32], mean: f32) -> f32 {
    sum_lanes(x.len(), |i| (x[i] - mean) * (x[i] - mean))
}

/// Dot product of two rows of equal length.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let y = &y[..x.len()];
    sum_lanes(x.len(), |i| x[i] * y[i])
}

/// Largest element of a row.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut partial = [f32::NEG_INFINITY; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (p, &v) in partial.iter_mut().zip(chunk) {
            *p = if v > *p { v } else { *p };
        }
    }
    let rest = chunks.remainder().iter().copied();
    partial.into_iter().chain(rest).fold(f32::NEG_INFINITY, f32::max)
}

/// `target += row`, element by element.
#[inline(always)]
pub fn accumulate(target: &mut [f32], row: &[f32]) {
    for (t, &r) in target.iter_mut().zip(row) {
        *t += r;
    }
}

/// `eˣ` within 2 ULP on −87..88, flushed to the ends of that range outside it. Range reduction by ln 2 in two
/// parts and a degree-5 polynomial (Moshier, Cephes `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ leaves the rounded integer in the low mantissa bits, without a conversion instruction.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * (355.0 / 512.0) + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * (r * r) + r + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    y * scale
}

/// Gauss error function, absolute error below 5e-7: an odd rational minimax approximation on −4..4, constant
/// outside (the coefficients are those of Eigen's `erf<float>`).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let z = x * x;
    let p = -2.726_142_3e-10;
    let p = p * z + 2.770_681_4e-8;
    let p = p * z - 2.101_024_1e-6;
    let p = p * z - 5.692_506_4e-5;
    let p = p * z - 7.349_906_3e-4;
    let p = p * z - 2.954_6e-3;
    let p = p * z - 1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * z - 2.133_740_6e-4;
    let q = q * z - 1.682_827e-3;
    let q = q * z - 7.373_329_3e-3;
    let q = q * z - 1.426_473_9e-2;
    x * p / q
}

/// Hyperbolic tangent by [`exp`].
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The left operand of [`gemm`]: element (row, column) lies at `row · row_stride + column · column_stride`,
/// so that a transposed matrix needs no copy.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// Rows of [`gemm`]'s right operand and result are padded to a multiple of this.
pub const PADDING: usize = 8;

/// `c (m × n) = a (m × k) · b (k × n)` for the small matrices of one attention head; b and c are row-major
/// with `n` columns, `n` a multiple of [`PADDING`]. Four rows by sixteen columns are summed in registers,
/// ascending k.
#[inline(always)]
pub fn gemm(m: usize, n: usize, k: usize, a: Strided, b: &[f32], c: &mut [f32]) {
    debug_assert!(n.is_multiple_of(PADDING));
    let whole_rows = m / 4 * 4;
    let wide_columns = n / LANES * LANES;
    for row in (0..whole_rows).step_by(4) {
        for column in (0..wide_columns).step_by(LANES) {
            tile::<4, LANES>(row, column, n, k, a, b, c);
        }
        if wide_columns < n {
            tile::<4, PADDING>(row, wide_columns, n, k, a, b, c);
        }
    }
    for row in whole_rows..m {
        for column in (0..n).step_by(PADDING) {
            tile::<1, PADDING>(row, column, n, k, a, b, c);
        }
    }
}

#[inline(always)]
fn tile<const ROWS: usize, const COLUMNS: usize>(
    row: usize,
    column: usize,
    n: usize,
    k: usize,
    a: Strided,
    b: &[f32],
    c: &mut [f32],
) {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    for inner in 0..k {
        let b_row = &b[inner * n + column..][..COLUMNS];
        for (r, sum) in sums.iter_mut().enumerate() {
            let factor = a.data[(row + r) * a.row_stride + inner * a.column_stride];
            for (s, &value) in sum.iter_mut().zip(b_row) {
                *s += factor * value;
            }
        }
    }
    for (r, sum) in sums.iter().enumerate() {
        c[(row + r) * n + column..][..COLUMNS].copy_from_slice(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_erf_stay_within_their_stated_errors() {
        for i in -8000..=8000 {
            let x = i as f32 * 0.01;
            let want = (x as f64).exp();
            assert!(((exp(x) as f64 - want) / want).abs() < 2.5e-7, "exp({x})");
            let (got, want) = (erf(x * 0.1), candle_core::cpu::erf::erf_f64(x as f64 * 0.1));
            assert!((got as f64 - want).abs() < 5e-7, "erf({})", x * 0.1);
            assert!((tanh(x) as f64 - (x as f64).tanh()).abs() < 5e-7, "tanh({x})");
        }
    }

    #[test]
    fn gemm_agrees_with_the_definition_at_ragged_shapes() {
        for (m, n, k) in [(1, 16, 1), (5, 40, 3), (9, 8, 17), (4, 32, 2)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i % 5) as f32 - 2.0).collect();
            let mut c = vec![f32::NAN; m * n];
            gemm(m, n, k, Strided { data: &a, row_stride: 1, column_stride: m }, &b, &mut c);
            for (i, got) in c.iter().enumerate() {
                let want: f32 = (0..k).map(|x| a[x * m + i / n] * b[x * n + i % n]).sum();
                assert_eq!(*got, want);
            }
        }
    }

    #[test]
    fn reductions_cover_every_element() {
        let row: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(sum(&row), 666.0);
        assert_eq!(max(&row), 36.0);
        assert_eq!(dot(&row, &row), row.iter().map(|v| v * v).sum::<f32>());
        assert_eq!(sum_squares(&row[..3], 1.0), 2.0);
    }
}
