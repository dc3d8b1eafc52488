//! int8 linear layers with their epilogues.

use half::f16;

use super::gemm::{multiply, Epilogue, Inputs, Panels};
use super::{load, load_ints, Dot, Floats, Gelu, GeluTanh, Ints, Plain, Put, Relu, Residual, LANES};
use crate::kernels;
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
    match epilogue {
        kernels::Epilogue::None => linear::<D, MR, NV, Plain>(rows, weights, out),
        kernels::Epilogue::Activation(Activation::GeluErf) => linear::<D, MR, NV, Gelu>(rows, weights, out),
        kernels::Epilogue::Activation(Activation::GeluTanh) => {
            linear::<D, MR, NV, GeluTanh>(rows, weights, out);
        }
        kernels::Epilogue::Activation(Activation::Relu) => linear::<D, MR, NV, Relu>(rows, weights, out),
    }
}

/// The same without `f`, added to the residual stream.
#[inline(always)]
pub(in crate::kernels) fn linear_i8_residual<D: Dot, const MR: usize, const NV: usize>(
    rows: &RowsI8,
    weights: &LinearI8,
    residual: &mut [f16],
) {
    linear::<D, MR, NV, Residual>(rows, weights, residual);
}

#[inline(always)]
fn linear<D: Dot, const MR: usize, const NV: usize, P: Put<D::Floats>>(
    rows: &RowsI8,
    weights: &LinearI8,
    out: &mut [P::Element],
) {
    let outputs = weights.outputs.min(weights.scales.len()).min(weights.bias.len());
    let count = rows.scales.len().min(out.len().checked_div(outputs).unwrap_or(0));
    let x = Inputs::new(rows.data, count, rows.pitch);
    let w = Panels::new(weights.panels, outputs, weights.pitch);
    multiply::<D, MR, NV>(x, w, &mut Dequantize::<D::Floats, P> { rows, weights, outputs, out });
}

/// Turns dot products into floats and puts them into their place.
struct Dequantize<'a, F, P: Put<F>> {
    rows: &'a RowsI8<'a>,
    weights: &'a LinearI8<'a>,
    outputs: usize,
    out: &'a mut [P::Element],
}

/// Up to sixteen elements from `start` on.
#[inline(always)]
fn lanes<T>(values: &[T], start: usize, end: usize) -> &[T] {
    values.get(start..end.min(values.len())).unwrap_or(&[])
}

impl<F: Floats, P: Put<F>> Epilogue<F> for Dequantize<'_, F, P> {
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
            P::put(y, out);
        }
    }
}
