//! int8 linear layers: blocks of four rows, then the remaining rows one by one.

use half::f16;

use super::epilogue::{Column, Gelu, OutputOp, Row, ToF32, ToResidual};
use super::product::{four_rows, one_row, pack, Sums, BLOCK};
use crate::kernels::{spec, Activation, Epilogue};
use crate::math::{GATE_ERF, GATE_TANH};
use crate::tensor::{rows_mut, LinearI8, RowsI8};

pub(super) fn linear_i8(
    rows: &RowsI8,
    weights: &LinearI8,
    epilogue: Epilogue,
    out: &mut [f32],
    scratch: &mut [i32],
) {
    let gates = match epilogue {
        Epilogue::Activation(Activation::GeluErf) => Some(&GATE_ERF),
        Epilogue::Activation(Activation::GeluTanh) => Some(&GATE_TANH),
        _ => None,
    };
    let _ = match gates {
        Some(table) => multiply(rows, weights, &Gelu(table.entries()), out, scratch),
        None => multiply(rows, weights, &ToF32, out, scratch),
    };
    if epilogue == Epilogue::Activation(Activation::Relu) {
        super::rows::relu(out);
    }
}

pub(super) fn linear_i8_residual(
    rows: &RowsI8,
    weights: &LinearI8,
    residual: &mut [f16],
    scratch: &mut [i32],
) {
    let _ = multiply(rows, weights, &ToResidual, residual, scratch);
}

/// Multiplies all rows. Stops with `None` at the first view that is too short.
fn multiply<E: OutputOp>(
    rows: &RowsI8,
    weights: &LinearI8,
    epilogue: &E,
    out: &mut [E::Out],
    scratch: &mut [i32],
) -> Option<()> {
    let (pitch, outputs) = (weights.pitch, weights.outputs);
    if weights.layout != spec::SOFT_FLOAT.layout || rows.pitch != pitch || pitch == 0 || pitch % 8 != 0 {
        return None;
    }
    let (mut data, mut scales, mut zero_points, mut out) = (rows.data, rows.scales, rows.zero_points, out);
    while !scales.is_empty() {
        // Three remaining rows are cheaper as a block than one by one.
        let count = if scales.len() < BLOCK - 1 { 1 } else { scales.len().min(BLOCK) };
        let (codes, rest) = data.split_at_checked(pitch.checked_mul(count)?)?;
        data = rest;
        let (block, rest) = core::mem::take(&mut out).split_at_mut_checked(outputs.checked_mul(count)?)?;
        out = rest;
        let mut of_rows = [Row::default(); BLOCK];
        for (i, (row, scale)) in of_rows.iter_mut().zip(scales).take(count).enumerate() {
            *row = Row::new(*scale, zero_points.get(i).copied().unwrap_or(0));
        }
        let activations = match count {
            1 => Activations::One(codes),
            _ => Activations::Four(pack(codes, pitch, scratch)?),
        };
        columns(activations, weights, &of_rows, epilogue, block);
        scales = scales.get(count..)?;
        zero_points = zero_points.get(count..).unwrap_or(&[]);
    }
    Some(())
}

/// The activations of a block: one row of codes, or four packed rows.
#[derive(Clone, Copy)]
enum Activations<'a> {
    One(&'a [i8]),
    Four(&'a [i32]),
}

/// All columns of a block; `out` has a row of results for each row of the block.
fn columns<E: OutputOp>(
    x: Activations,
    weights: &LinearI8,
    of_rows: &[Row; BLOCK],
    epilogue: &E,
    out: &mut [E::Out],
) {
    let mut rows = rows_mut(out, weights.outputs);
    let mut out = [(); BLOCK].map(|_| rows.next().unwrap_or(&mut []).iter_mut());
    let panels = crate::tensor::rows(weights.panels, weights.pitch.saturating_mul(BLOCK));
    let numbers = weights.scales.chunks(BLOCK).zip(weights.bias.chunks(BLOCK));
    let mut sums_of_weights = weights.sums.iter();
    let mut sums = Sums::default();
    for (panel, (scales, bias)) in panels.zip(numbers) {
        match x {
            Activations::One(x) => one_row(x, panel, &mut sums),
            Activations::Four(x) => four_rows(x, panel, &mut sums),
        }
        for ((sums, scale), bias) in sums.iter().zip(scales).zip(bias) {
            let column = Column::new(*scale, *bias);
            let sum_of_weights = sums_of_weights.next().copied().unwrap_or(0);
            for ((to, row), sum) in out.iter_mut().zip(of_rows).zip(sums) {
                if let Some(to) = to.next() {
                    let sum = sum.wrapping_sub(row.zero_point.wrapping_mul(sum_of_weights));
                    epilogue.dequantize_and_store(sum, &column, row, to);
                }
            }
        }
    }
}
