//! Linear layers: int8 with exact i32 accumulation, and f16 with one canonical order.

use half::f16;

use crate::kernels::{Activation, Epilogue};
use crate::math::{gelu_erf, gelu_tanh, relu, to_f16};
use crate::tensor::{self, LinearF16, LinearI8, PanelLayout, RowsI8};

/// Rows at a time: each weight that is read serves all of them.
const BLOCK: usize = 4;
/// Outputs per panel of f16 weights.
const F16_LANES: usize = 16;

pub(super) fn linear_i8(rows: &RowsI8, weights: &LinearI8, epilogue: Epilogue, out: &mut [f32]) {
    for_each_output(rows, weights, out, |out, value| *out = value);
    activate(epilogue, out);
}

pub(super) fn linear_i8_residual(rows: &RowsI8, weights: &LinearI8, residual: &mut [f16]) {
    for_each_output(rows, weights, residual, |out, value| *out = to_f16(out.to_f32() + value));
}

/// Calls `store(out[r,n], (acc − x_zero[r]·sums[n])·w_scale[n]·x_scale[r] + bias[n])`, four rows at a time.
fn for_each_output<T>(rows: &RowsI8, weights: &LinearI8, out: &mut [T], store: impl Fn(&mut T, f32)) {
    let outputs = weights.outputs;
    let mut x = tensor::rows(rows.data, rows.pitch);
    let mut zero_points = rows.zero_points.chunks(BLOCK);
    let mut out = tensor::rows_mut(out, outputs);
    for scales in rows.scales.chunks(BLOCK) {
        // Empty rows stand in for the missing rows of the last block; their results are stored nowhere.
        let block = [(); BLOCK].map(|_| x.next().unwrap_or(&[]));
        let [mut out0, mut out1, mut out2, mut out3] =
            [(); BLOCK].map(|_| out.next().unwrap_or(&mut []).iter_mut());
        let [scale0, scale1, scale2, scale3] = to_block(scales);
        let [zero0, zero1, zero2, zero3] = to_block(zero_points.next().unwrap_or(&[]));
        for n in 0..weights.outputs {
            let (Some(scale), Some(bias)) = (weights.scales.get(n), weights.bias.get(n)) else { break };
            let dots = dot_block(&block, weights, n);
            let sum = weights.sums.get(n).copied().unwrap_or(0);
            for (out, dot, zero, row_scale) in [
                (&mut out0, dots[0], zero0, scale0),
                (&mut out1, dots[1], zero1, scale1),
                (&mut out2, dots[2], zero2, scale2),
                (&mut out3, dots[3], zero3, scale3),
            ] {
                let acc = dot.wrapping_sub(zero.wrapping_mul(sum));
                if let Some(out) = out.next() {
                    store(out, acc as f32 * *scale * row_scale + *bias);
                }
            }
        }
    }
}

/// One number per row of the block; 0 for missing rows.
fn to_block<T: Copy + Default>(values: &[T]) -> [T; BLOCK] {
    let mut rows = [T::default(); BLOCK];
    for (to, from) in rows.iter_mut().zip(values) {
        *to = *from;
    }
    rows
}

/// Dot products of up to four rows with the weights of output n.
#[inline(always)]
fn dot_block(rows: &[&[i8]; BLOCK], weights: &LinearI8, n: usize) -> [i32; BLOCK] {
    let nr = weights.layout.nr as usize;
    let (panel, output) = (n.checked_div(nr).unwrap_or(0), n.checked_rem(nr).unwrap_or(0));
    let bytes = weights.pitch.saturating_mul(nr);
    let start = bytes.saturating_mul(panel);
    let panel = weights.panels.get(start..start.saturating_add(bytes)).unwrap_or(&[]);
    if nr > 1 {
        return rows.map(|row| dot_in_panel(row, panel, weights.layout, output));
    }
    let [x0, x1, x2, x3] = *rows;
    if x3.is_empty() {
        return rows.map(|row| dot(row, panel));
    }
    let mut dots = [0i32; BLOCK];
    for ((((w, x0), x1), x2), x3) in panel.iter().zip(x0).zip(x1).zip(x2).zip(x3) {
        let w = *w as i32;
        dots[0] = dots[0].wrapping_add(*x0 as i32 * w);
        dots[1] = dots[1].wrapping_add(*x1 as i32 * w);
        dots[2] = dots[2].wrapping_add(*x2 as i32 * w);
        dots[3] = dots[3].wrapping_add(*x3 as i32 * w);
    }
    dots
}

