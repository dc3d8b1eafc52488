//! The engine's own elementary functions: fixed sequences of IEEE 754 single-precision operations.
//!
//! Only +, −, ×, ÷, comparisons and bit operations: no fused multiply-add and no platform libm, so every machine computes
//! the same bits. Each function is written once over [`Lane`], which scalar and SIMD types implement, so that vector code
//! agrees bit for bit. Bounds are in ULP of the exact result, tested against double precision.

#![allow(
    clippy::approx_constant,
    clippy::excessive_precision,
    reason = "fitted coefficients, written as the fit gave them"
)]

use core::ops::{Add, Div, Mul, Sub};

use half::f16;

/// One single-precision number, or a vector of them, on which the functions of this module are defined.
pub trait Lane:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The same constant in every lane.
    fn splat(value: f32) -> Self;
    /// `if self > other { self } else { other }`: the second operand where either is not a number, as `maxps` has it.
    fn max(self, other: Self) -> Self;
    /// `if self < other { self } else { other }`, likewise.
    fn min(self, other: Self) -> Self;
    /// `2^n` for the whole number n = `self − 1.5·2^23` (see [`MAGIC`]), −126 ≤ n ≤ 127.
    fn exp2_of_magic(self) -> Self;
}

/// 1.5·2^23. Adding it rounds a number of magnitude up to 2^22 to the nearest whole number, ties to even, and leaves that
/// number in the low bits of the sum.
pub const MAGIC: f32 = 12_582_912.0;
const MAGIC_BITS: i32 = 0x4B40_0000;

impl Lane for f32 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other {
            self
        } else {
            other
        }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other {
            self
        } else {
            other
        }
    }
    #[inline(always)]
    fn exp2_of_magic(self) -> Self {
        // The low 9 bits hold n (two's complement); shifted into the exponent, 127 is the bias.
        f32::from_bits(((self.to_bits() << 23) as i32).wrapping_add(127 << 23) as u32)
    }
}

/// `x` rounded to the nearest whole number, ties to even, for |x| ≤ 2^22.
#[inline(always)]
pub fn round_to_i32(x: f32) -> i32 {
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC_BITS)
}

/// `a·u + b`, rounded twice.
#[inline(always)]
fn mul_add<L: Lane>(a: L, u: L, b: f32) -> L {
    a * u + L::splat(b)
}

/// `2^x` for −126 ≤ x ≤ 0 (smaller x count as −126), within 3 ULP; `exp2(0) = 1` exactly.
///
/// Split at the nearest whole number, 2^f on [−½, ½] by a minimax polynomial of degree 5 (relative error below 2·10⁻⁷).
#[inline(always)]
pub fn exp2<L: Lane>(x: L) -> L {
    let x = x.max(L::splat(-126.0));
    let magic = x + L::splat(MAGIC);
    let f = x - (magic - L::splat(MAGIC));
    let mut p = L::splat(0.001_327_647);
    p = mul_add(p, f, 0.009_675_541);
    p = mul_add(p, f, 0.055_507_13);
    p = mul_add(p, f, 0.240_221_2);
    p = mul_add(p, f, 0.693_146_94);
    p = mul_add(p, f, 1.0);
    p * magic.exp2_of_magic()
}

/// The Gauss error function, within 6 ULP, never outside [−1, 1].
///
/// x·P(x²)/Q(x²), both of degree 5 in x², fitted to relative error 2·10⁻⁸ on |x| ≤ 3.9, beyond which erf is ±1 in f32.
#[inline(always)]
pub fn erf<L: Lane>(x: L) -> L {
    let x = x.max(L::splat(-3.9)).min(L::splat(3.9));
    let u = x * x;
    let mut p = L::splat(2.066_459_5e-6);
    p = mul_add(p, u, 2.850_462_5e-4);
    p = mul_add(p, u, 3.737_917_5e-3);
    p = mul_add(p, u, 5.266_672_7e-2);
    p = mul_add(p, u, 1.896_577_3e-1);
    p = mul_add(p, u, 1.128_379_1);
    let mut q = L::splat(3.826_904_5e-5);
    q = mul_add(q, u, 1.157_260_7e-3);
    q = mul_add(q, u, 1.491_342e-2);
    q = mul_add(q, u, 1.138_150_6e-1);
    q = mul_add(q, u, 5.014_125_7e-1);
    q = mul_add(q, u, 1.0);
    (x * p / q).max(L::splat(-1.0)).min(L::splat(1.0))
}

