//! IEEE 754 single precision by integer operations, without the special cases that sound models never meet.
//!
//! A compiler's routines for cores without FPU take any numbers, and cost 50 to 150 instructions a call. Here
//! all numbers are finite and far from the ends of the exponent's range; callers check that once per row or
//! column. Operations are inlined, and a number stays split into sign, exponent and mantissa between them.
//! Each operation rounds to nearest even, as the oracle's do.

/// The exponent of zero: so low that a sum with zero is the other summand.
const ZERO: i32 = -4096;
/// The sign bit.
pub(super) const SIGN: u32 = 1 << 31;
/// The mantissa 1 of a [`Number`], and of a [`Factor`].
const ONE: u32 = 1 << 30;
const FACTOR_ONE: u32 = 1 << 31;

/// `±mantissa/2^30 · 2^(exponent − 127)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    /// [`SIGN`] or 0.
    pub sign: u32,
    /// Biased as in an f32, but without limits; far below 0 for zero.
    pub exponent: i32,
    /// A multiple of 2^7 from 2^30 up to 2^31. 2^31 itself can result from rounding up.
    pub mantissa: u32,
}

/// A positive number as the second operand of a product: `mantissa/2^31 · 2^(exponent − 127)`, the mantissa
/// below 2^32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub exponent: i32,
    pub mantissa: u32,
}

/// The upper half of a product.
#[cfg(not(all(target_arch = "arm", armv6_m)))]
#[inline(always)]
fn high(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

/// The upper half of a product, by products of 16 bits: Armv6-M has no long multiplication.
#[cfg(any(test, all(target_arch = "arm", armv6_m)))]
#[inline(always)]
fn high_by_halves(a: u32, b: u32) -> u32 {
    let (a1, a0, b1, b0) = (a >> 16, a & 0xffff, b >> 16, b & 0xffff);
    let middle = (a1 * b0).wrapping_add((a0 * b0) >> 16);
    let (low, carried) = ((middle & 0xffff) + a0 * b1, middle >> 16);
    // `low` cannot exceed 32 bits: (2^16 − 1) + (2^16 − 1)^2 < 2^32.
    a1 * b1 + carried + (low >> 16)
}

#[cfg(all(target_arch = "arm", armv6_m))]
use high_by_halves as high;

/// Leading zeros of a number other than 0, by a table, since these cores have no instruction for it.
#[inline(always)]
pub(super) fn leading_zeros(x: u32) -> u32 {
    static OF_BYTE: [u8; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            table[i] = (i as u8).leading_zeros() as u8;
            i += 1;
        }
        table
    };
    let (top, zeros) = if x >> 16 != 0 {
        if x >> 24 != 0 {
            (x >> 24, 0)
        } else {
            (x >> 16, 8)
        }
    } else if x >> 8 != 0 {
        (x >> 8, 16)
    } else {
        (x, 24)
    };
    zeros + u32::from(OF_BYTE[usize::from(top as u8)])
}

/// Rounds off the lowest `BITS` bits of `x`, to nearest even. `is_tie` is called where these bits are exactly
/// one half; it says whether the bits below `x`, which are not given, are all zero.
#[inline(always)]
fn round<const BITS: u32>(x: u32, is_tie: impl FnOnce() -> bool) -> u32 {
    let up = x.wrapping_add(1 << (BITS - 1));
    let low = (1 << BITS) - 1;
    if up & low == 0 && is_tie() {
        return up & !(1 << BITS);
    }
    up & !low
}

/// The same for a difference: the bits below `x` are subtracted, so what looks like a tie is less than one
/// half unless they are zero.
#[inline(always)]
fn round_difference<const BITS: u32>(x: u32, is_tie: impl FnOnce() -> bool) -> u32 {
    let up = x.wrapping_add(1 << (BITS - 1));
    let low = (1 << BITS) - 1;
    if up & low == 0 {
        return if is_tie() { up & !(1 << BITS) } else { up.wrapping_sub(1 << BITS) };
    }
    up & !low
}

/// The bits of the f32 that equals a zero or subnormal f16, `fraction`·2^−24.
#[cold]
#[inline(never)]
fn low_f16(sign: u32, fraction: u32) -> u32 {
    if fraction == 0 {
        return sign;
    }
    let number = Number::from_int(fraction as i32);
    Number { sign, exponent: number.exponent - 24, ..number }.pack()
}

impl Factor {
    /// From the bits of a normal number, without its sign.
    #[inline(always)]
    pub fn new(bits: u32) -> Self {
        Self { exponent: (bits << 1 >> 24) as i32, mantissa: bits << 8 | FACTOR_ONE }
    }

    /// From a [moderate](is_moderate) number; `None` for any other.
    #[inline(always)]
    pub fn moderate(x: f32) -> Option<Self> {
        is_moderate(x.to_bits()).then(|| Self::new(x.to_bits()))
    }
}

