//! The norm in front of attention.

use half::f16;

use super::{cut, cut_mut};
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Kernels, RowShape};
use crate::tensor::NormWeights;

/// `plane[t] = LayerNorm(tokens[t])`.
pub(in crate::models::vit) struct NormPart<'a> {
    pub kernels: &'static Kernels,
    pub norm: NormWeights<'a>,
    /// `(rows, dim)`.
    pub tokens: &'a [f16],
    /// Normed rows, as many as the kernels take together, for each worker.
    pub normed: &'a mut [f32],
    pub to: NormedPlane<'a>,
}

/// A plane to write.
pub(in crate::models::vit) enum NormedPlane<'a> {
    Int8 { codes: &'a mut [i8], scales: &'a mut [f32], pitch: usize },
    F16 { tokens: &'a mut [f16] },
}

impl Part for NormPart<'_> {
    fn rows(&self) -> usize {
        self.tokens.len().checked_div(self.norm.gamma.len()).unwrap_or(0)
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let dim = self.norm.gamma.len();
        let (kernels, norm) = (self.kernels, self.norm);
        let (tokens, tokens_right) = cut(self.tokens, at * dim)?;
        let (normed, normed_right) = share.split(self.normed);
        let (to, to_right) = match self.to {
            NormedPlane::Int8 { codes, scales, pitch } => {
                let ((codes, codes_right), (scales, scales_right)) =
                    (cut_mut(codes, at * pitch)?, cut_mut(scales, at)?);
                let right = NormedPlane::Int8 { codes: codes_right, scales: scales_right, pitch };
                (NormedPlane::Int8 { codes, scales, pitch }, right)
            }
            NormedPlane::F16 { tokens } => {
                let (tokens, right) = cut_mut(tokens, at * dim)?;
                (NormedPlane::F16 { tokens }, NormedPlane::F16 { tokens: right })
            }
        };
        let right = Self { kernels, norm, tokens: tokens_right, normed: normed_right, to: to_right };
        Ok((Self { kernels, norm, tokens, normed, to }, right))
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Error> {
        let (dim, together) = (self.norm.gamma.len(), self.kernels.spec.norm_rows);
        let mut row = 0;
        while !self.tokens.is_empty() {
            let (tokens, rest) = cut(self.tokens, (together * dim).clamp(1, self.tokens.len()))?;
            self.tokens = rest;
            let normed = cut_mut(self.normed, tokens.len())?.0;
            (self.kernels.layer_norm)(tokens, &self.norm, normed);
            match &mut self.to {
                NormedPlane::Int8 { codes, scales, pitch } => {
                    let (codes, scales) = (cut_mut(codes, row * *pitch)?.1, cut_mut(scales, row)?.1);
                    (self.kernels.quantize_rows)(
                        normed,
                        RowShape { width: dim, pitch: *pitch },
                        codes,
                        scales,
                    );
                }
                NormedPlane::F16 { tokens: to } => {
                    let to = cut_mut(to, row * dim)?.1;
                    (self.kernels.narrow)(normed, to);
                }
            }
            row += together;
        }
        Ok(())
    }
}
