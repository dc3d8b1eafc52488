//! Linear layers with f16 weights, a row and a panel of 16 outputs at a time (`linear_f16.s`).

use half::f16;

use super::portable;
use super::rows::{narrow, widen};
use crate::kernels::Epilogue;
use crate::tensor::{rows, LinearF16};

/// Outputs of a panel.
const PANEL: usize = 16;
/// The largest number of outputs with which a layer computes only the first four of its panel.
const FEW: usize = 4;

/// Sums of a panel's outputs: inputs, their number, the panel, the sums.
type Dot = unsafe extern "C" fn(*const f32, usize, *const f16, *mut [f32; PANEL]);

extern "C" {
    fn vitreous_dsp_dot_f16(x: *const f32, inputs: usize, weights: *const f16, sums: *mut [f32; PANEL]);
    fn vitreous_dsp_dot_f16_four(x: *const f32, inputs: usize, weights: *const f16, sums: *mut [f32; PANEL]);
}

pub(super) fn linear_f16(x: &[f32], w: &LinearF16, epilogue: Epilogue, out: &mut [f32]) {
    let outputs = w.outputs;
    for_each_panel(x, w, &mut |row, column, y| {
        let out = out.get_mut(row.wrapping_mul(outputs)..).and_then(|out| out.get_mut(column..outputs));
        out.unwrap_or(&mut []).iter_mut().zip(y).for_each(|(out, y)| *out = *y);
    });
    portable::activate(epilogue, out);
}

pub(super) fn linear_f16_residual(x: &[f32], w: &LinearF16, residual: &mut [f16]) {
    let outputs = w.outputs;
    for_each_panel(x, w, &mut |row, column, y| {
        let residual = residual
            .get_mut(row.wrapping_mul(outputs)..)
            .and_then(|residual| residual.get_mut(column..outputs));
        let residual = residual.unwrap_or(&mut []);
        let mut sums = [0.0; PANEL];
        widen(residual, &mut sums);
        sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += *y);
        let count = y.len().min(residual.len());
        narrow(&sums, residual.get_mut(..count).unwrap_or(&mut []));
    });
}

/// Calls `take(r, n, y)` with the outputs y of row r from n on, those of one panel: `Σ_k x[r,k]·w[n,k] +
/// bias[n]`. One function serves both kinds of results, since its code is large. It does nothing if the
/// weights are not aligned to words, as a model's always are.
#[inline(never)]
fn for_each_panel(x: &[f32], w: &LinearF16, take: &mut dyn FnMut(usize, usize, &[f32])) {
    if !w.panels.as_ptr().cast::<u32>().is_aligned() {
        return;
    }
    let dot: Dot = if w.outputs <= FEW { vitreous_dsp_dot_f16_four } else { vitreous_dsp_dot_f16 };
    for (row, x) in rows(x, w.inputs).enumerate() {
        let panels = rows(w.panels, w.inputs.saturating_mul(PANEL)).zip(w.bias.chunks(PANEL));
        for (panel, (weights, bias)) in panels.enumerate() {
            let mut y = [0.0; PANEL];
            // SAFETY: `x` has the layer's inputs, at least one, and the panel sixteen weights for each, 32
            // bytes, so that it is aligned as the first one is.
            unsafe { dot(x.as_ptr(), w.inputs, weights.as_ptr(), &mut y) };
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += *bias);
            take(row, panel * PANEL, y.get(..bias.len()).unwrap_or(&[]));
        }
    }
}