/// Whether these are the bits of a positive number from 2^−50 up to 2^50. Products of two such numbers and an
/// integer of 24 bits stay far from the ends of the exponent's range.
#[inline(always)]
pub(super) fn is_moderate(bits: u32) -> bool {
    bits.wrapping_sub((127 - 50) << 23) < 100 << 23
}

impl Number {
    /// 0.
    pub const ZERO: Self = Self { sign: 0, exponent: ZERO, mantissa: ONE };

    /// From the bits of a finite number. A subnormal number counts as zero.
    #[inline(always)]
    pub fn new(bits: u32) -> Self {
        let exponent = (bits << 1 >> 24) as i32;
        let exponent = if exponent == 0 { ZERO } else { exponent };
        Self { sign: bits & SIGN, exponent, mantissa: (bits << 8 | FACTOR_ONE) >> 1 }
    }

    /// From an integer other than 0, rounded.
    #[inline(always)]
    pub fn from_int(x: i32) -> Self {
        let magnitude = x.unsigned_abs();
        let zeros = leading_zeros(magnitude);
        let (shifted, low) = (magnitude.wrapping_shl(zeros) >> 1, magnitude.wrapping_shl(zeros) & 1);
        let mantissa = round::<7>(shifted, || low == 0);
        Self { sign: x as u32 & SIGN, exponent: 127 + 31 - zeros as i32, mantissa }
    }

    /// From the bits of a finite f16, exactly.
    #[inline(always)]
    pub fn from_f16(bits: u16) -> Self {
        let bits = u32::from(bits);
        let (sign, exponent, fraction) = (bits << 16 & SIGN, bits >> 10 & 31, bits & 0x3ff);
        if exponent == 0 {
            return Self::new(low_f16(sign, fraction));
        }
        Self { sign, exponent: exponent as i32 + 127 - 15, mantissa: (fraction | 0x400) << 20 }
    }

    /// The bits of the f32. The exponent must be 1 to 253.
    #[inline(always)]
    pub fn pack(self) -> u32 {
        self.sign | ((self.exponent as u32) << 23).wrapping_add(self.mantissa >> 7).wrapping_sub(1 << 23)
    }

    /// The bits of the f32, or 0 for what is too small to be normal.
    #[inline(always)]
    pub fn pack_or_zero(self) -> u32 {
        if self.exponent < 1 {
            return 0;
        }
        self.pack()
    }

    /// The same number with a mantissa below 2^31.
    #[inline(always)]
    pub fn strict(self) -> Self {
        if self.mantissa as i32 >= 0 {
            return self;
        }
        Self { mantissa: ONE, exponent: self.exponent + 1, ..self }
    }

    /// The number as a factor, without its sign.
    #[inline(always)]
    pub fn factor(self) -> Factor {
        let strict = self.strict();
        Factor { exponent: strict.exponent, mantissa: strict.mantissa << 1 }
    }

    /// Its magnitude.
    #[inline(always)]
    pub fn positive(self) -> Self {
        Self { sign: 0, ..self }
    }

    /// The product with a positive number, rounded.
    #[inline(always)]
    pub fn times(self, factor: Factor) -> Self {
        let product = high(self.mantissa, factor.mantissa);
        let is_tie = || self.mantissa.wrapping_mul(factor.mantissa) == 0;
        let exponent = self.exponent + factor.exponent - 127;
        if product >= ONE {
            let mantissa = round::<7>(product, is_tie);
            return Self { sign: self.sign, exponent: exponent + 1, mantissa };
        }
        Self { sign: self.sign, exponent, mantissa: round::<6>(product, is_tie) << 1 }
    }

    /// The upper half of the product's mantissa, not rounded, as multiples of 2^−29, and its exponent.
    #[inline(always)]
    pub fn times_roughly(self, factor: Factor) -> (u32, i32) {
        (high(self.mantissa, factor.mantissa), self.exponent + factor.exponent - 127)
    }

    /// The sum, rounded. One of both mantissas must be below 2^31 (see [`strict`](Self::strict)). A sum of 0
    /// is positive.
    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        let (big, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let apart = (big.exponent - small.exponent) as u32;
        if apart > 30 {
            return big;
        }
        if (self.sign ^ other.sign) as i32 >= 0 {
            big.plus_part(small, apart)
        } else {
            big.minus_part(small, apart)
        }
    }

    /// `self + small`, where `small` has the same sign and an exponent lower by `apart`.
    #[inline(always)]
    pub fn plus_part(self, small: Self, apart: u32) -> Self {
        let part = small.mantissa >> apart;
        let is_whole = || part << apart == small.mantissa;
        let sum = self.mantissa.wrapping_add(part);
        if sum as i32 >= 0 {
            return Self { mantissa: round::<7>(sum, is_whole), ..self };
        }
        let mantissa = round::<7>(sum >> 1, || sum & 1 == 0 && is_whole());
        Self { mantissa, exponent: self.exponent + 1, sign: self.sign }
    }

