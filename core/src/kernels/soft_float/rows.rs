//! Quantization of rows, and ReLU.

use super::float::{Factor, Number};
use crate::kernels::portable;
use crate::quant::{row_scale, row_scale_above, to_i8, to_i8_above};

/// Fraction bits of a code before it is rounded.
const FRACTION: u32 = 11;
/// Bits of an infinity.
const INFINITE: u32 = 0xff << 23;

/// `max(x, 0)`; 0 for a NaN.
pub(super) fn relu(x: &mut [f32]) {
    for x in x {
        let bits = x.to_bits();
        if bits > INFINITE {
            *x = 0.0;
        }
    }
}

/// `|x|·factor` with [`FRACTION`] bits behind the point, truncated. `None` if that is 2^20 or more, infinite
/// or a NaN.
#[inline(always)]
fn scaled(bits: u32, factor: Factor) -> Option<u32> {
    let number = Number::new(bits);
    let (product, exponent) = number.times_roughly(factor);
    // product/2^29·2^(exponent − 127), times 2^FRACTION
    let shift = 127 + 29 - FRACTION as i32 - exponent;
    if shift as u32 <= 31 {
        return Some(product >> shift);
    }
    (shift > 0).then_some(0)
}

/// Whether a number with [`FRACTION`] bits behind the point is so near to a half that only exact arithmetic
/// can round it.
#[inline(always)]
fn is_near_half(x: u32) -> bool {
    x.wrapping_add((1 << (FRACTION - 1)) + 2) & ((1 << FRACTION) - 4) == 0
}

pub(super) fn quantize_row(x: &[f32], out: &mut [i8]) -> f32 {
    let largest = x.iter().fold(0, |m, x| m.max(x.to_bits() << 1)) >> 1;
    if largest >= INFINITE {
        return portable::quantize_row(x, out);
    }
    let (scale, float) = row_scale(f32::from_bits(largest));
    let factor = Factor::new(float.to_bits());
    let mut to = out.iter_mut();
    for (x, to) in x.iter().zip(to.by_ref()) {
        *to = code(*x, factor, float);
    }
    to.for_each(|to| *to = 0);
    scale
}

/// `round(x·factor)` of a number whose code has a magnitude of at most 127.
#[inline(always)]
pub(super) fn code(x: f32, factor: Factor, float: f32) -> i8 {
    let bits = x.to_bits();
    match scaled(bits, factor) {
        Some(scaled) if !is_near_half(scaled) => {
            let magnitude = ((scaled + (1 << (FRACTION - 1))) >> FRACTION) as i32;
            let negative = bits as i32 >> 31;
            ((magnitude ^ negative).wrapping_sub(negative)) as i8
        }
        _ => code_any(x, float),
    }
}

#[cold]
#[inline(never)]
fn code_any(x: f32, factor: f32) -> i8 {
    to_i8(x, factor)
}

pub(super) fn quantize_row_above(x: &[f32], floor: f32, out: &mut [i8]) -> (f32, i32) {
    // As signed integers, the bits of positive numbers are in the numbers' order, and those of negative
    // numbers lie below them.
    let largest = x.iter().fold(0, |m: i32, x| m.max(x.to_bits() as i32)) as u32;
    if largest >= INFINITE {
        return portable::quantize_row_above(x, floor, out);
    }
    let row = row_scale_above(f32::from_bits(largest), floor);
    let factor = Factor::new(row.factor.to_bits());
    let mut to = out.iter_mut();
    for (x, to) in x.iter().zip(to.by_ref()) {
        let bits = x.to_bits();
        *to = match scaled(bits, factor) {
            Some(scaled) if !is_near_half(scaled) => {
                let magnitude = ((scaled + (1 << (FRACTION - 1))) >> FRACTION) as i32;
                let negative = bits as i32 >> 31;
                let code = (magnitude ^ negative).wrapping_sub(negative) + row.zero_point;
                code.clamp(-128, 127) as i8
            }
            _ => code_above_any(*x, row.factor, row.zero_point_f32),
        };
    }
    to.for_each(|to| *to = 0);
    (row.scale, row.zero_point)
}

#[cold]
#[inline(never)]
fn code_above_any(x: f32, factor: f32, zero_point: f32) -> i8 {
    to_i8_above(x, factor, zero_point)
}
