//! Layer norm, up to sixteen rows at a time. Reducing a row to its mean and variance has a long latency, and
//! the rows hide each other's.

use half::f16;

use super::{rows_per_group, Floats, LANES};
use crate::math::inverse_sqrt;
use crate::tensor::NormWeights;

/// `out = γ·(x − mean)/√(var + ε) + β` in two passes, the variance divided by n. Rows have γ's length.
#[inline(always)]
pub(in crate::kernels) fn layer_norm<F: Floats>(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    if width == 0 || weights.beta.len() != width {
        return;
    }
    let floats = rows_per_group(width) * width;
    for (x, out) in x.chunks(floats).zip(out.chunks_mut(floats)) {
        norm_rows::<F>(x, weights, out);
    }
}

/// Normalizes up to sixteen rows. Meanwhile `out` holds them widened to f32.
#[inline(always)]
fn norm_rows<F: Floats>(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    let rows = (x.len().min(out.len()) / width).min(LANES);
    let reciprocal = F::splat(1.0 / width as f32);
    let (mut sums, mut squares) = ([F::splat(0.0); LANES], [F::splat(0.0); LANES]);
    let (mut means, mut factors) = ([0.0; LANES], [0.0; LANES]);
    for r in 0..rows {
        sums[r] = widen::<F>(&x[r * width..(r + 1) * width], &mut out[r * width..(r + 1) * width]);
    }
    (F::canonical_sum_of_each(&sums, rows) * reciprocal).store(&mut means);
    for r in 0..rows {
        squares[r] = square_sums(&out[r * width..(r + 1) * width], F::splat(means[r]));
    }
    (F::canonical_sum_of_each(&squares, rows) * reciprocal + F::splat(weights.eps)).store(&mut factors);
    for factor in &mut factors[..rows] {
        *factor = inverse_sqrt(*factor);
    }
    for r in 0..rows {
        let out = &mut out[r * width..(r + 1) * width];
        scale(out, F::splat(means[r]), F::splat(factors[r]), weights);
    }
}

/// Widens a row and returns its partial sums. Lanes behind the row's end add +0, which changes no partial
/// sum, since none is −0.
#[inline(always)]
fn widen<F: Floats>(x: &[f16], out: &mut [f32]) -> F {
    let mut sum = F::splat(0.0);
    let ((x, x_rest), (out, out_rest)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    for (x, out) in x.iter().zip(out) {
        let wide = F::load_f16(x);
        wide.store(out);
        sum = sum + wide;
    }
    if !x_rest.is_empty() {
        let wide = F::load_f16_first(x_rest);
        wide.store_first(out_rest);
        sum = sum + wide;
    }
    sum
}

/// Partial sums of squared distances from the mean.
#[inline(always)]
fn square_sums<F: Floats>(x: &[f32], mean: F) -> F {
    let mut sum = F::splat(0.0);
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        let d = F::load(x) - mean;
        sum = sum + d * d;
    }
    if !rest.is_empty() {
        let d = (F::load_first(rest) - mean).first(rest.len(), F::splat(0.0));
        sum = sum + d * d;
    }
    sum
}

/// `x = (x − mean)·factor·γ + β`.
#[inline(always)]
fn scale<F: Floats>(x: &mut [f32], mean: F, factor: F, weights: &NormWeights) {
    let (whole, rest) = x.as_chunks_mut::<LANES>();
    let (gamma, gamma_rest) = weights.gamma.as_chunks::<LANES>();
    let (beta, beta_rest) = weights.beta.as_chunks::<LANES>();
    for ((x, gamma), beta) in whole.iter_mut().zip(gamma).zip(beta) {
        ((F::load(x) - mean) * factor * F::load(gamma) + F::load(beta)).store(x);
    }
    if !rest.is_empty() {
        let (gamma, beta) = (F::load_first(gamma_rest), F::load_first(beta_rest));
        ((F::load_first(rest) - mean) * factor * gamma + beta).store_first(rest);
    }
}