/// The hyperbolic tangent, within 6 ULP, never outside [−1, 1].
///
/// x·P(x²)/Q(x²), both of degree 4 in x², fitted to relative error 2·10⁻⁸ on |x| ≤ 8.8, beyond which tanh is ±1 in f32
/// to within half an ULP.
#[inline(always)]
pub fn tanh<L: Lane>(x: L) -> L {
    let x = x.max(L::splat(-8.8)).min(L::splat(8.8));
    let u = x * x;
    let mut p = L::splat(1.371_372_1e-8);
    p = mul_add(p, u, 2.086_472_7e-5);
    p = mul_add(p, u, 3.511_014_4e-3);
    p = mul_add(p, u, 1.339_398_8e-1);
    p = mul_add(p, u, 1.0);
    let mut q = L::splat(7.922_405e-7);
    q = mul_add(q, u, 3.310_932_4e-4);
    q = mul_add(q, u, 2.593_558_3e-2);
    q = mul_add(q, u, 4.672_730_6e-1);
    q = mul_add(q, u, 1.0);
    (x * p / q).max(L::splat(-1.0)).min(L::splat(1.0))
}

/// GELU with the error function: `x/2 · (1 + erf(x/√2))` (arXiv 1606.08415, §2).
#[inline(always)]
pub fn gelu_erf<L: Lane>(x: L) -> L {
    let half = x * L::splat(0.5);
    half + half * erf(x * L::splat(core::f32::consts::FRAC_1_SQRT_2))
}

/// GELU's tanh form: `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))` (ibid.).
#[inline(always)]
pub fn gelu_tanh<L: Lane>(x: L) -> L {
    // Past ±16 the tanh is ±1 anyway; the bound keeps x³ finite.
    let bounded = x.max(L::splat(-16.0)).min(L::splat(16.0));
    let cubic = bounded * bounded * bounded * L::splat(0.044_715);
    let half = x * L::splat(0.5);
    half + half * tanh((bounded + cubic) * L::splat(0.797_884_6))
}

/// `max(x, 0)`.
#[inline(always)]
pub fn relu<L: Lane>(x: L) -> L {
    x.max(L::splat(0.0))
}

/// `1/√x` for normal, positive x, within 2 ULP.
///
/// Three Newton steps `y ← y + y·(½ − x/2·y²)` on a bit-level seed.
#[inline]
pub fn inverse_sqrt(x: f32) -> f32 {
    let half = x * 0.5;
    let mut y = micromath::F32(x).invsqrt().0;
    for _ in 0..3 {
        y = y + y * (0.5 - half * y * y);
    }
    y
}

/// Nearest f16, ties to even; what is too large becomes ±65504, and not-a-number −65504.
#[inline(always)]
pub fn to_f16(x: f32) -> f16 {
    f16::from_f32(Lane::min(Lane::max(x, -65504.0), 65504.0))
}

