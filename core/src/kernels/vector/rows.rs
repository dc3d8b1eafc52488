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

/// `N` rows, which `out` holds widened in between. Lanes behind a row's end add +0 to partial sums that are never −0, which changes
/// nothing.
#[inline(always)]
fn norm_rows<F: Floats, const N: usize>(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    let (whole, rest) = (width / LANES, width % LANES);
    let (zero, reciprocal) = (F::splat(0.0), 1.0 / width as f32);
    let mut rows = Rows::<N> { out, width };
    let mut sums = [zero; N];
    for i in 0..whole {
        for r in 0..N {
            let wide = at(x, r * width + i * LANES).map_or(zero, F::load_f16);
            rows.put(r, i, wide);
            sums[r] = sums[r] + wide;
        }
    }
    if rest > 0 {
        for r in 0..N {
            let end = (r + 1) * width;
            let wide = load_f16::<F>(x.get(end - rest..end).unwrap_or(&[]));
            store(wide, rows.tail(r, rest));
            sums[r] = sums[r] + wide;
        }
    }
    let mut means = [zero; N];
    for r in 0..N {
        means[r] = F::splat(sums[r].canonical_sum() * reciprocal);
    }
    let mut squares = [zero; N];
    for i in 0..whole {
        for r in 0..N {
            let d = rows.get::<F>(r, i) - means[r];
            squares[r] = squares[r] + d * d;
        }
    }
    if rest > 0 {
        for r in 0..N {
            let d = (load::<F>(rows.tail(r, rest)) - means[r]).first(rest, zero);
            squares[r] = squares[r] + d * d;
        }
    }
    let mut factors = [zero; N];
    for r in 0..N {
        factors[r] = F::splat(inverse_sqrt(squares[r].canonical_sum() * reciprocal + weights.eps));
    }
    for i in 0..whole {
        let gamma = at(weights.gamma, i * LANES).map_or(zero, F::load);
        let beta = at(weights.beta, i * LANES).map_or(zero, F::load);
        for r in 0..N {
            let d = rows.get::<F>(r, i) - means[r];
            rows.put(r, i, d * factors[r] * gamma + beta);
        }
    }
    if rest > 0 {
        let (gamma, beta) =
            (load::<F>(&weights.gamma[width - rest..]), load::<F>(&weights.beta[width - rest..]));
        for r in 0..N {
            let out = rows.tail(r, rest);
            let d = load::<F>(out) - means[r];
            store(d * factors[r] * gamma + beta, out);
        }
    }
}

/// Sixteen elements.
#[inline(always)]
fn at<T>(values: &[T], start: usize) -> Option<&[T; LANES]> {
    values.get(start..).and_then(<[T]>::first_chunk)
}

/// `N` rows of floats.
struct Rows<'a, const N: usize> {
    out: &'a mut [f32],
    width: usize,
}

impl<const N: usize> Rows<'_, N> {
    /// The `i`-th sixteen elements of a row.
    #[inline(always)]
    fn get<F: Floats>(&self, r: usize, i: usize) -> F {
        at(self.out, r * self.width + i * LANES).map_or(F::splat(0.0), F::load)
    }
    #[inline(always)]
    fn put<F: Floats>(&mut self, r: usize, i: usize, value: F) {
        let out = self.out.get_mut(r * self.width + i * LANES..).and_then(<[f32]>::first_chunk_mut);
        if let Some(out) = out {
            value.store(out);
        }
    }
    /// A row's last elements.
    #[inline(always)]
    fn tail(&mut self, r: usize, rest: usize) -> &mut [f32] {
        let end = (r + 1) * self.width;
        self.out.get_mut(end - rest..end).unwrap_or(&mut [])
    }
}

/// Where the codes of a row go.
pub(super) trait Codes<I: Ints> {
    /// Takes those of sixteen columns from `column` on; behind the row's end they are 0.
    fn take(&mut self, column: usize, codes: I);
    /// Takes those of sixty-four columns.
    #[inline(always)]
    fn take_four(&mut self, column: usize, codes: [I; 4]) {
        for v in 0..4 {
            self.take(column + v * LANES, codes[v]);
        }
    }
}

