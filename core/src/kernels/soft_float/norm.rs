//! Layer norm: sixteen canonical partial sums, one after the other, each in registers.

use half::f16;

use super::float::{is_moderate, Factor, Number};
use crate::kernels::portable;
use crate::math::inverse_sqrt;
use crate::tensor::{rows, rows_mut, NormWeights};

/// Partial sums of the canonical row reduction.
const PARTIALS: usize = 16;

pub(super) fn layer_norm(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    for (x, out) in rows(x, width).zip(rows_mut(out, width)) {
        let is_finite = x.iter().fold(true, |all, x| all & (x.to_bits() & 0x7c00 != 0x7c00));
        if !is_finite || norm_row(x, weights, out).is_none() {
            portable::layer_norm(x, weights, out);
        }
    }
}

/// `None` where the row's factor is outside the range of the arithmetic without special cases.
fn norm_row(x: &[f16], weights: &NormWeights, out: &mut [f32]) -> Option<()> {
    let reciprocal = 1.0 / x.len().max(1) as f32;
    let mut partial = [0; PARTIALS];
    for (first, partial) in partial.iter_mut().enumerate() {
        let mut sum = Number::ZERO;
        for x in x.get(first..).unwrap_or(&[]).iter().step_by(PARTIALS) {
            sum = sum.strict().plus(Number::from_f16(x.to_bits()));
        }
        *partial = sum.pack_or_zero();
    }
    let mean = tree(partial) * reciprocal;
    let negative_mean = Number::new((-mean).to_bits());
    for (first, partial) in partial.iter_mut().enumerate() {
        let mut sum = Number::ZERO;
        let of_partial = x.get(first..).unwrap_or(&[]).iter().step_by(PARTIALS);
        for (x, out) in of_partial.zip(out.get_mut(first..).unwrap_or(&mut []).iter_mut().step_by(PARTIALS)) {
            let difference = Number::from_f16(x.to_bits()).plus(negative_mean);
            if difference.exponent < 1 {
                // The difference is zero, of either sign.
                *out = x.to_f32() - mean;
                continue;
            }
            let difference = difference.strict();
            *out = f32::from_bits(difference.pack());
            sum = sum.strict().plus(difference.times(difference.factor()).positive().strict());
        }
        *partial = sum.pack_or_zero();
    }
    let variance = tree(partial) * reciprocal;
    let float = inverse_sqrt(variance + weights.eps);
    let factor = Factor::moderate(float)?;
    for ((out, gamma), beta) in out.iter_mut().zip(weights.gamma).zip(weights.beta) {
        let (x, gain, offset) =
            (out.to_bits() << 1 >> 1, gamma.to_bits() << 1 >> 1, beta.to_bits() << 1 >> 1);
        let is_sound = is_moderate(x) && is_moderate(gain) && (offset == 0 || is_moderate(offset));
        *out = match is_sound {
            true => {
                let mut y = Number::new(out.to_bits()).times(factor).times(Factor::new(gain));
                y.sign ^= gamma.to_bits() ^ gain;
                f32::from_bits(y.plus(Number::new(beta.to_bits())).pack_or_zero())
            }
            false => scale_any(*out, float, *gamma, *beta),
        };
    }
    Some(())
}

#[cold]
#[inline(never)]
fn scale_any(x: f32, factor: f32, gamma: f32, beta: f32) -> f32 {
    x * factor * gamma + beta
}

/// The sum of the partial sums, by a tree over halves.
fn tree(partial: [u32; PARTIALS]) -> f32 {
    let mut sums = partial;
    for half in [8, 4, 2, 1] {
        let above = sums;
        for (low, high) in sums.iter_mut().zip(above.iter().skip(half)).take(half) {
            *low = sum(*low, *high);
        }
    }
    f32::from_bits(sums[0])
}

#[inline(never)]
fn sum(a: u32, b: u32) -> u32 {
    Number::new(a).plus(Number::new(b)).pack_or_zero()
}
