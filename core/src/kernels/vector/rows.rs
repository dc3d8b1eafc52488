//! Layer norm and quantization of one row.

use half::f16;

use super::{load, load_f16, store, store_f16, Floats, Ints, LANES};
use crate::kernels::spec::VECTOR_NORM_ROWS as NORM_ROWS;
use crate::math::inverse_sqrt;
use crate::quant::{row_scale, row_scale_above};
use crate::tensor::NormWeights;

/// `out = γ·(x − mean)/√(var + ε) + β`, variance over n, two passes; rows of γ's length.
#[inline(always)]
pub(in crate::kernels) fn layer_norm<F: Floats>(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    if width == 0 || weights.beta.len() != width {
        return;
    }
    for (x, out) in x.chunks(NORM_ROWS * width).zip(out.chunks_mut(NORM_ROWS * width)) {
        if x.len() == NORM_ROWS * width && out.len() == x.len() {
            norm_rows::<F, NORM_ROWS>(x, weights, out);
            continue;
        }
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            norm_rows::<F, 1>(x, weights, out);
        }
    }
}

/// f16 as f32.
#[inline(always)]
pub(in crate::kernels) fn widen<F: Floats>(x: &[f16], out: &mut [f32]) {
    let count = x.len().min(out.len());
    for (x, out) in x[..count].chunks(LANES).zip(out[..count].chunks_mut(LANES)) {
        store(load_f16::<F>(x), out);
    }
}

/// f32 as f16, bounded.
#[inline(always)]
pub(in crate::kernels) fn narrow<F: Floats>(x: &[f32], out: &mut [f16]) {
    let count = x.len().min(out.len());
    for (x, out) in x[..count].chunks(LANES).zip(out[..count].chunks_mut(LANES)) {
        store_f16(load::<F>(x), out);
    }
}

/// `N` rows. Lanes behind a row's end add +0 to partial sums that are never −0, which changes nothing.
#[inline(always)]
fn norm_rows<F: Floats, const N: usize>(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    let zero = F::splat(0.0);
    let reciprocal = 1.0 / width as f32;
    let mut sums = [zero; N];
    for start in (0..width).step_by(LANES) {
        for r in 0..N {
            sums[r] = sums[r] + load_f16::<F>(part(x, r * width, start, width));
        }
    }
    let mut means = [zero; N];
    for r in 0..N {
        means[r] = F::splat(sums[r].canonical_sum() * reciprocal);
    }
    let mut squares = [zero; N];
    for start in (0..width).step_by(LANES) {
        for r in 0..N {
            let x = part(x, r * width, start, width);
            let d = (load_f16::<F>(x) - means[r]).first(x.len(), zero);
            squares[r] = squares[r] + d * d;
        }
    }
    let mut factors = [zero; N];
    for r in 0..N {
        factors[r] = F::splat(inverse_sqrt(squares[r].canonical_sum() * reciprocal + weights.eps));
    }
    for start in (0..width).step_by(LANES) {
        let gamma = load::<F>(part(weights.gamma, 0, start, width));
        let beta = load::<F>(part(weights.beta, 0, start, width));
        for r in 0..N {
            let d = load_f16::<F>(part(x, r * width, start, width)) - means[r];
            let end = width.min(start + LANES);
            if let Some(out) = out.get_mut(r * width + start..r * width + end) {
                store(d * factors[r] * gamma + beta, out);
            }
        }
    }
}

/// Up to sixteen elements of a row that begins at `row`, from its column `start` on.
#[inline(always)]
fn part<T>(values: &[T], row: usize, start: usize, width: usize) -> &[T] {
    values.get(row + start..row + width.min(start + LANES)).unwrap_or(&[])
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
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (i, x) in chunks.iter().enumerate() {
        to.take(i * LANES, (F::load(x) * factor).max(low).min(high).round());
    }
    if !rest.is_empty() {
        to.take(chunks.len() * LANES, (F::load_first(rest) * factor).max(low).min(high).round());
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
