//! The MLP.

use half::f16;

use super::cut_mut;
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Epilogue, Kernels};
use crate::models::vit::config::Activation;
use crate::ops::{apply, apply_residual, quantize_rows, quantize_rows_above, QuantizedScratch};
use crate::tensor::{Linear, NormWeights};

/// `tokens += W₂·f(W₁·LayerNorm(tokens) + b₁) + b₂`.
pub(in crate::models::vit) struct MlpPart<'a> {
    pub kernels: &'static Kernels,
    pub norm: NormWeights<'a>,
    pub fc1: Linear<'a>,
    pub fc2: Linear<'a>,
    pub activation: Activation,
    pub hidden_dim: usize,
    /// `(rows, dim)`.
    pub tokens: &'a mut [f16],
    /// `(rows, dim)`.
    pub normed: &'a mut [f32],
    /// The same, quantized.
    pub normed_i8: &'a mut [i8],
    /// `(rows)`, of either quantized row.
    pub scales: &'a mut [f32],
    /// `(rows)`.
    pub zero_points: &'a mut [i32],
    /// `(rows, hidden)`.
    pub hidden: &'a mut [f32],
    /// The same, quantized.
    pub hidden_i8: &'a mut [i8],
    /// Of the linear layers, for each worker.
    pub scratch: &'a mut [i32],
}

impl Part for MlpPart<'_> {
    fn rows(&self) -> usize {
        self.scales.len()
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let Self { kernels, norm, fc1, fc2, activation, hidden_dim, .. } = self;
        let rows = self.scales.len().max(1);
        let (tokens, tokens_right) = cut_mut(self.tokens, at * norm.gamma.len())?;
        let (normed, normed_right) = cut_mut(self.normed, at * norm.gamma.len())?;
        let (normed_i8, normed_i8_right) = cut_mut(self.normed_i8, at * (self.normed_i8.len() / rows))?;
        let (scales, scales_right) = cut_mut(self.scales, at)?;
        let (zero_points, zero_points_right) = cut_mut(self.zero_points, at)?;
        let (hidden, hidden_right) = cut_mut(self.hidden, at * hidden_dim)?;
        let (hidden_i8, hidden_i8_right) = cut_mut(self.hidden_i8, at * (self.hidden_i8.len() / rows))?;
        let (scratch, scratch_right) = share.split(self.scratch);
        let right = Self {
            kernels,
            norm,
            fc1,
            fc2,
            activation,
            hidden_dim,
            tokens: tokens_right,
            normed: normed_right,
            normed_i8: normed_i8_right,
            scales: scales_right,
            zero_points: zero_points_right,
            hidden: hidden_right,
            hidden_i8: hidden_i8_right,
            scratch: scratch_right,
        };
        let left = Self {
            kernels,
            norm,
            fc1,
            fc2,
            activation,
            hidden_dim,
            tokens,
            normed,
            normed_i8,
            scales,
            zero_points,
            hidden,
            hidden_i8,
            scratch,
        };
        Ok((left, right))
    }

    #[inline(always)]
    fn run(self) -> Result<(), Error> {
        let Self { kernels, norm, scales, hidden, .. } = self;
        (kernels.layer_norm)(self.tokens, &norm, self.normed);
        let dim = norm.gamma.len();
        let x = quantize_rows(kernels, self.normed, dim, &self.fc1, self.normed_i8, scales);
        apply(kernels, &x, &self.fc1, Epilogue::Activation(self.activation), hidden, self.scratch)?;
        let quantized = QuantizedScratch { data: self.hidden_i8, scales, zero_points: self.zero_points };
        let x = quantize_rows_above(
            kernels,
            hidden,
            self.hidden_dim,
            self.activation.floor(),
            &self.fc2,
            quantized,
        );
        apply_residual(kernels, &x, &self.fc2, self.tokens, self.scratch)
    }
}
