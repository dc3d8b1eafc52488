//! Softmax weights of one query: differences of scores, powers of two, weights.

use super::float::{is_moderate, leading_zeros, Factor, Number, SIGN};
use crate::math::{exp2, round_to_i32, EXP2_COEFFICIENTS};

/// Bits of an infinity; a NaN has larger ones.
const INFINITE: u32 = 0xff << 23;

/// Writes `round(e_t·scale_t)` to every `stride`-th of `weights`, where `e_t = weight_max·2^(s_t − max)`.
/// Returns the sum of `round(e_t)`.
#[inline(never)]
pub(super) fn softmax(
    scores: &[f32],
    max: f32,
    weight_max: f32,
    scales: &[f32],
    weights: &mut [i16],
    stride: usize,
) -> u32 {
    let negative_max = Number::new((-max).to_bits());
    let is_finite = max.to_bits() << 1 >> 1 < INFINITE;
    let largest = Factor::new(weight_max.to_bits());
    let mut total = 0u32;
    for ((score, scale), weight) in scores.iter().zip(scales).zip(weights.iter_mut().step_by(stride.max(1))) {
        let bits = score.to_bits();
        if !is_finite || bits << 1 >> 1 >= INFINITE || !is_moderate(scale.to_bits()) {
            let numerator = weight_max * exp2_any(*score - max);
            total = total.wrapping_add(round_to_i32(numerator) as u32);
            *weight = round_to_i32(numerator * *scale) as i16;
            continue;
        }
        let numerator = match power(Number::new(bits).plus(negative_max)) {
            Some(power) => power.times(largest),
            None => {
                *weight = 0;
                continue;
            }
        };
        total = total.wrapping_add(rounded(numerator));
        *weight = weight_of(numerator, *scale);
    }
    total
}

#[cold]
#[inline(never)]
fn exp2_any(x: f32) -> f32 {
    exp2(x)
}

/// Rounds a positive number below 2^16 to an integer.
#[inline(always)]
fn rounded(x: Number) -> u32 {
    let shift = (127 + 30 - x.exponent) as u32;
    if shift > 31 {
        return 0;
    }
    let half = 1u32.wrapping_shl(shift - 1);
    let up = x.mantissa.wrapping_add(half);
    let whole = up >> shift;
    if up & (half << 1).wrapping_sub(1) == 0 {
        return whole & !1;
    }
    whole
}

/// `round(numerator·scale)`, at most 2^15.
#[inline(always)]
fn weight_of(numerator: Number, scale: f32) -> i16 {
    const FRACTION: i32 = 8;
    let (product, exponent) = numerator.times_roughly(Factor::new(scale.to_bits()));
    let shift = 127 + 29 - FRACTION - exponent;
    if shift as u32 > 31 {
        // Scales are at most 1 in the models, but a caller's need not be.
        return if shift > 0 { 0 } else { weight_any(numerator.pack_or_zero(), scale) };
    }
    let up = (product >> shift).wrapping_add((1 << (FRACTION - 1)) + 1);
    if up & ((1 << FRACTION) - 2) == 0 || shift == 0 {
        return weight_any(numerator.pack_or_zero(), scale);
    }
    (up >> FRACTION) as i16
}

#[cold]
#[inline(never)]
fn weight_any(numerator: u32, scale: f32) -> i16 {
    round_to_i32(f32::from_bits(numerator) * scale) as i16
}

/// `2^x` for x ≤ 0. `None` where 2^15 times the power is certainly below one half.
#[inline(always)]
fn power(x: Number) -> Option<Number> {
    // The fraction f = x − n, where n is the nearest integer.
    let (sign, whole, fraction) = match x.exponent {
        132.. => return None,
        // x lies above −½.
        ..126 => (SIGN, 0, x.factor()),
        _ => {
            // −x as a multiple of 2^−26.
            let x = x.mantissa >> (131 - x.exponent) as u32;
            let up = x + (1 << 25);
            let mut whole = up >> 26;
            if up & ((1 << 26) - 1) == 0 {
                whole &= !1;
            }
            let rest = (x as i32).wrapping_sub((whole << 26) as i32);
            if rest == 0 {
                let one = Number { sign: 0, exponent: 127 - whole as i32, mantissa: 1 << 30 };
                return Some(one);
            }
            let magnitude = rest.unsigned_abs();
            let zeros = leading_zeros(magnitude);
            let fraction =
                Factor { exponent: 127 + 31 - 26 - zeros as i32, mantissa: magnitude.wrapping_shl(zeros) };
            (!(rest as u32) & SIGN, whole as i32, fraction)
        }
    };
    let power = match sign {
        0 => polynomial::<false>(fraction),
        _ => polynomial::<true>(fraction),
    };
    Some(Number { exponent: power.exponent - whole, ..power })
}

/// `2^±f` for 0 ≤ f ≤ ½ by Horner's rule.
#[inline(always)]
fn polynomial<const NEGATIVE: bool>(f: Factor) -> Number {
    let [highest, c4, c3, c2, c1, c0] = EXP2_COEFFICIENTS.map(f32::to_bits);
    let p = step::<NEGATIVE, false>(Number::new(highest), f, c4);
    let p = step::<NEGATIVE, false>(p, f, c3);
    // The result's exponent can differ from the coefficient's in two steps only: here, where it rises from
    // 0.2402 to 0.27, and in the last step, where it falls from 1 to 0.7.
    let p = if NEGATIVE { step::<true, false>(p, f, c2) } else { step::<false, true>(p, f, c2) };
    let p = step::<NEGATIVE, false>(p, f, c1);
    step::<NEGATIVE, NEGATIVE>(p, f, c0)
}

/// `coefficient ± p·f`. The coefficient is the larger operand. `CROSSES` says whether the result's exponent
/// may differ from the coefficient's.
#[inline(always)]
fn step<const NEGATIVE: bool, const CROSSES: bool>(p: Number, f: Factor, coefficient: u32) -> Number {
    let (product, coefficient) = (p.times(f), Number::new(coefficient));
    let apart = (coefficient.exponent - product.exponent) as u32;
    match (apart, NEGATIVE, CROSSES) {
        (31.., _, _) => coefficient,
        (_, false, false) => coefficient.plus_within(product, apart),
        (_, false, true) => coefficient.plus_part(product, apart),
        (_, true, false) => coefficient.minus_within(product, apart),
        (_, true, true) => coefficient.minus_part(product, apart),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value of a fraction's upper bits, and the neighbours of each.
    #[test]
    fn powers_equal_floats() {
        let near = |bits: u32| [bits.wrapping_sub(1), bits, bits + 1];
        for x in
            (0x0080_0001..0x4200_0000u32).step_by(1013).flat_map(near).map(|bits| f32::from_bits(bits | SIGN))
        {
            if x <= -32.0 {
                continue;
            }
            let want = exp2(x);
            let got = power(Number::new(x.to_bits())).expect("not below 2^-32");
            assert_eq!(got.pack(), want.to_bits(), "2^{x}");
        }
    }
}
