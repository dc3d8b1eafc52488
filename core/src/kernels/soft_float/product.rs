//! int8 products of four rows with four columns, two products by one multiplication.
//!
//! The activations of two rows for one input share a word, `x₀ + 2^16·x₁`. Multiplied by a weight, the word
//! holds both products. Two such words may be added before the halves must be told apart, since 2·128·128 is
//! 2^15. So two sums are kept: that of the whole words, modulo 2^32, and that of their upper halves. The sum
//! of the lower halves is their difference.

use crate::tensor::ALIGN;

/// Rows and columns of a block.
pub(super) const BLOCK: usize = 4;

/// Sums of a block: for each column the sums of four rows.
pub(super) type Sums = [[i32; BLOCK]; BLOCK];

/// Added to a word of two products, this brings the lower half from −32,512 … 32,768 to 0 … 65,535. It also
/// takes 128 off the upper half, so that 16 bits hold it.
#[cfg(not(target_arch = "riscv32"))]
const OFFSET: i32 = 0x7fff - (128 << 16);

/// Packs up to four rows of `pitch` inputs: for each input two words, of two rows each. Missing rows are
/// zeros. `None` if the scratch is too short.
pub(super) fn pack<'s>(rows: &[i8], pitch: usize, scratch: &'s mut [i32]) -> Option<&'s [i32]> {
    let to = scratch.get_mut(..pitch.checked_mul(2)?)?;
    let (first, rest) = rows.split_at_checked(pitch)?;
    let (words, _) = to.as_chunks_mut::<2>();
    let mut rest = crate::tensor::rows(rest, pitch);
    let [second, third, fourth] = [(); 3].map(|_| rest.next());
    match (second, third, fourth) {
        (Some(second), Some(third), Some(fourth)) => {
            for ((((to, x0), x1), x2), x3) in words.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
                *to = [pair(*x0, *x1), pair(*x2, *x3)];
            }
        }
        _ => {
            let at = |row: Option<&[i8]>, k: usize| row.and_then(|row| row.get(k)).copied().unwrap_or(0);
            for (k, (to, x0)) in words.iter_mut().zip(first).enumerate() {
                *to = [pair(*x0, at(second, k)), pair(at(third, k), 0)];
            }
        }
    }
    Some(to)
}

#[inline(always)]
fn pair(low: i8, high: i8) -> i32 {
    i32::from(low).wrapping_add(i32::from(high) << 16)
}

/// The sums of two rows with one column.
#[cfg(not(target_arch = "riscv32"))]
#[derive(Clone, Copy, Default)]
struct Pair {
    /// Sum of the whole words, modulo 2^32.
    words: i32,
    /// Sum of the upper halves.
    upper: i32,
}

#[cfg(not(target_arch = "riscv32"))]
impl Pair {
    /// Adds the products of two inputs.
    #[inline(always)]
    fn add(&mut self, x: [i32; 2], w: [i32; 2]) {
        let products = x[0].wrapping_mul(w[0]).wrapping_add(x[1].wrapping_mul(w[1]));
        self.words = self.words.wrapping_add(products);
        self.upper = self.upper.wrapping_add(products.wrapping_add(OFFSET) >> 16);
    }

    /// The sums of both rows, after `words` additions of two inputs each.
    #[inline(always)]
    fn sums(self, words: usize) -> [i32; 2] {
        let upper = self.upper.wrapping_add(64 * words as i32);
        [self.words.wrapping_sub(upper << 16), upper]
    }
}

#[cfg(target_arch = "riscv32")]
core::arch::global_asm!(include_str!("riscv.s"));

#[cfg(target_arch = "riscv32")]
extern "C" {
    fn vitreous_soft_float_four_rows(
        activations: *const i32,
        activations_end: *const i32,
        panel: *const i8,
        sums: *mut Sums,
    );
    fn vitreous_soft_float_weighted(
        weights: *const i16,
        weights_end: *const i16,
        values: *const i8,
        sums: *mut Sums,
        step: usize,
    );
}

