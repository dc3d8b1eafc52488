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

impl<F: Floats, P: Put<F>> Epilogue<F> for Dequantize<'_, F, P> {
    #[inline(always)]
    fn take<const NV: usize>(&mut self, row: usize, panel: usize, dots: [F::Ints; NV]) {
        let (start, w) = (panel * LANES, self.weights);
        let end = self.outputs.min(start + NV * LANES);
        let zero_point = self.rows.zero_points.get(row).copied().unwrap_or(0);
        let scale = F::splat(self.rows.scales.get(row).copied().unwrap_or(0.0));
        let at = row * self.outputs;
        let out = self.out.get_mut(at + start..at + end);
        let (Some(out), Some(scales), Some(bias)) = (out, w.scales.get(start..end), w.bias.get(start..end))
        else {
            return;
        };
        let sums = if zero_point == 0 { &[] } else { w.sums.get(start..end).unwrap_or(&[]) };
        let mut y = [F::splat(0.0); NV];
        for v in 0..NV {
            let mut dots = dots[v];
            if !sums.is_empty() {
                dots = dots.sub(load_ints::<F::Ints>(part(sums, v)).mul(F::Ints::splat(zero_point)));
            }
            y[v] = F::from_ints(dots) * load(part(scales, v)) * scale + load(part(bias, v));
        }
        P::put_all(y, out);
    }
}

/// The columns of one panel; empty behind the last one.
#[inline(always)]
fn part<T>(columns: &[T], panel: usize) -> &[T] {
    let rest = columns.get(panel * LANES..).unwrap_or(&[]);
    rest.get(..LANES).unwrap_or(rest)
}
