//! The engine's own elementary functions: fixed sequences of IEEE 754 single-precision operations.
//!
//! They use only +, −, ×, ÷, comparisons and bit operations, no fused multiply-add and no platform libm, so
//! every machine computes the same bits. Each function is written once over [`Lane`], which scalar and SIMD
//! types implement, so that vector code agrees bit for bit. Error bounds are in ULP of the exact result, and
//! tested against double precision.

#![allow(
    clippy::approx_constant,
    clippy::excessive_precision,
    reason = "fitted coefficients, written as the fit gave them"
)]
#![allow(clippy::indexing_slicing, reason = "tables that are made when the crate is compiled")]

mod gelu;

pub use gelu::{
    gelu_erf, gelu_tanh, GateTable, ENTRIES as GATE_ENTRIES, GATE_ERF, GATE_TANH, STEPS as GATE_STEPS,
    ZERO as GATE_ZERO,
};

#[cfg(target_arch = "x86_64")]
pub use gelu::PIECE_STEPS;

use core::ops::{Add, Div, Mul, Sub};

use half::f16;

/// A single-precision number or a vector of them: the type on which the functions of this module are defined.
pub trait Lane:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The same constant in every lane.
    fn splat(value: f32) -> Self;
    /// `if self > other { self } else { other }`: the second operand if either is a NaN, as the instruction
    /// `maxps` does it.
    fn max(self, other: Self) -> Self;
    /// `if self < other { self } else { other }`, likewise.
    fn min(self, other: Self) -> Self;
    /// `2^n` for the integer n = `self − 1.5·2^23` (see [`MAGIC`]), −126 ≤ n ≤ 127.
    fn exp2_of_magic(self) -> Self;
    /// Φ of each lane by table: entry `trunc(128·self)`, clamped to −512 … 511, counted from that of zero.
    fn gate(self, table: &GateTable) -> Self;
}

/// 1.5·2^23. Adding it to a number of magnitude up to 2^22 rounds that number to the nearest integer, ties to
/// even, and leaves the integer in the low bits of the sum.
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
        // The low 9 bits hold n in two's complement. They are shifted into the exponent; 127 is its bias.
        f32::from_bits(((self.to_bits() << 23) as i32).wrapping_add(127 << 23) as u32)
    }
    #[inline(always)]
    fn gate(self, table: &GateTable) -> Self {
        gelu::gate(self, table)
    }
}

/// `x` rounded to the nearest integer, ties to even, for |x| ≤ 2^22.
#[inline(always)]
pub fn round_to_i32(x: f32) -> i32 {
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC_BITS)
}

/// `a·u + b`, rounded twice.
#[inline(always)]
fn mul_add<L: Lane>(a: L, u: L, b: f32) -> L {
    a * u + L::splat(b)
}

/// Coefficients of [`exp2`]'s polynomial, from the highest power down.
pub(crate) const EXP2_COEFFICIENTS: [f32; 6] =
    [0.001_327_647, 0.009_675_541, 0.055_507_13, 0.240_221_2, 0.693_146_94, 1.0];

/// `2^x` for −126 ≤ x ≤ 0 (smaller x count as −126), within 3 ULP; `exp2(0) = 1` exactly.
///
/// x is split into the nearest integer and the rest f. A minimax polynomial of degree 5 gives 2^f on [−½, ½],
/// with a relative error below 2·10⁻⁷.
#[inline(always)]
pub fn exp2<L: Lane>(x: L) -> L {
    let x = x.max(L::splat(-126.0));
    let magic = x + L::splat(MAGIC);
    let f = x - (magic - L::splat(MAGIC));
    let [power] = exp2_of_fractions([f]);
    power * magic.exp2_of_magic()
}

/// `2^f` of each, for −½ ≤ f ≤ ½.
#[inline(always)]
pub(crate) fn exp2_of_fractions<L: Lane, const N: usize>(f: [L; N]) -> [L; N] {
    let [highest, rest @ ..] = EXP2_COEFFICIENTS;
    let mut powers = [L::splat(highest); N];
    for coefficient in rest {
        for (power, f) in powers.iter_mut().zip(f) {
            *power = mul_add(*power, f, coefficient);
        }
    }
    powers
}

/// `1 / (1 + e^−x)`, with an error of at most 2^−22 everywhere; exactly ½ at 0, and within 0 to 1 for any x.
///
/// `e^−|x|` never overflows. For x < 0 the result is `e^x / (1 + e^x)`, so that small probabilities keep
/// their digits.
pub fn sigmoid(x: f32) -> f32 {
    let magnitude = if x < 0.0 { -x } else { x };
    let power = exp2(-magnitude * core::f32::consts::LOG2_E);
    let numerator = if x < 0.0 { power } else { 1.0 };
    numerator / (1.0 + power)
}

/// `max(x, 0)`.
#[inline(always)]
pub fn relu<L: Lane>(x: L) -> L {
    x.max(L::splat(0.0))
}

/// `1/√x` for normal, positive x, within 2 ULP.
///
/// Three Newton steps `y ← y + y·(½ − x/2·y²)` on micromath's bit-level seed.
#[inline]
pub fn inverse_sqrt(x: f32) -> f32 {
    let half = x * 0.5;
    // The sign is cleared because the seed's subtraction overflows if it is set, as in a NaN from the
    // residual stream.
    let mut y = micromath::F32(f32::from_bits(x.to_bits() & !(1 << 31))).invsqrt().0;
    for _ in 0..3 {
        y = y + y * (0.5 - half * y * y);
    }
    y
}

/// The nearest f16, ties to even. What is too large becomes ±65504, a NaN −65504.
#[inline(always)]
pub fn to_f16(x: f32) -> f16 {
    f16::from_f32(Lane::min(Lane::max(x, -65504.0), 65504.0))
}

/// [`to_f16`] of each element.
#[inline(never)]
pub(crate) fn to_f16s(x: &[f32], out: &mut [f16]) {
    out.iter_mut().zip(x).for_each(|(to, from)| *to = to_f16(*from));
}

/// `x += a` for each element.
#[inline(never)]
pub(crate) fn add_f16s(x: &mut [f32], a: &[f16]) {
    x.iter_mut().zip(a).for_each(|(x, a)| *x += a.to_f32());
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

    /// The largest error over a dense sample of bit patterns from `lo` to `hi`, which have the same sign.
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
    fn inverse_sqrt_is_within_2_ulp() {
        let worst = max_ulp(1e-30, 1e30, 911, inverse_sqrt, |x| 1.0 / libm::sqrt(x));
        std::println!("inverse_sqrt: {worst:.2} ULP");
        assert!(worst <= 2.0);
    }

    #[test]
    fn sigmoid_is_within_2_to_the_minus_22() {
        let exact = |x: f32| 1.0 / (1.0 + libm::exp(-f64::from(x)));
        let samples = (0..0x4316_0000u32).step_by(977).map(f32::from_bits).flat_map(|x| [x, -x]);
        let worst = samples.map(|x| (f64::from(sigmoid(x)) - exact(x)).abs()).fold(0.0, f64::max);
        std::println!("sigmoid: {worst:e}");
        assert!(worst <= 1.0 / 4_194_304.0);
        assert_eq!([sigmoid(0.0), sigmoid(-0.0), sigmoid(1e30)], [0.5, 0.5, 1.0]);
        assert!(sigmoid(-1e30) >= 0.0 && sigmoid(-1e30) < 1e-37);
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
