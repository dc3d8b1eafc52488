//! Linear layers with f16 weights: ascending k for every output, so lanes are outputs and never inputs.

use half::f16;

use super::{load, load_f16, store, store_f16, Floats, LANES};
use crate::kernels::Epilogue;
use crate::math::{gelu_erf, gelu_tanh, relu};
use crate::models::vit::Activation;
use crate::tensor::LinearF16;

/// Rows that share each weight.
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
        Epilogue::None => linear::<F, f32>(x, weights, out, |out, y| store(y, out)),
        Epilogue::Activation(Activation::GeluErf) => {
            linear::<F, f32>(x, weights, out, |out, y| store(gelu_erf(y), out));
        }
        Epilogue::Activation(Activation::GeluTanh) => {
            linear::<F, f32>(x, weights, out, |out, y| store(gelu_tanh(y), out));
        }
        Epilogue::Activation(Activation::Relu) => {
            linear::<F, f32>(x, weights, out, |out, y| store(relu(y), out));
        }
    }
}

/// The same without `f`, added to the residual stream.
#[inline(always)]
pub(in crate::kernels) fn linear_f16_residual<F: Floats>(
    x: &[f32],
    weights: &LinearF16,
    residual: &mut [f16],
) {
    linear::<F, f16>(x, weights, residual, |out, y| store_f16(load_f16::<F>(out) + y, out));
}

#[inline(always)]
fn linear<F: Floats, T>(x: &[f32], weights: &LinearF16, out: &mut [T], mut put: impl FnMut(&mut [T], F)) {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    if inputs == 0 || outputs == 0 {
        return;
    }
    let panels = weights.panels.chunks_exact(inputs * LANES);
    for (panel, (w, bias)) in panels.zip(weights.bias.chunks(LANES)).enumerate() {
        let (w, bias) = (w.as_chunks::<LANES>().0, load::<F>(bias));
        let columns = panel * LANES..outputs.min((panel + 1) * LANES);
        let blocks = x.chunks(ROWS * inputs).zip(out.chunks_mut(ROWS * outputs));
        for (x, out) in blocks {
            let sums = block::<F>(x, inputs, w);
            let rows = x.len() / inputs;
            for (sum, out) in sums.into_iter().take(rows).zip(out.chunks_exact_mut(outputs)) {
                if let Some(out) = out.get_mut(columns.clone()) {
                    put(out, sum + bias);
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
                sums[r] = sums[r] + F::splat(unsafe { *x.get_unchecked(r * inputs + k) }) * w;
            }
        }
        return sums;
    }
    for (sum, x) in sums.iter_mut().zip(x.chunks_exact(inputs)) {
        *sum = x.iter().zip(w).fold(*sum, |sum, (x, w)| sum + F::splat(*x) * F::load_f16(w));
    }
    sums
}
