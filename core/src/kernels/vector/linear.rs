//! int8 linear layers with their epilogues.

use half::f16;

use super::gemm::{multiply, Epilogue, Inputs, Panels};
use super::{load, load_f16, load_ints, store, store_f16, Dot, Floats, Ints, LANES};
use crate::kernels;
use crate::math::{gelu_erf, gelu_tanh, relu};
use crate::models::vit::Activation;
use crate::tensor::{LinearI8, RowsI8};

/// `out[r,n] = f((acc − x_zero[r]·sums[n])·w_scale[n]·x_scale[r] + bias[n])`.
#[inline(always)]
pub(in crate::kernels) fn linear_i8<D: Dot, const MR: usize, const NV: usize>(
    rows: &RowsI8,
    weights: &LinearI8,
    epilogue: kernels::Epilogue,
    out: &mut [f32],
) {
    type F<D> = <D as Dot>::Floats;
    match epilogue {
        kernels::Epilogue::None => {
            linear::<D, MR, NV, f32>(rows, weights, out, |out, y: F<D>| store(y, out));
        }
        kernels::Epilogue::Activation(Activation::GeluErf) => {
            linear::<D, MR, NV, f32>(rows, weights, out, |out, y: F<D>| store(gelu_erf(y), out));
        }
        kernels::Epilogue::Activation(Activation::GeluTanh) => {
            linear::<D, MR, NV, f32>(rows, weights, out, |out, y: F<D>| store(gelu_tanh(y), out));
        }
        kernels::Epilogue::Activation(Activation::Relu) => {
            linear::<D, MR, NV, f32>(rows, weights, out, |out, y: F<D>| store(relu(y), out));
        }
    }
}

/// The same without `f`, added to the residual stream.
#[inline(always)]
pub(in crate::kernels) fn linear_i8_residual<D: Dot, const MR: usize, const NV: usize>(
    rows: &RowsI8,
    weights: &LinearI8,
    residual: &mut [f16],
) {
    linear::<D, MR, NV, f16>(rows, weights, residual, |out, y| {
        store_f16(load_f16::<D::Floats>(out) + y, out);
    });
}

#[inline(always)]
fn linear<D: Dot, const MR: usize, const NV: usize, T>(
    rows: &RowsI8,
    weights: &LinearI8,
    out: &mut [T],
    put: impl FnMut(&mut [T], D::Floats),
) {
    let outputs = weights.outputs.min(weights.scales.len()).min(weights.bias.len());
    let count = rows.scales.len().min(out.len().checked_div(outputs).unwrap_or(0));
    let x = Inputs::new(rows.data, count, rows.pitch);
    let w = Panels::new(weights.panels, outputs, weights.pitch);
    multiply::<D, MR, NV>(x, w, &mut Dequantize { rows, weights, outputs, out, put });
}

/// Turns dot products into floats and puts them into their place.
struct Dequantize<'a, T, P> {
    rows: &'a RowsI8<'a>,
    weights: &'a LinearI8<'a>,
    outputs: usize,
    out: &'a mut [T],
    put: P,
}

/// Up to sixteen elements from `start` on.
#[inline(always)]
fn lanes<T>(values: &[T], start: usize, end: usize) -> &[T] {
    values.get(start..end.min(values.len())).unwrap_or(&[])
}

impl<F: Floats, T, P: FnMut(&mut [T], F)> Epilogue<F> for Dequantize<'_, T, P> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, dots: F::Ints) {
        let (start, w) = (panel * LANES, self.weights);
        let end = self.outputs.min(start + LANES);
        let zero_point = self.rows.zero_points.get(row).copied().unwrap_or(0);
        let dots = if zero_point == 0 {
            dots
        } else {
            dots.sub(load_ints::<F::Ints>(lanes(w.sums, start, end)).mul(F::Ints::splat(zero_point)))
        };
        let scale = F::splat(self.rows.scales.get(row).copied().unwrap_or(0.0));
        let y =
            F::from_ints(dots) * load(lanes(w.scales, start, end)) * scale + load(lanes(w.bias, start, end));
        let at = row * self.outputs;
        if let Some(out) = self.out.get_mut(at + start..at + end) {
            (self.put)(out, y);
        }
    }
}
