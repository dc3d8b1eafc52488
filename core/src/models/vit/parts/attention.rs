//! Attention of a head.

use half::f16;

use super::{cut_mut, Plane, BLOCK_ROWS};
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use crate::models::vit::weights::HeadWeights;
use crate::ops::{apply, apply_residual, quantize_rows};
use crate::tensor::RowsI8;

/// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ (+ b with the first head)`.
pub(in crate::models::vit) struct AttentionPart<'a> {
    pub kernels: &'static Kernels,
    pub weights: &'a HeadWeights<'a>,
    pub plane: Plane<'a>,
    /// `(rows, dim)`, where the plane is f16.
    pub wide: &'a mut [f32],
    /// Keys and values; its queries are yet to come.
    pub cache: Attention<'a>,
    /// Queries, then attended values: `(rows, head_dim)`.
    pub out: &'a mut [f32],
    /// The same, quantized: `(rows, pitch)`.
    pub codes: &'a mut [i8],
    /// `(rows)`.
    pub scales: &'a mut [f32],
    /// For each worker.
    pub scratch: AttentionScratch<'a>,
    /// Of the linear layers, for each worker.
    pub linear_scratch: &'a mut [i32],
    /// `(rows, dim)`.
    pub tokens: &'a mut [f16],
}

impl Part for AttentionPart<'_> {
    const GRANULE: usize = BLOCK_ROWS;

    fn rows(&self) -> usize {
        self.scales.len()
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let Self { kernels, weights, cache, .. } = self;
        let rows = self.scales.len().max(1);
        let (plane, plane_right) = self.plane.split(at)?;
        let (wide, wide_right) = cut_mut(self.wide, at * (self.wide.len() / rows))?;
        let (out, out_right) = cut_mut(self.out, at * cache.head_dim)?;
        let (codes, codes_right) = cut_mut(self.codes, at * cache.queries.pitch)?;
        let (scales, scales_right) = cut_mut(self.scales, at)?;
        let (tokens, tokens_right) = cut_mut(self.tokens, at * (self.tokens.len() / rows))?;
        let (scores, scores_right) = share.split(self.scratch.scores);
        let (weights16, weights16_right) = share.split(self.scratch.weights);
        let (sums, sums_right) = share.split(self.scratch.sums);
        let (linear_scratch, linear_scratch_right) = share.split(self.linear_scratch);
        let right = Self {
            kernels,
            weights,
            plane: plane_right,
            wide: wide_right,
            cache,
            out: out_right,
            codes: codes_right,
            scales: scales_right,
            scratch: AttentionScratch { scores: scores_right, weights: weights16_right, sums: sums_right },
            linear_scratch: linear_scratch_right,
            tokens: tokens_right,
        };
        let scratch = AttentionScratch { scores, weights: weights16, sums };
        let left = Self {
            kernels,
            weights,
            plane,
            wide,
            cache,
            out,
            codes,
            scales,
            scratch,
            linear_scratch,
            tokens,
        };
        Ok((left, right))
    }

    #[inline(always)]
    fn run(self) -> Result<(), Error> {
        let Self { kernels, weights, cache, out, codes, scales, mut scratch, .. } = self;
        let (head_dim, pitch) = (cache.head_dim, cache.queries.pitch);
        let x = self.plane.operand(self.wide)?;
        apply(kernels, &x, &weights.query, Epilogue::None, out, self.linear_scratch)?;
        (kernels.quantize_rows)(out, RowShape { width: head_dim, pitch }, codes, scales);
        let queries = RowsI8 { data: codes, scales, zero_points: &[], pitch };
        (kernels.attend)(&Attention { queries, ..cache }, &mut scratch, out);
        let x = quantize_rows(kernels, out, head_dim, &weights.proj, codes, scales);
        apply_residual(kernels, &x, &weights.proj, self.tokens, self.linear_scratch)
    }
}
