//! Epilogues of linear layers: dequantization and bias, then GELU or the residual stream.

use half::f16;

use super::float::{is_moderate, Factor, Number};
use crate::math::{to_f16, GATE_ENTRIES, GATE_ZERO};

/// Scale and zero point of a row.
#[derive(Clone, Copy)]
pub(super) struct Row {
    scale: f32,
    factor: Factor,
    is_moderate: bool,
    pub zero_point: i32,
}

impl Default for Row {
    fn default() -> Self {
        Self::new(1.0, 0)
    }
}

impl Row {
    pub fn new(scale: f32, zero_point: i32) -> Self {
        let bits = scale.to_bits();
        Self { scale, factor: Factor::new(bits), is_moderate: is_moderate(bits), zero_point }
    }
}

/// Scale and bias of a column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    scale: f32,
    bias: f32,
    factor: Factor,
    addend: Number,
    is_moderate: bool,
}

impl Column {
    #[inline(always)]
    pub fn new(scale: f32, bias: f32) -> Self {
        let magnitude = bias.to_bits() << 1 >> 1;
        Self {
            scale,
            bias,
            factor: Factor::new(scale.to_bits()),
            addend: Number::new(bias.to_bits()),
            is_moderate: is_moderate(scale.to_bits()) && (magnitude == 0 || is_moderate(magnitude)),
        }
    }
}

/// `sum as f32 · w_scale · x_scale + bias`.
#[inline(always)]
fn dequantize(sum: i32, column: &Column, row: &Row) -> Option<Number> {
    if !(sum != 0 && column.is_moderate && row.is_moderate) {
        return None;
    }
    Some(Number::from_int(sum).times(column.factor).times(row.factor).plus(column.addend))
}

/// The same for numbers of any size.
#[cold]
#[inline(never)]
fn dequantize_any(sum: i32, w_scale: f32, x_scale: f32, bias: f32) -> f32 {
    sum as f32 * w_scale * x_scale + bias
}

/// What is done with a result before it is stored.
pub(super) trait OutputOp {
    /// Type of the stored elements.
    type Out;
    /// Stores a result of the integer arithmetic.
    fn store(&self, y: Number, to: &mut Self::Out);
    /// Stores a result of any size.
    fn store_any(&self, y: f32, to: &mut Self::Out);

    /// Dequantizes and stores.
    #[inline(always)]
    fn dequantize_and_store(&self, sum: i32, column: &Column, row: &Row, to: &mut Self::Out) {
        match dequantize(sum, column, row) {
            Some(y) => self.store(y, to),
            None => {
                let y = dequantize_any(sum, column.scale, row.scale, column.bias);
                self.store_any(y, to);
            }
        }
    }
}

/// Stores results as f32.
pub(super) struct ToF32;

impl OutputOp for ToF32 {
    type Out = f32;

    #[inline(always)]
    fn store(&self, y: Number, to: &mut f32) {
        *to = f32::from_bits(y.pack_or_zero());
    }

    #[inline(always)]
    fn store_any(&self, y: f32, to: &mut f32) {
        *to = y;
    }
}

/// Stores GELU of the results as f32, by a table of gates.
pub(super) struct Gelu<'a>(pub &'a [f16; GATE_ENTRIES]);

impl Gelu<'_> {
    /// The gate of a number: that of `trunc(128·y)`.
    #[inline(always)]
    fn gate(&self, y: Number) -> u16 {
        // Below 2^−7 no step; from 4 on the last one.
        let steps = match y.exponent {
            ..120 => 0,
            129.. => GATE_ZERO as u32,
            _ => y.mantissa >> (150 - y.exponent) as u32,
        };
        let steps = steps as usize;
        let entry = match y.sign {
            0 => (GATE_ZERO + steps).min(GATE_ENTRIES - 1),
            _ => GATE_ZERO.wrapping_sub(steps),
        };
        self.0.get(entry).map_or(0, |gate| gate.to_bits())
    }
}

impl OutputOp for Gelu<'_> {
    type Out = f32;

    #[inline(always)]
    fn store(&self, y: Number, to: &mut f32) {
        let gate = self.gate(y);
        // The gate is 0 for −4 and below.
        if gate == 0 {
            *to = f32::from_bits(y.sign);
            return;
        }
        // A factor can't hold a subnormal gate.
        if gate < 0x400 {
            return self.store_any(f32::from_bits(y.pack_or_zero()), to);
        }
        let gate = u32::from(gate);
        let factor = Factor { exponent: (gate >> 10) as i32 + 127 - 15, mantissa: gate << 21 | 1 << 31 };
        *to = f32::from_bits(y.times(factor).pack_or_zero());
    }

    #[cold]
    #[inline(never)]
    fn store_any(&self, y: f32, to: &mut f32) {
        let entry = ((y * crate::math::GATE_STEPS) as i32).clamp(-(GATE_ZERO as i32), GATE_ZERO as i32 - 1);
        let gate = self.0.get((entry + GATE_ZERO as i32) as usize).map_or(0.0, |gate| gate.to_f32());
        *to = y * gate;
    }
}

/// Adds results to the residual stream.
pub(super) struct ToResidual;

impl OutputOp for ToResidual {
    type Out = f16;

    #[inline(always)]
    fn store(&self, y: Number, to: &mut f16) {
        let bits = to.to_bits();
        // Infinite or NaN.
        if bits & 0x7c00 == 0x7c00 {
            return self.store_any(f32::from_bits(y.pack_or_zero()), to);
        }
        let sum = y.strict().plus(Number::from_f16(bits));
        // The fast path needs a sum below 2^15 that is a normal f16.
        if !(113..142).contains(&sum.exponent) {
            *to = to_f16_any(sum.pack_or_zero());
            return;
        }
        let mut up = sum.mantissa + (1 << 19);
        if up & ((1 << 20) - 1) == 0 {
            up &= !(1 << 20);
        }
        *to = f16::from_bits(
            (sum.sign >> 16) as u16 | (((sum.exponent - 113) << 10) as u32 + (up >> 20)) as u16,
        );
    }

    #[cold]
    #[inline(never)]
    fn store_any(&self, y: f32, to: &mut f16) {
        *to = to_f16(to.to_f32() + y);
    }
}

#[cold]
#[inline(never)]
fn to_f16_any(sum: u32) -> f16 {
    to_f16(f32::from_bits(sum))
}
