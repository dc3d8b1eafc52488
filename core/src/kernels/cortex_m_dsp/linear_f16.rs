//! Linear layers with f16 weights, a row and a panel of 16 outputs at a time (`linear_f16.s`).

use half::f16;

use super::portable;
use crate::kernels::Epilogue;
use crate::math::to_f16;
use crate::tensor::{rows, rows_mut, LinearF16};

/// Outputs of a panel.
const PANEL: usize = 16;
/// Most outputs of a layer that is done without the others of its panel.
const FEW: usize = 4;

/// Sums of a panel's outputs: inputs, their number, the panel, the sums.
type Dot = unsafe extern "C" fn(*const f32, usize, *const f16, *mut [f32; PANEL]);

extern "C" {
    fn vitreous_dsp_dot_f16(x: *const f32, inputs: usize, weights: *const f16, sums: *mut [f32; PANEL]);
    fn vitreous_dsp_dot_f16_four(x: *const f32, inputs: usize, weights: *const f16, sums: *mut [f32; PANEL]);
}

pub(super) fn linear_f16(x: &[f32], w: &LinearF16, epilogue: Epilogue, out: &mut [f32]) {
    for_each_panel(x, w, out, |out, sum| *out = sum);
    portable::activate(epilogue, out);
}

pub(super) fn linear_f16_residual(x: &[f32], w: &LinearF16, residual: &mut [f16]) {
    for_each_panel(x, w, residual, |r, sum| *r = to_f16(r.to_f32() + sum));
}

/// Calls `store(out[r,n], Σ_k x[r,k]·w[n,k] + bias[n])`.
#[inline(always)]
fn for_each_panel<T>(x: &[f32], w: &LinearF16, out: &mut [T], store: impl Fn(&mut T, f32)) {
    let dot: Dot = if w.outputs <= FEW { vitreous_dsp_dot_f16_four } else { vitreous_dsp_dot_f16 };
    for (x, out) in rows(x, w.inputs).zip(rows_mut(out, w.outputs)) {
        let panels = rows(w.panels, w.inputs * PANEL).zip(w.bias.chunks(PANEL));
        for (out, (weights, bias)) in out.chunks_mut(PANEL).zip(panels) {
            let mut sums = [0.0; PANEL];
            // A model's tensors are aligned to 16 bytes.
            debug_assert!(weights.as_ptr().cast::<u32>().is_aligned());
            // SAFETY: `x` has the layer's inputs, at least one, and the panel sixteen weights for each.
            unsafe { dot(x.as_ptr(), w.inputs, weights.as_ptr(), &mut sums) };
            for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
                store(out, sum + *bias);
            }
        }
    }
}
