//! Attention of a head.

use half::f16;

use super::{cut_mut, Plane};
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use crate::models::vit::weights::HeadWeights;
use crate::ops::{apply, apply_residual, quantize_rows};
use crate::tensor::{padded, RowsI8};

/// Weights of a head, and its attention, of which the queries are yet to come.
pub(in crate::models::vit) struct AttentionHead<'a> {
    pub weights: &'a HeadWeights<'a>,
    pub cache: Attention<'a>,
}

/// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ (+ b with the first head)`, for some heads, one after the other.
pub(in crate::models::vit) struct AttentionPart<'a> {
    pub kernels: &'static Kernels,
    pub heads: &'a [AttentionHead<'a>],
    pub head_dim: usize,
    pub plane: Plane<'a>,
    /// `(rows, dim)`, where the plane is f16.
    pub wide: &'a mut [f32],
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
    fn rows(&self) -> usize {
        self.scales.len()
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let Self { kernels, heads, head_dim, .. } = self;
        let rows = self.scales.len().max(1);
        let (plane, plane_right) = self.plane.split(at)?;
        let (wide, wide_right) = cut_mut(self.wide, at * (self.wide.len() / rows))?;
        let (out, out_right) = cut_mut(self.out, at * head_dim)?;
        let (codes, codes_right) = cut_mut(self.codes, at * padded(head_dim))?;
        let (scales, scales_right) = cut_mut(self.scales, at)?;
        let (tokens, tokens_right) = cut_mut(self.tokens, at * (self.tokens.len() / rows))?;
        let (scores, scores_right) = share.split(self.scratch.scores);
        let (weights16, weights16_right) = share.split(self.scratch.weights);
        let (sums, sums_right) = share.split(self.scratch.sums);
        let (linear_scratch, linear_scratch_right) = share.split(self.linear_scratch);
        let right = Self {
            kernels,
            heads,
            head_dim,
            plane: plane_right,
            wide: wide_right,
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
            heads,
            head_dim,
            plane,
            wide,
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
        let Self { kernels, head_dim, out, codes, scales, mut scratch, .. } = self;
        let shape = RowShape { width: head_dim, pitch: padded(head_dim) };
        let plane = self.plane.operand(self.wide)?;
        for AttentionHead { weights, cache } in self.heads {
            apply(kernels, &plane, &weights.query, Epilogue::None, out, self.linear_scratch)?;
            (kernels.quantize_rows)(out, shape, codes, scales);
            let queries = RowsI8 { data: codes, scales, zero_points: &[], pitch: shape.pitch };
            (kernels.attend)(&Attention { queries, ..*cache }, &mut scratch, out);
            let x = quantize_rows(kernels, out, head_dim, &weights.proj, codes, scales);
            apply_residual(kernels, &x, &weights.proj, self.tokens, self.linear_scratch)?;
        }
        Ok(())
    }
}