/// Products of packed rows, whose inputs are a multiple of eight, with a panel of four columns, whose weights
/// lie in pairs of inputs (4×2).
#[cfg(target_arch = "riscv32")]
#[inline(always)]
pub(super) fn four_rows(activations: &[i32], panel: &[i8], sums: &mut Sums) {
    if activations.is_empty() || !activations.len().is_multiple_of(16) || panel.len() < activations.len() * 2
    {
        return;
    }
    let of = activations.as_ptr_range();
    // SAFETY: eight inputs are 16 words of activations and 32 weights, of which there are as many.
    unsafe { vitreous_soft_float_four_rows(of.start, of.end, panel.as_ptr(), sums) };
}

/// Weighted sums of four features for each of four queries. The blocks of sixteen tokens of these features
/// begin `stride` bytes apart.
#[cfg(target_arch = "riscv32")]
#[inline(always)]
pub(super) fn weighted(weights: &[i16], values: &[i8], stride: usize, sums: &mut Sums) {
    let (tokens, rest) = (weights.len() / BLOCK, weights.len() % BLOCK);
    let last_block = tokens.saturating_sub(1) / ALIGN;
    let end = last_block.saturating_mul(stride).saturating_add((tokens - last_block * ALIGN) * BLOCK);
    if tokens == 0 || rest != 0 || stride < ALIGN * BLOCK || values.len() < end {
        return;
    }
    let of = weights.as_ptr_range();
    let step = stride - ALIGN * BLOCK;
    // SAFETY: a token is four weights and four values; those of the last one end at `end`, which is inside.
    unsafe { vitreous_soft_float_weighted(of.start, of.end, values.as_ptr(), sums, step) };
}

/// Products of packed rows with a panel of four columns, whose weights lie in pairs of inputs (4×2).
#[cfg(not(target_arch = "riscv32"))]
#[inline(never)]
pub(super) fn four_rows(activations: &[i32], panel: &[i8], sums: &mut Sums) {
    let mut pairs = [[Pair::default(); 2]; BLOCK];
    for (x, w) in activations.as_chunks::<4>().0.iter().zip(panel.as_chunks::<8>().0) {
        let (first, second) = ([x[0], x[2]], [x[1], x[3]]);
        for (column, pairs) in pairs.iter_mut().enumerate() {
            let w = [i32::from(w[2 * column]), i32::from(w[2 * column + 1])];
            pairs[0].add(first, w);
            pairs[1].add(second, w);
        }
    }
    let words = activations.len() / 2;
    for (to, [first, second]) in sums.iter_mut().zip(pairs) {
        let ([a, b], [c, d]) = (first.sums(words), second.sums(words));
        *to = [a, b, c, d];
    }
}

/// Weighted sums of four features for each of four queries. The blocks of sixteen tokens of these features
/// begin `stride` bytes apart.
#[cfg(not(target_arch = "riscv32"))]
#[inline(never)]
pub(super) fn weighted(weights: &[i16], values: &[i8], stride: usize, sums: &mut Sums) {
    let mut of_queries = Sums::default();
    let blocks = weights.chunks(ALIGN * BLOCK).zip(values.chunks(stride.max(1)));
    for (weights, values) in blocks {
        for (w, v) in weights.as_chunks::<BLOCK>().0.iter().zip(values.as_chunks::<BLOCK>().0) {
            for (sums, w) in of_queries.iter_mut().zip(w) {
                for (sum, v) in sums.iter_mut().zip(v) {
                    *sum = sum.wrapping_add(i32::from(*w).wrapping_mul(i32::from(*v)));
                }
            }
        }
    }
    *sums = of_queries;
}

/// Products of one row with a panel of four columns.
#[inline(never)]
pub(super) fn one_row(x: &[i8], panel: &[i8], sums: &mut Sums) {
    let mut of_columns = [0i32; BLOCK];
    for (x, w) in x.as_chunks::<2>().0.iter().zip(panel.as_chunks::<8>().0) {
        for (column, sum) in of_columns.iter_mut().enumerate() {
            for (x, w) in x.iter().zip(&w[2 * column..2 * column + 2]) {
                *sum = sum.wrapping_add(i32::from(*x) * i32::from(*w));
            }
        }
    }
    for (to, sum) in sums.iter_mut().zip(of_columns) {
        *to = [sum, 0, 0, 0];
    }
}
