//! Linear layers with f16 weights, in panels of 16 outputs (`linear_f16.s`), and activation functions of
//! rows.

use half::f16;

use super::PORTABLE;
use crate::kernels::{Activation, Epilogue};
use crate::math::{gelu_erf, gelu_tanh, relu, to_f16, GateTable, GATE_ERF, GATE_TANH, GATE_ZERO};
use crate::tensor::{self, LinearF16};

core::arch::global_asm!(".cpu cortex-m55", include_str!("linear_f16.s"), options(raw));

/// Outputs of a panel.
const PANEL: usize = 16;
/// The largest number of outputs with which a layer computes only the first four of its panel.
const FEW: usize = 4;

/// Sums of a panel's outputs: inputs, their number, the panel, the sums.
type Dot = unsafe extern "C" fn(*const f32, usize, *const f16, *mut [f32; PANEL]);

extern "C" {
    fn vitreous_helium_dot_f16(x: *const f32, inputs: usize, weights: *const f16, sums: *mut [f32; PANEL]);
    fn vitreous_helium_dot_f16_four(
        x: *const f32,
        inputs: usize,
        weights: *const f16,
        sums: *mut [f32; PANEL],
    );
    fn vitreous_helium_gelu(x: *mut f32, quarters: usize, gates: *const f16);
    fn vitreous_helium_add_residual(y: *const f32, eighths: usize, residual: *mut f16);
}

pub(super) fn linear_f16(x: &[f32], w: &LinearF16, epilogue: Epilogue, out: &mut [f32]) {
    if w.inputs == 0 {
        return (PORTABLE.linear_f16)(x, w, epilogue, out);
    }
    for (x, out) in tensor::rows(x, w.inputs).zip(tensor::rows_mut(out, w.outputs)) {
        for_each_panel(x, w, |first, sums| {
            let out = out.get_mut(first..).unwrap_or(&mut []);
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum);
        });
    }
    if let Epilogue::Activation(activation) = epilogue {
        activate(activation, out);
    }
}

pub(super) fn linear_f16_residual(x: &[f32], w: &LinearF16, residual: &mut [f16]) {
    if w.inputs == 0 {
        return (PORTABLE.linear_f16_residual)(x, w, residual);
    }
    for (x, residual) in tensor::rows(x, w.inputs).zip(tensor::rows_mut(residual, w.outputs)) {
        for_each_panel(x, w, |first, sums| {
            let residual = residual.get_mut(first..).unwrap_or(&mut []);
            match residual.first_chunk_mut::<PANEL>() {
                // SAFETY: sixteen of both.
                Some(residual) => unsafe { add_residual(sums, PANEL / 8, residual.as_mut_ptr()) },
                None => residual.iter_mut().zip(sums).for_each(|(r, sum)| *r = to_f16(r.to_f32() + *sum)),
            }
        });
    }
}

/// Calls `take(n, y)` with the outputs of each panel, `y = Σ_k x[k]·w[n,k] + bias[n]`, and its first n.
#[inline(always)]
fn for_each_panel(x: &[f32], w: &LinearF16, mut take: impl FnMut(usize, &[f32])) {
    let dot: Dot = if w.outputs <= FEW { vitreous_helium_dot_f16_four } else { vitreous_helium_dot_f16 };
    let panels = tensor::rows(w.panels, w.inputs.saturating_mul(PANEL)).zip(w.bias.chunks(PANEL));
    for (panel, (weights, bias)) in panels.enumerate() {
        let mut sums = [0.0; PANEL];
        // SAFETY: `x` and the panel are of the layer's inputs.
        unsafe { dot(x.as_ptr(), w.inputs, weights.as_ptr(), &mut sums) };
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += *bias);
        take(panel * PANEL, sums.get(..bias.len()).unwrap_or(&[]));
    }
}

/// `residual += sums` for `eighths`·8 elements.
///
/// # Safety
/// Both have that many elements, at least 8.
pub(super) unsafe fn add_residual(sums: &[f32], eighths: usize, residual: *mut f16) {
    // SAFETY: as the caller has it.
    unsafe { vitreous_helium_add_residual(sums.as_ptr(), eighths, residual) };
}

/// The entry of 0 in a table of gates.
pub(super) fn zero_entry(table: &'static GateTable) -> *const f16 {
    table.entries().as_ptr().wrapping_add(GATE_ZERO)
}

/// Applies an activation function to each element.
pub(super) fn activate(activation: Activation, out: &mut [f32]) {
    let (table, one): (_, fn(f32) -> f32) = match activation {
        Activation::GeluErf => (&GATE_ERF, gelu_erf),
        Activation::GeluTanh => (&GATE_TANH, gelu_tanh),
        Activation::Relu => return out.iter_mut().for_each(|x| *x = relu(*x)),
    };
    let (quarters, rest) = out.as_chunks_mut::<4>();
    if !quarters.is_empty() {
        // SAFETY: that many quarters; indices are cut to the table.
        unsafe { vitreous_helium_gelu(quarters.as_mut_ptr().cast(), quarters.len(), zero_entry(table)) };
    }
    rest.iter_mut().for_each(|x| *x = one(*x));
}