/// Hands over the codes of a row: `round(clamp(x·factor + zero_point))`.
#[inline(always)]
fn encode<F: Floats, const SHIFTED: bool>(
    x: &[f32],
    factor: f32,
    zero_point: f32,
    to: &mut impl Codes<F::Ints>,
) {
    let (factor, zero_point, low) =
        (F::splat(factor), F::splat(zero_point), if SHIFTED { -128.0 } else { -127.0 });
    let (low, high) = (F::splat(low), F::splat(127.0));
    let (fours, rest) = x.as_chunks::<{ 4 * LANES }>();
    for (i, x) in fours.iter().enumerate() {
        let mut codes = [F::Ints::splat(0); 4];
        for (v, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
            codes[v] = code::<F, SHIFTED>(F::load(x), factor, zero_point, low, high);
        }
        to.take_four(i * 4 * LANES, codes);
    }
    let mut column = x.len() - rest.len();
    let (ones, rest) = rest.as_chunks::<LANES>();
    for x in ones {
        to.take(column, code::<F, SHIFTED>(F::load(x), factor, zero_point, low, high));
        column += LANES;
    }
    if !rest.is_empty() {
        to.take(column, code::<F, SHIFTED>(F::load_first(rest), factor, zero_point, low, high));
    }
}

#[inline(always)]
fn code<F: Floats, const SHIFTED: bool>(x: F, factor: F, zero_point: F, low: F, high: F) -> F::Ints {
    let scaled = x * factor;
    let code = if SHIFTED { scaled + zero_point } else { scaled };
    code.max(low).min(high).round()
}

/// The largest of `f(x)` and 0.
#[inline(always)]
fn largest<F: Floats, const ABS: bool>(x: &[f32]) -> f32 {
    // Maxima wait for each other.
    let mut max = [F::splat(0.0); 2];
    let (pairs, rest) = x.as_chunks::<{ 2 * LANES }>();
    for x in pairs {
        for (v, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
            let x = F::load(x);
            max[v] = if ABS { x.abs() } else { x }.max(max[v]);
        }
    }
    for x in rest.chunks(LANES) {
        let x = load::<F>(x);
        max[0] = if ABS { x.abs() } else { x }.max(max[0]);
    }
    max[0].max(max[1]).largest()
}

/// Quantizes a row with the scale that takes its largest magnitude to 127; returns the scale.
#[inline(always)]
pub(super) fn quantize<F: Floats>(x: &[f32], to: &mut impl Codes<F::Ints>) -> f32 {
    let (scale, factor) = row_scale(largest::<F, true>(x));
    encode::<F, false>(x, factor, 0.0, to);
    scale
}

/// A row of codes.
struct Row<'a>(&'a mut [i8]);

impl<I: Ints> Codes<I> for Row<'_> {
    #[inline(always)]
    fn take(&mut self, column: usize, codes: I) {
        let codes = codes.to_i8();
        let out = self.0.get_mut(column..).unwrap_or(&mut []);
        match out.first_chunk_mut::<LANES>() {
            Some(out) => *out = codes,
            None => out.iter_mut().zip(codes).for_each(|(out, code)| *out = code),
        }
    }
    #[inline(always)]
    fn take_four(&mut self, column: usize, codes: [I; 4]) {
        let out = self.0.get_mut(column..).unwrap_or(&mut []);
        match out.first_chunk_mut() {
            Some(out) => *out = I::four_to_i8(codes),
            None => out.iter_mut().zip(I::four_to_i8(codes)).for_each(|(out, code)| *out = code),
        }
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
    let row = row_scale_above(largest::<F, false>(x), floor);
    encode::<F, true>(x, row.factor, row.zero_point_f32, &mut Row(out));
    out.iter_mut().skip(x.len()).for_each(|out| *out = 0);
    (row.scale, row.zero_point)
}
