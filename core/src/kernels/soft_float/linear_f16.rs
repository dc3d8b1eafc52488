//! Linear layers with f16 weights, one output at a time, so that its sum stays in registers.

use half::f16;

use super::epilogue::{OutputOp, ToF32, ToResidual};
use super::float::{is_moderate, Factor, Number};
use crate::kernels::{portable, Epilogue, PORTABLE};
use crate::tensor::{rows, rows_mut, LinearF16};

/// Outputs of a panel.
const PANEL: usize = 16;

pub(super) fn linear_f16(x: &[f32], w: &LinearF16, epilogue: Epilogue, out: &mut [f32]) {
    let are_weights_sound = are_sound(w);
    for (x, out) in rows(x, w.inputs).zip(rows_mut(out, w.outputs)) {
        if are_weights_sound && x.iter().all(is_sound) {
            row(x, w, &ToF32, out);
        } else {
            (PORTABLE.linear_f16)(x, w, Epilogue::None, out);
        }
    }
    portable::activate(epilogue, out);
}

pub(super) fn linear_f16_residual(x: &[f32], w: &LinearF16, residual: &mut [f16]) {
    let are_weights_sound = are_sound(w);
    for (x, out) in rows(x, w.inputs).zip(rows_mut(residual, w.outputs)) {
        if are_weights_sound && x.iter().all(is_sound) {
            row(x, w, &ToResidual, out);
        } else {
            (PORTABLE.linear_f16_residual)(x, w, out);
        }
    }
}

/// Whether a number is in the range of the arithmetic without special cases.
fn is_sound(x: &f32) -> bool {
    let magnitude = x.to_bits() << 1 >> 1;
    magnitude == 0 || is_moderate(magnitude)
}

fn are_sound(w: &LinearF16) -> bool {
    w.bias.iter().all(is_sound) && w.panels.iter().all(|w| w.to_bits() & 0x7c00 != 0x7c00)
}

/// `out[n] = Σ_k x[k]·w[n,k] + bias[n]`, with k ascending.
fn row<E: OutputOp>(x: &[f32], w: &LinearF16, epilogue: &E, out: &mut [E::Out]) {
    let panels = rows(w.panels, w.inputs.saturating_mul(PANEL)).zip(w.bias.chunks(PANEL));
    for (out, (panel, bias)) in out.chunks_mut(PANEL).zip(panels) {
        for (n, (out, bias)) in out.iter_mut().zip(bias).enumerate() {
            let mut sum = Number::ZERO;
            let weights = panel.get(n..).unwrap_or(&[]).iter().step_by(PANEL);
            for (x, weight) in x.iter().zip(weights) {
                let (x, weight) = (x.to_bits(), Number::from_f16(weight.to_bits()));
                // Zeros leave the sum as it is.
                if x << 1 == 0 || weight.exponent < 0 {
                    continue;
                }
                let mut product = weight.times(Factor::new(x));
                product.sign ^= x & super::float::SIGN;
                sum = sum.strict().plus(product);
            }
            epilogue.store(sum.strict().plus(Number::new(bias.to_bits())), out);
        }
    }
}
