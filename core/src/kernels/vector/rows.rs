//! Layer norm and quantization of one row.

use half::f16;

use super::{load, load_f16, store, Floats, Ints, LANES};
use crate::math::inverse_sqrt;
use crate::quant::{row_scale, row_scale_above};
use crate::tensor::NormWeights;

/// `out = γ·(x − mean)/√(var + ε) + β`, variance over n, two passes.
///
/// Lanes behind the row's end add +0 to partial sums that are never −0, which changes nothing.
#[inline(always)]
pub(in crate::kernels) fn layer_norm<F: Floats>(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let zero = F::splat(0.0);
    let reciprocal = 1.0 / x.len().max(1) as f32;
    let mut sum = zero;
    for x in x.chunks(LANES) {
        sum = sum + load_f16::<F>(x);
    }
    let mean = F::splat(sum.canonical_sum() * reciprocal);
    let mut squares = zero;
    for x in x.chunks(LANES) {
        let d = (load_f16::<F>(x) - mean).first(x.len(), zero);
        squares = squares + d * d;
    }
    let factor = F::splat(inverse_sqrt(squares.canonical_sum() * reciprocal + weights.eps));
    let affine = weights.gamma.chunks(LANES).zip(weights.beta.chunks(LANES));
    for ((x, out), (gamma, beta)) in x.chunks(LANES).zip(out.chunks_mut(LANES)).zip(affine) {
        store((load_f16::<F>(x) - mean) * factor * load(gamma) + load(beta), out);
    }
}

/// Where the codes of a row go.
pub(super) trait Codes<I> {
    /// Takes those of sixteen columns from `column` on; behind the row's end they are 0.
    fn take(&mut self, column: usize, codes: I);
}

/// Quantizes a row with the scale that takes its largest magnitude to 127; returns the scale.
#[inline(always)]
pub(super) fn quantize<F: Floats>(x: &[f32], to: &mut impl Codes<F::Ints>) -> f32 {
    let mut max = F::splat(0.0);
    for x in x.chunks(LANES) {
        max = load::<F>(x).abs().max(max);
    }
    let (scale, factor) = row_scale(max.largest());
    let (factor, low, high) = (F::splat(factor), F::splat(-127.0), F::splat(127.0));
    for (i, x) in x.chunks(LANES).enumerate() {
        to.take(i * LANES, (load::<F>(x) * factor).max(low).min(high).round());
    }
    scale
}

/// A row of codes.
struct Row<'a>(&'a mut [i8]);

impl<I: Ints> Codes<I> for Row<'_> {
    #[inline(always)]
    fn take(&mut self, column: usize, codes: I) {
        put_codes(codes, self.0.get_mut(column..).unwrap_or(&mut []));
    }
}

/// Writes sixteen codes, or as many as there is room for.
#[inline(always)]
fn put_codes<I: Ints>(codes: I, out: &mut [i8]) {
    let codes = codes.to_i8();
    match out.first_chunk_mut::<LANES>() {
        Some(out) => *out = codes,
        None => out.iter_mut().zip(codes).for_each(|(out, code)| *out = code),
    }
}

/// int8 with the scale that takes the row's largest magnitude to 127; returns the scale.
#[inline(always)]
pub(in crate::kernels) fn quantize_row<F: Floats>(x: &[f32], out: &mut [i8]) -> f32 {
    let scale = quantize::<F>(x, &mut Row(out));
    out.iter_mut().skip(x.len()).for_each(|out| *out = 0);
    scale
}

/// int8 with a zero point, for elements from `floor` up; returns scale and zero point.
#[inline(always)]
pub(in crate::kernels) fn quantize_row_above<F: Floats>(x: &[f32], floor: f32, out: &mut [i8]) -> (f32, i32) {
    let mut max = F::splat(0.0);
    for x in x.chunks(LANES) {
        max = load::<F>(x).max(max);
    }
    let row = row_scale_above(max.largest(), floor);
    let (factor, zero_point) = (F::splat(row.factor), F::splat(row.zero_point_f32));
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let code = load::<F>(x) * factor + zero_point;
        put_codes(code.max(F::splat(-128.0)).min(F::splat(127.0)).round(), out);
    }
    out.iter_mut().skip(x.len()).for_each(|out| *out = 0);
    (row.scale, row.zero_point)
}
