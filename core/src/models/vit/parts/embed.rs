//! The embedding of patches.

use half::f16;

use super::{cut, cut_mut};
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::Kernels;
use crate::ops::{apply_residual, Operand};
use crate::tensor::{Linear, RowsI8};

/// `tokens += W·(pixels − 128) + b`.
pub(in crate::models::vit) struct EmbedPart<'a> {
    pub kernels: &'static Kernels,
    pub weights: &'a Linear<'a>,
    /// Pixels − 128: `(rows, pitch)`.
    pub patches: &'a [i8],
    /// `(rows)`, all 1.
    pub scales: &'a [f32],
    pub pitch: usize,
    /// `(rows, dim)`.
    pub tokens: &'a mut [f16],
    /// Of the linear layer, for each worker.
    pub scratch: &'a mut [i32],
}

impl Part for EmbedPart<'_> {
    fn rows(&self) -> usize {
        self.scales.len()
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let Self { kernels, weights, pitch, .. } = self;
        let dim = self.tokens.len() / self.scales.len().max(1);
        let (patches, patches_right) = cut(self.patches, at * pitch)?;
        let (scales, scales_right) = cut(self.scales, at)?;
        let (tokens, tokens_right) = cut_mut(self.tokens, at * dim)?;
        let (scratch, scratch_right) = share.split(self.scratch);
        let right = Self {
            kernels,
            weights,
            patches: patches_right,
            scales: scales_right,
            pitch,
            tokens: tokens_right,
            scratch: scratch_right,
        };
        Ok((Self { kernels, weights, patches, scales, pitch, tokens, scratch }, right))
    }

    #[inline(always)]
    fn run(self) -> Result<(), Error> {
        let x = RowsI8 { data: self.patches, scales: self.scales, zero_points: &[], pitch: self.pitch };
        apply_residual(self.kernels, &Operand::Int8(x), self.weights, self.tokens, self.scratch)
    }
}
