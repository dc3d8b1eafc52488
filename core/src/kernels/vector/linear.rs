//! int8 linear layers with their epilogues.

use half::f16;

use super::gemm::{multiply, Epilogue, Inputs, Panels};
use super::output_op::{Gelu, GeluTanh, OutputOp, Plain, Relu, Residual};
use super::{load, load_ints, Dot, Floats, Ints, LANES};
use crate::kernels;
use crate::kernels::Activation;
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
fn linear<D: Dot, const MR: usize, const NV: usize, P: OutputOp<D::Floats>>(
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

/// Epilogue that turns dot products into floats and stores them.
struct Dequantize<'a, F, P: OutputOp<F>> {
    rows: &'a RowsI8<'a>,
    weights: &'a LinearI8<'a>,
    outputs: usize,
    out: &'a mut [P::Element],
}

/// Constants of some panels' outputs: scales, bias, and the sums of their weights if the rows have zero
/// points.
struct Outputs<F: Floats, const NV: usize> {
    start: usize,
    end: usize,
    scales: [F; NV],
    bias: [F; NV],
    sums: Option<[F::Ints; NV]>,
}

impl<F: Floats, P: OutputOp<F>> Epilogue<F> for Dequantize<'_, F, P> {
    type Constants<const NV: usize> = Outputs<F, NV>;

    #[inline(always)]
    fn constants<const NV: usize>(&self, panel: usize) -> Option<Outputs<F, NV>> {
        let (start, end) = (panel * LANES, ((panel + NV) * LANES).min(self.outputs));
        let w = self.weights;
        let (scales, bias) =
            (columns::<F, NV>(w.scales.get(start..end)?), columns::<F, NV>(w.bias.get(start..end)?));
        let there =
            if self.rows.zero_points.is_empty() { &[] } else { w.sums.get(start..end).unwrap_or(&[]) };
        let mut sums = None;
        // Without sums nothing is loaded: a load with an empty mask still takes hundreds of cycles if nothing
        // is mapped at its address.
        if !there.is_empty() {
            let mut loaded = [F::Ints::splat(0); NV];
            for v in 0..NV {
                loaded[v] = load_ints(there.get(v * LANES..).unwrap_or(&[]));
            }
            sums = Some(loaded);
        }
        Some(Outputs { start, end, scales, bias, sums })
    }

    #[inline(always)]
    fn store_row<const NV: usize>(&mut self, row: usize, panels: &Outputs<F, NV>, mut dots: [F::Ints; NV]) {
        let at = row * self.outputs;
        let (Some(x_scale), Some(out)) =
            (self.rows.scales.get(row), self.out.get_mut(at + panels.start..at + panels.end))
        else {
            return;
        };
        if let Some(sums) = &panels.sums {
            let zero_point = F::Ints::splat(self.rows.zero_points.get(row).copied().unwrap_or(0));
            for v in 0..NV {
                dots[v] = dots[v].sub(sums[v].mul(zero_point));
            }
        }
        let x_scale = F::splat(*x_scale);
        let mut y = panels.bias;
        for v in 0..NV {
            y[v] = F::from_ints(dots[v]) * panels.scales[v] * x_scale + panels.bias[v];
        }
        P::store_all(y, out);
    }

    #[inline(always)]
    fn finish_rows<const NV: usize>(&mut self, row: usize, rows: usize, panels: &Outputs<F, NV>) {
        for row in row..row + rows {
            let at = row * self.outputs;
            P::finish(self.out.get_mut(at + panels.start..at + panels.end).unwrap_or(&mut []));
        }
    }
}

/// One number per column of `N` panels; zeros for missing columns.
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
