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
    let sum = x.chunks(LANES).fold(zero, |sum, x| sum + load_f16::<F>(x));
    let mean = F::splat(sum.canonical_sum() * reciprocal);
    let squares = x.chunks(LANES).fold(zero, |sum, x| {
        let d = (load_f16::<F>(x) - mean).first(x.len(), zero);
        sum + d * d
    });
    let factor = F::splat(inverse_sqrt(squares.canonical_sum() * reciprocal + weights.eps));
    let affine = weights.gamma.chunks(LANES).zip(weights.beta.chunks(LANES));
    for ((x, out), (gamma, beta)) in x.chunks(LANES).zip(out.chunks_mut(LANES)).zip(affine) {
        store((load_f16::<F>(x) - mean) * factor * load(gamma) + load(beta), out);
    }
}

/// Quantizes a row and hands its codes on, sixteen at a time: `put(first column, codes)`. Returns the scale.
#[inline(always)]
pub(super) fn quantize<F: Floats>(x: &[f32], mut put: impl FnMut(usize, F::Ints)) -> f32 {
    let zero = F::splat(0.0);
    let max = x.chunks(LANES).fold(zero, |max, x| load::<F>(x).abs().max(max));
    let (scale, factor) = row_scale(max.largest());
    let (factor, low, high) = (F::splat(factor), F::splat(-127.0), F::splat(127.0));
    for (i, x) in x.chunks(LANES).enumerate() {
        put(i * LANES, (load::<F>(x) * factor).max(low).min(high).round());
    }
    scale
}

/// Writes sixteen codes, or as many as there is room for.
#[inline(always)]
fn put_codes(codes: [i8; LANES], out: &mut [i8]) {
    match out.first_chunk_mut::<LANES>() {
        Some(out) => *out = codes,
        None => out.iter_mut().zip(codes).for_each(|(out, code)| *out = code),
    }
}

/// int8 with the scale that takes the row's largest magnitude to 127; returns the scale.
#[inline(always)]
pub(in crate::kernels) fn quantize_row<F: Floats>(x: &[f32], out: &mut [i8]) -> f32 {
    let scale =
        quantize::<F>(x, |column, codes| put_codes(codes.to_i8(), out.get_mut(column..).unwrap_or(&mut [])));
    out.iter_mut().skip(x.len()).for_each(|out| *out = 0);
    scale
}

/// int8 with a zero point, for elements from `floor` up; returns scale and zero point.
#[inline(always)]
pub(in crate::kernels) fn quantize_row_above<F: Floats>(x: &[f32], floor: f32, out: &mut [i8]) -> (f32, i32) {
    let max = x.chunks(LANES).fold(F::splat(0.0), |max, x| load::<F>(x).max(max));
    let row = row_scale_above(max.largest(), floor);
    let (factor, zero_point) = (F::splat(row.factor), F::splat(row.zero_point_f32));
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let code = load::<F>(x) * factor + zero_point;
        put_codes(code.max(F::splat(-128.0)).min(F::splat(127.0)).round().to_i8(), out);
    }
    out.iter_mut().skip(x.len()).for_each(|out| *out = 0);
    (row.scale, row.zero_point)
}