    /// `self − small` of magnitudes, with the sign of `self`; the exponent of `small` is lower by `apart`.
    #[inline(always)]
    pub fn minus_part(self, small: Self, apart: u32) -> Self {
        let part = small.mantissa >> apart;
        let is_whole = || part << apart == small.mantissa;
        let mut rest = self.mantissa.wrapping_sub(part);
        if rest as i32 >= ONE as i32 {
            return Self { mantissa: round_difference::<7>(rest, is_whole), ..self };
        }
        if rest as i32 >= (ONE / 2) as i32 {
            let mantissa = round_difference::<6>(rest, is_whole) << 1;
            return Self { mantissa, exponent: self.exponent - 1, sign: self.sign };
        }
        // So many leading bits cancel only if the exponents differ by at most one. Then no bits lie below,
        // and the result is exact.
        let mut sign = self.sign;
        if rest as i32 <= 0 {
            if rest == 0 {
                return Self::ZERO;
            }
            (rest, sign) = (rest.wrapping_neg(), sign ^ SIGN);
        }
        let zeros = leading_zeros(rest);
        // The difference of 2^31 and a small number needs no shift.
        Self { sign, exponent: self.exponent + 1 - zeros as i32, mantissa: rest.wrapping_shl(zeros) >> 1 }
    }

    /// [`plus_part`](Self::plus_part) where the sum has the exponent of `self`.
    #[inline(always)]
    pub fn plus_within(self, small: Self, apart: u32) -> Self {
        let part = small.mantissa >> apart;
        let mantissa = round::<7>(self.mantissa + part, || part << apart == small.mantissa);
        Self { mantissa, ..self }
    }

    /// [`minus_part`](Self::minus_part) where the difference has the exponent of `self`.
    #[inline(always)]
    pub fn minus_within(self, small: Self, apart: u32) -> Self {
        let part = small.mantissa >> apart;
        let mantissa = round_difference::<7>(self.mantissa - part, || part << apart == small.mantissa);
        Self { mantissa, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use half::f16;

    use super::*;

    /// Zero, and normal numbers of either sign with every kind of mantissa, whose exponents are not too far
    /// apart.
    fn numbers() -> Vec<f32> {
        let mantissas =
            [0, 1, 2, 3, 0x3f_ffff, 0x40_0000, 0x40_0001, 0x55_5555, 0x7f_fffd, 0x7f_fffe, 0x7f_ffff];
        let mut state = 1u32;
        let mut numbers = std::vec![0.0];
        for exponent in [100, 101, 102, 103, 104, 110, 123, 124, 125, 126, 127, 128, 129, 134, 135, 150] {
            for i in 0..60 {
                state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
                let mantissa = mantissas.get(i).copied().unwrap_or(state >> 9);
                numbers.push(f32::from_bits(exponent << 23 | mantissa | (state << 3 & SIGN)));
            }
        }
        numbers
    }

    #[test]
    fn sums_and_products_equal_floats() {
        let numbers = numbers();
        for a in &numbers {
            for b in &numbers {
                let (x, y) = (Number::new(a.to_bits()), Number::new(b.to_bits()));
                assert_eq!(f32::from_bits(x.plus(y).pack_or_zero()), a + b, "{a} + {b}");
                if *a != 0.0 && *b != 0.0 {
                    let product = x.times(Factor::new(b.to_bits()));
                    assert_eq!(f32::from_bits(product.pack()), a * b.abs(), "{a} * {b}");
                    assert_eq!(product.strict().pack(), product.pack());
                    // A product that was rounded up to the next power of two can be added like any other
                    // number.
                    let both = product.plus(x);
                    assert_eq!(f32::from_bits(both.pack_or_zero()), a * b.abs() + a, "{a} * {b} + {a}");
                }
            }
        }
    }

    #[test]
    fn integers_and_f16_equal_floats() {
        for x in
            (0..32).flat_map(|shift| (-70..70).map(move |x: i32| x.wrapping_shl(shift).wrapping_add(x / 3)))
        {
            if x != 0 {
                assert_eq!(f32::from_bits(Number::from_int(x).pack()), x as f32, "{x}");
            }
        }
        for bits in (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00) {
            let want = f16::from_bits(bits).to_f32();
            assert_eq!(f32::from_bits(Number::from_f16(bits).pack_or_zero()), want, "{bits:#x}");
        }
    }

    #[test]
    fn long_products_by_halves_are_long_products() {
        for a in numbers().iter().map(|x| x.to_bits().rotate_left(8)) {
            for b in [0, 1, 0xffff, 0x1_0000, 0x8000_0001, u32::MAX, a, !a] {
                assert_eq!(high_by_halves(a, b), ((u64::from(a) * u64::from(b)) >> 32) as u32);
            }
        }
    }
}
