//! Linear layers with f16 weights. Each output is summed by ascending k, so the lanes are outputs, never
//! inputs.

use half::f16;

use super::output_op::{Gelu, GeluTanh, OutputOp, Plain, Relu, Residual};
use super::{load, Floats, LANES};
use crate::kernels::{Activation, Epilogue};
use crate::tensor::LinearF16;

/// Rows at a time: each weight that is read serves all of them.
const ROWS: usize = 6;

/// `out[r,n] = f(Σ_k w[n,k]·x[r,k] + bias[n])`.
#[inline(always)]
pub(in crate::kernels) fn linear_f16<F: Floats>(
    x: &[f32],
    weights: &LinearF16,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    match epilogue {
        Epilogue::None => linear::<F, Plain>(x, weights, out),
        Epilogue::Activation(Activation::GeluErf) => linear::<F, Gelu>(x, weights, out),
        Epilogue::Activation(Activation::GeluTanh) => linear::<F, GeluTanh>(x, weights, out),
        Epilogue::Activation(Activation::Relu) => linear::<F, Relu>(x, weights, out),
    }
}

/// The same without `f`, added to the residual stream.
#[inline(always)]
pub(in crate::kernels) fn linear_f16_residual<F: Floats>(
    x: &[f32],
    weights: &LinearF16,
    residual: &mut [f16],
) {
    linear::<F, Residual>(x, weights, residual);
}

#[inline(always)]
fn linear<F: Floats, P: OutputOp<F>>(x: &[f32], weights: &LinearF16, out: &mut [P::Element]) {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    if inputs == 0 || outputs == 0 {
        return;
    }
    // Where a panel exists, the products of `inputs` below do not wrap either.
    let panels = weights.panels.chunks_exact(inputs.saturating_mul(LANES));
    for (panel, (w, bias)) in panels.zip(weights.bias.chunks(LANES)).enumerate() {
        let (w, bias) = (w.as_chunks::<LANES>().0, load::<F>(bias));
        let columns = panel * LANES..outputs.min((panel + 1) * LANES);
        let blocks = x.chunks(ROWS * inputs).zip(out.chunks_mut(outputs.saturating_mul(ROWS)));
        for (x, out) in blocks {
            let sums = block::<F>(x, inputs, w);
            let rows = x.len() / inputs;
            for (sum, out) in sums.into_iter().take(rows).zip(out.chunks_exact_mut(outputs)) {
                if let Some(out) = out.get_mut(columns.clone()) {
                    P::store(sum + bias, out);
                    P::finish(out);
                }
            }
        }
    }
}

/// Sums of up to [`ROWS`] rows with one panel.
#[inline(always)]
fn block<F: Floats>(x: &[f32], inputs: usize, w: &[[f16; LANES]]) -> [F; ROWS] {
    let mut sums = [F::splat(0.0); ROWS];
    if let Some(x) = x.get(..ROWS * inputs) {
        for (k, w) in w.iter().enumerate().take(inputs) {
            let w = F::load_f16(w);
            for r in 0..ROWS {
                // SAFETY: `r` is below ROWS and `k` below `inputs`.
                sums[r] = sums[r].add_product(unsafe { *x.get_unchecked(r * inputs + k) }, w);
            }
        }
        return sums;
    }
    for (sum, x) in sums.iter_mut().zip(x.chunks_exact(inputs)) {
        for (x, w) in x.iter().zip(w) {
            *sum = sum.add_product(*x, F::load_f16(w));
        }
    }
    sums
}
