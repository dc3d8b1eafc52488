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
    fn take<const MR: usize, const NV: usize>(
        &mut self,
        row: usize,
        rows: usize,
        panel: usize,
        dots: &[[F::Ints; NV]; MR],
    ) {
        let (start, end) = (panel * LANES, ((panel + NV) * LANES).min(self.outputs));
        let w = self.weights;
        let (Some(scales), Some(bias)) = (w.scales.get(start..end), w.bias.get(start..end)) else { return };
        let sums = if self.rows.zero_points.is_empty() { &[] } else { w.sums.get(start..end).unwrap_or(&[]) };
        let (scales, bias) = (columns::<F, NV>(scales), columns::<F, NV>(bias));
        let mut column_sums = [F::Ints::splat(0); NV];
        // A load of which the mask leaves nothing still takes hundreds of cycles if nothing is mapped there.
        if !sums.is_empty() {
            for v in 0..NV {
                column_sums[v] = load_ints(sums.get(v * LANES..).unwrap_or(&[]));
            }
        }
        for (r, dots) in dots.iter().enumerate().take(rows) {
            let at = (row + r) * self.outputs;
            let (Some(x_scale), Some(out)) =
                (self.rows.scales.get(row + r), self.out.get_mut(at + start..at + end))
            else {
                return;
            };
            let x_scale = F::splat(*x_scale);
            let mut y = [x_scale; NV];
            for v in 0..NV {
                let mut dots = dots[v];
                if !sums.is_empty() {
                    let zero_point = self.rows.zero_points.get(row + r).copied().unwrap_or(0);
                    dots = dots.sub(column_sums[v].mul(F::Ints::splat(zero_point)));
                }
                y[v] = F::from_ints(dots) * scales[v] * x_scale + bias[v];
            }
            P::put_all(y, out);
        }
    }
}

/// The columns of `N` panels; zeros behind the last one.
#[inline(always)]
fn columns<F: Floats, const N: usize>(x: &[f32]) -> [F; N] {
    let mut columns = [F::splat(0.0); N];
    match x.as_chunks::<LANES>().0.first_chunk::<N>() {
        Some(whole) => {
            for v in 0..N {
                columns[v] = F::load(&whole[v]);
            }
        }
        None => {
            for v in 0..N {
                columns[v] = load(x.get(v * LANES..).unwrap_or(&[]));
            }
        }
    }
    columns
}
