//! Quantization of activations to int8, with a scale per row that is found at run time (docs/numerics.md,
//! "Rows").

use crate::math::{round_to_i32, Lane};

/// The least row maximum from which a scale is computed. It keeps scales and their reciprocals normal.
pub const MIN_ROW_MAX: f32 = 1.0 / (1u64 << 40) as f32;

/// Largest |x| of a row.
#[inline]
pub fn row_max_abs(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |m, v| Lane::max(v.abs(), m))
}

/// The scale of a row and the factor that quantizes it, from the row's largest magnitude.
#[inline(always)]
pub fn row_scale<L: Lane>(max_abs: L) -> (L, L) {
    // NaNs and infinities can only come from a hostile model. Even then, results must be the same on every
    // machine.
    let max_abs = max_abs.max(L::splat(MIN_ROW_MAX)).min(L::splat(f32::MAX));
    (max_abs * L::splat(1.0 / 127.0), L::splat(127.0) / max_abs)
}

/// `x · factor` as int8, rounded to nearest even, clamped to ±127.
#[inline(always)]
pub fn to_i8(x: f32, factor: f32) -> i8 {
    round_to_i32(Lane::min(Lane::max(x * factor, -127.0), 127.0)) as i8
}

/// How a row with a known lower bound is quantized.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RowAbove {
    /// Scale.
    pub scale: f32,
    /// Factor that elements are multiplied by: nearly 1/scale.
    pub factor: f32,
    /// Code of 0, −128 to 127.
    pub zero_point: i32,
    /// The zero point as a float.
    pub zero_point_f32: f32,
}

/// The scale and zero point that map `floor` ≤ 0 to −128, `max` ≥ 0 to 127, and 0 to an integer.
#[inline]
pub fn row_scale_above(max: f32, floor: f32) -> RowAbove {
    let (scale, factor, zero) = scale_above(max, floor);
    let zero_point = round_to_i32(zero);
    RowAbove { scale, factor, zero_point, zero_point_f32: zero_point as f32 }
}

/// The same as (scale, factor, zero point before rounding).
#[inline(always)]
pub(crate) fn scale_above<L: Lane>(max: L, floor: f32) -> (L, L, L) {
    let range = (max.max(L::splat(MIN_ROW_MAX)) - L::splat(floor)).min(L::splat(f32::MAX));
    let factor = L::splat(255.0) / range;
    (range * L::splat(1.0 / 255.0), factor, L::splat(-128.0) - L::splat(floor) * factor)
}

/// `x · factor + zero_point` as int8, rounded to nearest even, clamped to −128..127.
#[inline(always)]
pub fn to_i8_above(x: f32, factor: f32, zero_point: f32) -> i8 {
    round_to_i32(Lane::min(Lane::max(x * factor + zero_point, -128.0), 127.0)) as i8
}

/// Divides scales by the largest of them, which is returned.
pub(crate) fn make_relative(scales: &mut [f32]) -> f32 {
    let largest = scales.iter().fold(MIN_ROW_MAX, |m, s| Lane::max(*s, m));
    scales.iter_mut().for_each(|s| *s /= largest);
    largest
}
