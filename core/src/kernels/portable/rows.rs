//! Layer norm and quantization of rows.

use half::f16;

use crate::math::inverse_sqrt;
use crate::math::Lane;
use crate::quant::{row_max_abs, row_scale, row_scale_above, to_i8, to_i8_above};
use crate::tensor::{rows, rows_mut, NormWeights};

/// Interleaved partial sums of the canonical row reduction.
const PARTIALS: usize = 16;

/// Sum of `f` over a row in the canonical order: element i goes to partial sum i mod 16; then a tree over
/// halves: 8, 4, 2, 1.
fn canonical_sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut partial = [0.0f32; PARTIALS];
    let (chunks, rest) = row.as_chunks::<PARTIALS>();
    for chunk in chunks {
        for (sum, value) in partial.iter_mut().zip(chunk) {
            *sum += f(*value);
        }
    }
    for (sum, value) in partial.iter_mut().zip(rest) {
        *sum += f(*value);
    }
    let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = partial;
    let (c0, c1, c2, c3) = (a0 + b0, a1 + b1, a2 + b2, a3 + b3);
    let (c4, c5, c6, c7) = (a4 + b4, a5 + b5, a6 + b6, a7 + b7);
    let (d0, d1, d2, d3) = (c0 + c4, c1 + c5, c2 + c6, c3 + c7);
    (d0 + d2) + (d1 + d3)
}

/// `out = γ·(x − mean)/√(var + ε) + β` in two passes, the variance divided by n. Rows have γ's length.
pub(in crate::kernels) fn layer_norm(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    for (x, out) in rows(x, width).zip(rows_mut(out, width)) {
        norm_row(x, weights, out);
    }
}

/// Converts f16 to f32.
pub(in crate::kernels) fn widen(x: &[f16], out: &mut [f32]) {
    out.iter_mut().zip(x).for_each(|(to, from)| *to = from.to_f32());
}

fn norm_row(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = x.to_f32();
    }
    let reciprocal = 1.0 / x.len().max(1) as f32;
    let mean = canonical_sum(out, |x| x) * reciprocal;
    for out in out.iter_mut() {
        *out -= mean;
    }
    let variance = canonical_sum(out, |d| d * d) * reciprocal;
    let factor = inverse_sqrt(variance + weights.eps);
    for ((out, gamma), beta) in out.iter_mut().zip(weights.gamma).zip(weights.beta) {
        *out = *out * factor * *gamma + *beta;
    }
}

/// Quantizes to int8 with the scale that maps the row's largest magnitude to 127; returns the scale.
pub(in crate::kernels) fn quantize_row(x: &[f32], out: &mut [i8]) -> f32 {
    let (scale, factor) = row_scale(row_max_abs(x));
    let mut rest = out.iter_mut();
    for (x, out) in x.iter().zip(rest.by_ref()) {
        *out = to_i8(*x, factor);
    }
    rest.for_each(|out| *out = 0);
    scale
}

/// Quantizes elements from `floor` up to int8 with a zero point; returns scale and zero point.
pub(in crate::kernels) fn quantize_row_above(x: &[f32], floor: f32, out: &mut [i8]) -> (f32, i32) {
    let max = x.iter().fold(0.0, |m, v| Lane::max(*v, m));
    let row = row_scale_above(max, floor);
    let mut rest = out.iter_mut();
    for (x, out) in x.iter().zip(rest.by_ref()) {
        *out = to_i8_above(*x, row.factor, row.zero_point_f32);
    }
    // The weights behind the row's end are zero, so the codes there can be anything.
    rest.for_each(|out| *out = 0);
    (row.scale, row.zero_point)
}