/// [`to_f16`] of each element.
#[inline(never)]
pub(crate) fn to_f16s(x: &[f32], out: &mut [f16]) {
    out.iter_mut().zip(x).for_each(|(to, from)| *to = to_f16(*from));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Error of `got` in units in the last place of the exact value.
    fn ulp(got: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        let spacing = (f32::from_bits(nearest.abs().to_bits() + 1) - nearest.abs()) as f64;
        (got as f64 - exact).abs() / spacing
    }

    /// Largest error over a dense sample of bit patterns from `lo` to `hi` (same sign).
    fn max_ulp(lo: f32, hi: f32, step: usize, f: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let (a, b) = (lo.to_bits().min(hi.to_bits()), lo.to_bits().max(hi.to_bits()));
        (a..=b).step_by(step).map(f32::from_bits).map(|x| ulp(f(x), exact(x as f64))).fold(0.0, f64::max)
    }

    #[test]
    fn exp2_is_within_3_ulp() {
        let worst = max_ulp(-1e-9, -125.9, 611, exp2, libm::exp2);
        std::println!("exp2: {worst:.2} ULP");
        assert!(worst <= 3.0);
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!(exp2(-1e30), exp2(-126.0));
    }

    #[test]
    fn erf_is_within_6_ulp_and_bounded() {
        let worst =
            max_ulp(1e-20, 10.0, 1009, erf, libm::erf).max(max_ulp(-1e-20, -10.0, 1009, erf, libm::erf));
        std::println!("erf: {worst:.2} ULP");
        assert!(worst <= 6.0);
        assert!(erf(50.0) <= 1.0 && erf(50.0) > 1.0 - 1.2e-7);
        assert_eq!((erf(-50.0), erf(0.0)), (-erf(50.0), 0.0));
    }

    #[test]
    fn tanh_is_within_6_ulp_and_bounded() {
        let worst =
            max_ulp(1e-20, 20.0, 1009, tanh, libm::tanh).max(max_ulp(-1e-20, -20.0, 1009, tanh, libm::tanh));
        std::println!("tanh: {worst:.2} ULP");
        assert!(worst <= 6.0);
        assert_eq!(tanh(0.0), 0.0);
    }

    #[test]
    fn inverse_sqrt_is_within_2_ulp() {
        let worst = max_ulp(1e-30, 1e30, 911, inverse_sqrt, |x| 1.0 / libm::sqrt(x));
        std::println!("inverse_sqrt: {worst:.2} ULP");
        assert!(worst <= 2.0);
    }

    #[test]
    fn gelu_is_within_3e_7_of_its_scale() {
        let mut worst = (0.0f64, 0.0f64);
        for i in -80_000..=80_000 {
            let x = i as f32 * 1e-4;
            let d = x as f64;
            let by_erf = 0.5 * d * (1.0 + libm::erf(d / core::f64::consts::SQRT_2));
            let inner = (2.0 / core::f64::consts::PI).sqrt() * (d + 0.044715 * d * d * d);
            let by_tanh = 0.5 * d * (1.0 + libm::tanh(inner));
            worst.0 = worst.0.max((gelu_erf(x) as f64 - by_erf).abs() / d.abs().max(1.0));
            worst.1 = worst.1.max((gelu_tanh(x) as f64 - by_tanh).abs() / d.abs().max(1.0));
        }
        std::println!("gelu_erf: {:.2e}, gelu_tanh: {:.2e} (relative to max(|x|, 1))", worst.0, worst.1);
        assert!(worst.0 < 3e-7 && worst.1 < 3e-7);
        assert_eq!((gelu_tanh(1e30), gelu_erf(1e30)), (1e30, 1e30));
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        for (x, want) in
            [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (126.5, 126), (-127.0, -127), (0.49, 0)]
        {
            assert_eq!(round_to_i32(x), want, "{x}");
        }
    }

    #[test]
    fn f16_conversion_saturates() {
        assert_eq!(to_f16(1e9).to_f32(), 65504.0);
        assert_eq!(to_f16(f32::NEG_INFINITY).to_f32(), -65504.0);
        assert_eq!(to_f16(f32::NAN).to_f32(), -65504.0);
        assert_eq!(to_f16(1.0 + 1.0 / 2048.0).to_f32(), 1.0);
    }
}
