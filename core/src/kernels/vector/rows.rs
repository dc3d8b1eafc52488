//! Layer norm, and conversion of rows.

use half::f16;

use super::{load, load_f16, store, store_f16, Floats, LANES};
use crate::kernels::spec::VECTOR_NORM_ROWS as NORM_ROWS;
use crate::math::inverse_sqrt;
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
