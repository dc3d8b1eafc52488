//! The kernel table: the only code that differs from machine to machine, and all of it computes the same bits.
//!
//! `portable` is the oracle. It is plain Rust, and what other tables must equal bit for bit at every shape.

mod portable;

pub use portable::PORTABLE;

use half::f16;

use crate::models::vit::Activation;
use crate::tensor::{LinearF16, LinearI8, NormWeights, PanelLayout, RowsI8};

/// What follows a linear layer before its result is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Epilogue {
    /// Nothing.
    None,
    /// The MLP's nonlinearity.
    Activation(Activation),
}

/// Dot products of one query with all keys, as the exponents of a softmax to base 2.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Keys<'a> {
    /// `(tokens, pitch)` int8, zero-padded.
    pub data: &'a [i8],
    /// Scale per token.
    pub scales: &'a [f32],
    /// Distance between rows.
    pub pitch: usize,
}

/// Functions of one instruction set. Shapes are given by the views; where views disagree, the shorter one counts, so that no
/// call can read or write outside (the models always pass views that agree).
pub struct Kernels {
    /// Name as users give it: `portable`, `avx2`, …
    pub name: &'static str,
    /// Whether the int8 kernels can read a weight layout.
    pub supports: fn(PanelLayout) -> bool,
    /// `out[r,n] = f((acc − x_zero[r]·sums[n])·w_scale[n]·x_scale[r] + bias[n])`: rows `(rows, pitch)`, out `(rows, outputs)`.
    pub linear_i8: fn(&RowsI8, &LinearI8, Epilogue, &mut [f32]),
    /// The same without `f`, added to the residual stream: `residual[r,n] = f16(f32(residual[r,n]) + …)`.
    pub linear_i8_residual: fn(&RowsI8, &LinearI8, &mut [f16]),
    /// `out[r,n] = f(Σ_k w[n,k]·x[r,k] + bias[n])`, ascending k: x `(rows, inputs)`, out `(rows, outputs)`.
    pub linear_f16: fn(&[f32], &LinearF16, Epilogue, &mut [f32]),
    /// The same, added to the residual stream.
    pub linear_f16_residual: fn(&[f32], &LinearF16, &mut [f16]),
    /// Quantizes one row to int8, zero-fills up to `out`'s length, returns the scale.
    pub quantize_row: fn(&[f32], &mut [i8]) -> f32,
    /// Quantizes one row of which no element is below `floor` ≤ 0 with a zero point; zero-fills up to the codes' length;
    /// returns scale and zero point.
    pub quantize_row_above: QuantizeAboveKernel,
    /// Layer norm of one f16 row (Ba et al., arXiv 1607.06450, §3), sums in the canonical order of docs/numerics.md.
    pub layer_norm: fn(&[f16], &NormWeights, &mut [f32]),
    /// `out[t] = (q·k_t)·(factor·k_scales[t])`; returns the largest. q `(pitch)`, out `(tokens)`.
    pub scores: fn(&[i8], f32, &Keys, &mut [f32]) -> f32,
    /// Turns scores into integer weights.
    pub softmax: SoftmaxKernel,
    /// `acc[j] = Σ_t p[t]·v[t,j]`: v `(tokens, pitch)`, acc `(pitch)`.
    pub weighted_sum: fn(&[i16], &[i8], &mut [i32]),
}

#[cfg(feature = "defmt")]
impl defmt::Format for Kernels {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Kernels {{ name: {=str} }}", self.name);
    }
}

/// Signature of the softmax kernel: scores `(tokens)`, their maximum, the largest weight, scales of the values per token relative
/// to the largest, weights out `(tokens)`; returns the sum that normalizes.
///
/// With `e_t = weight_max·2^(score_t − max)` the weights are `round(e_t·scale_t)` and the sum is that of `round(e_t)`.
pub type SoftmaxKernel = fn(&[f32], f32, f32, &[f32], &mut [i16]) -> u32;

/// Signature of the quantization with a zero point: row, lower bound of its elements, codes out; returns scale and zero point.
pub type QuantizeAboveKernel = fn(&[f32], f32, &mut [i8]) -> (f32, i32);

/// The table for this build.
pub fn default_kernels() -> &'static Kernels {
    &PORTABLE
}