#[inline(always)]
fn dot(x: &[i8], w: &[i8]) -> i32 {
    x.iter().zip(w).fold(0i32, |sum, (x, w)| sum.wrapping_add(*x as i32 * *w as i32))
}

/// Dot product with the weights of one output in a panel of `nr` outputs and groups of `kr` inputs.
fn dot_in_panel(x: &[i8], panel: &[i8], layout: PanelLayout, output: usize) -> i32 {
    let (nr, kr) = (layout.nr as usize, layout.kr as usize);
    if layout.is_paired() && output == 1 {
        let pairs = panel.as_chunks::<2>().0;
        return x.iter().zip(pairs).fold(0i32, |sum, (x, [first, second])| {
            sum.wrapping_add(*x as i32 * (*second as i32 + i32::from(*first < 0)))
        });
    }
    let weights =
        tensor::rows(panel, nr * kr).map(|group| tensor::rows(group, kr).nth(output).unwrap_or(&[]));
    tensor::rows(x, kr).zip(weights).fold(0i32, |sum, (x, w)| sum.wrapping_add(dot(x, w)))
}

pub(super) fn linear_f16(x: &[f32], weights: &LinearF16, epilogue: Epilogue, out: &mut [f32]) {
    for_each_f16_output(x, weights, out, |out, value| *out = value);
    activate(epilogue, out);
}

pub(super) fn linear_f16_residual(x: &[f32], weights: &LinearF16, residual: &mut [f16]) {
    for_each_f16_output(x, weights, residual, |out, value| *out = to_f16(out.to_f32() + value));
}

/// Calls `store(out[r,n], Σ_k x[r,k]·w[n,k] + bias[n])`, with k ascending.
fn for_each_f16_output<T>(x: &[f32], weights: &LinearF16, out: &mut [T], store: impl Fn(&mut T, f32)) {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    for (x, out) in tensor::rows(x, inputs).zip(tensor::rows_mut(out, outputs)) {
        let panels = tensor::rows(weights.panels, inputs.saturating_mul(F16_LANES));
        let bias = weights.bias.chunks(F16_LANES);
        for ((out, panel), bias) in out.chunks_mut(F16_LANES).zip(panels).zip(bias) {
            let mut acc = [0.0f32; F16_LANES];
            for (x, w) in x.iter().zip(panel.as_chunks::<F16_LANES>().0) {
                // In the last panel, only the outputs that exist: the last convolution of a restorer has 3.
                if out.len() < F16_LANES {
                    acc.iter_mut().zip(w).take(out.len()).for_each(|(acc, w)| *acc += *x * w.to_f32());
                    continue;
                }
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc += *x * w.to_f32();
                }
            }
            for ((out, acc), bias) in out.iter_mut().zip(acc).zip(bias) {
                store(out, acc + *bias);
            }
        }
    }
}

pub(in crate::kernels) fn activate(epilogue: Epilogue, out: &mut [f32]) {
    let Epilogue::Activation(activation) = epilogue else { return };
    match activation {
        Activation::GeluErf => out.iter_mut().for_each(|x| *x = gelu_erf(*x)),
        Activation::GeluTanh => out.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
        Activation::Relu => out.iter_mut().for_each(|x| *x = relu(*x)),
    }
}
