//! Linear layers of either precision.

use half::f16;

use crate::error::Fault;
use crate::kernels::{Epilogue, Kernels, RowShape};
use crate::tensor::{Linear, LinearF16, LinearI8, RowsI8};

/// Input rows of a linear layer, in the form that the precision of its weights takes.
pub(crate) enum Operand<'a> {
    /// For int8 weights.
    Int8(RowsI8<'a>),
    /// For f16 weights: `(rows, inputs)`.
    Float(&'a [f32]),
}

/// Input rows with weights that want them as they are.
enum Pair<'a> {
    Int8(&'a RowsI8<'a>, &'a LinearI8<'a>),
    F16(&'a [f32], &'a LinearF16<'a>),
}

impl<'a> Pair<'a> {
    #[inline(always)]
    fn of(x: &'a Operand, weights: &'a Linear) -> Result<Self, Fault> {
        match (x, weights) {
            (Operand::Int8(x), Linear::Int8(weights)) => Ok(Pair::Int8(x, weights)),
            (Operand::Float(x), Linear::F16(weights)) => Ok(Pair::F16(x, weights)),
            _ => Err(Fault::Form),
        }
    }
}

/// `out = f(x·Wᵀ + b)`, out `(rows, outputs)`. [`crate::kernels::TableSpec::linear_scratch`] gives the length
/// of `scratch`.
pub(crate) fn apply(
    kernels: &Kernels,
    x: &Operand,
    weights: &Linear,
    epilogue: Epilogue,
    out: &mut [f32],
    scratch: &mut [i32],
) -> Result<(), Fault> {
    match Pair::of(x, weights)? {
        Pair::Int8(x, weights) => (kernels.linear_i8)(x, weights, epilogue, out, scratch),
        Pair::F16(x, weights) => (kernels.linear_f16)(x, weights, epilogue, out),
    }
    Ok(())
}

/// `residual = f16(residual + x·Wᵀ + b)`, residual `(rows, outputs)`.
pub(crate) fn apply_residual(
    kernels: &Kernels,
    x: &Operand,
    weights: &Linear,
    residual: &mut [f16],
    scratch: &mut [i32],
) -> Result<(), Fault> {
    match Pair::of(x, weights)? {
        Pair::Int8(x, weights) => (kernels.linear_i8_residual)(x, weights, residual, scratch),
        Pair::F16(x, weights) => (kernels.linear_f16_residual)(x, weights, residual),
    }
    Ok(())
}

/// Brings rows of `width` floats into the form that the weights take. For int8 weights they are quantized
/// into `data` (rows `pitch` apart) and `scales`; for f16 weights they stay as they are.
pub(crate) fn quantize_rows<'a>(
    kernels: &Kernels,
    x: &'a [f32],
    width: usize,
    weights: &Linear,
    data: &'a mut [i8],
    scales: &'a mut [f32],
) -> Operand<'a> {
    let Linear::Int8(weights) = weights else { return Operand::Float(x) };
    let pitch = weights.pitch;
    let count = (kernels.quantize_rows)(x, RowShape { width, pitch }, data, scales);
    Operand::Int8(RowsI8 { data, scales: scales.get(..count).unwrap_or(&[]), zero_points: &[], pitch })
}

/// The same for rows without elements below `floor` ≤ 0: they are quantized with a zero point, so that all
/// 256 codes are used.
pub(crate) fn quantize_rows_above<'a>(
    kernels: &Kernels,
    x: &'a [f32],
    width: usize,
    floor: f32,
    weights: &Linear,
    scratch: QuantizedScratch<'a>,
) -> Operand<'a> {
    let Linear::Int8(weights) = weights else { return Operand::Float(x) };
    let pitch = weights.pitch;
    let QuantizedScratch { data, scales, zero_points } = scratch;
    let count = (kernels.quantize_rows_above)(x, RowShape { width, pitch }, floor, data, scales, zero_points);
    let (scales, zero_points) = (scales.get(..count).unwrap_or(&[]), zero_points.get(..count).unwrap_or(&[]));
    Operand::Int8(RowsI8 { data, scales, zero_points, pitch })
}

/// Memory for quantized rows: `(rows, pitch)`, `(rows)`, `(rows)`.
pub(crate) struct QuantizedScratch<'a> {
    pub data: &'a mut [i8],
    pub scales: &'a mut [f32],
    pub zero_points: &'a mut [i32],
}
