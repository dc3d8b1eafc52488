//! The work of a tile, as pieces of rows that cores can share. Every piece has its own rows of everything that is written.

use half::f16;

use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels};
use crate::ops::{
    apply, apply_residual, quantize, quantize_rows, quantize_rows_above, Operand, QuantizedScratch,
};
use crate::tensor::{Linear, NormWeights, RowsI8};

use super::config::Activation;
use super::weights::HeadWeights;

/// Rows that a block of a table's matrix product has at most.
const BLOCK_ROWS: usize = 6;
/// Tokens whose keys and values lie together in every table's order.
const CACHE_TOKENS: usize = 16;

/// `slice.split_at(at)` of something that the plan has sized.
fn cut<T>(slice: &[T], at: usize) -> Result<(&[T], &[T]), Error> {
    slice.split_at_checked(at).ok_or(Error::Internal(44))
}

/// The same, to write.
fn cut_mut<T>(slice: &mut [T], at: usize) -> Result<(&mut [T], &mut [T]), Error> {
    slice.split_at_mut_checked(at).ok_or(Error::Internal(45))
}

/// Normed tokens: int8 with a scale each, or f16 where query, key and value have f16 weights.
#[derive(Clone, Copy)]
pub(super) enum Plane<'a> {
    Int8 { codes: &'a [i8], scales: &'a [f32], pitch: usize },
    F16 { tokens: &'a [f16], dim: usize },
}

impl<'a> Plane<'a> {
    pub fn rows(&self) -> usize {
        match self {
            Plane::Int8 { scales, .. } => scales.len(),
            Plane::F16 { tokens, dim } => tokens.len().checked_div(*dim).unwrap_or(0),
        }
    }

    fn split(self, at: usize) -> Result<(Self, Self), Error> {
        Ok(match self {
            Plane::Int8 { codes, scales, pitch } => {
                let ((codes, codes_right), (scales, scales_right)) =
                    (cut(codes, at * pitch)?, cut(scales, at)?);
                let right = Plane::Int8 { codes: codes_right, scales: scales_right, pitch };
                (Plane::Int8 { codes, scales, pitch }, right)
            }
            Plane::F16 { tokens, dim } => {
                let (tokens, right) = cut(tokens, at * dim)?;
                (Plane::F16 { tokens, dim }, Plane::F16 { tokens: right, dim })
            }
        })
    }

    /// As input of query, key or value weights; f16 is widened into `wide`.
    fn operand<'w>(self, wide: &'w mut [f32]) -> Result<Operand<'w>, Error>
    where
        'a: 'w,
    {
        match self {
            Plane::Int8 { codes, scales, pitch } => {
                Ok(Operand::Int8(RowsI8 { data: codes, scales, zero_points: &[], pitch }))
            }
            Plane::F16 { tokens, .. } => {
                let wide = wide.get_mut(..tokens.len()).ok_or(Error::Internal(46))?;
                wide.iter_mut().zip(tokens).for_each(|(to, from)| *to = from.to_f32());
                Ok(Operand::Float(wide))
            }
        }
    }
}

/// `plane[t] = LayerNorm(tokens[t])`.
pub(super) struct NormPart<'a> {
    pub kernels: &'static Kernels,
    pub norm: NormWeights<'a>,
    /// `(rows, dim)`.
    pub tokens: &'a [f16],
    /// Normed rows, as many as the kernels take together, for each worker.
    pub normed: &'a mut [f32],
    pub to: NormedPlane<'a>,
}

/// A plane to write.
pub(super) enum NormedPlane<'a> {
    Int8 { codes: &'a mut [i8], scales: &'a mut [f32], pitch: usize },
    F16 { tokens: &'a mut [f16] },
}

impl Part for NormPart<'_> {
    const GRANULE: usize = BLOCK_ROWS;

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
                    quantize(self.kernels, normed, dim, *pitch, codes, scales);
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

/// `K_h = plane·W_Kᵀ + b`, `V_h = plane·W_Vᵀ + b`, quantized per token.
pub(super) struct ProjectPart<'a> {
    pub kernels: &'static Kernels,
    pub weights: &'a HeadWeights<'a>,
    pub head_dim: usize,
    pub plane: Plane<'a>,
    /// `(rows, dim)`, where the plane is f16.
    pub wide: &'a mut [f32],
    /// `(rows, head_dim)`.
    pub out: &'a mut [f32],
    /// Tokens of `keys` and `values` before the first row: fewer than [`CACHE_TOKENS`].
    pub first: usize,
    pub keys: &'a mut [i8],
    pub key_scales: &'a mut [f32],
    pub values: &'a mut [i8],
    pub value_scales: &'a mut [f32],
    /// Of the linear layers, for each worker.
    pub scratch: &'a mut [i32],
}

/// The last token up to `row` at which keys and values can be split, and what they take up to there: keys, values.
pub(super) fn cache_start(kernels: &Kernels, row: usize, head_dim: usize) -> (usize, usize, usize) {
    let start = row / CACHE_TOKENS * CACHE_TOKENS;
    let memory = (kernels.spec.attention_memory)(start, head_dim);
    (start, memory.keys, memory.values)
}

impl Part for ProjectPart<'_> {
    const GRANULE: usize = CACHE_TOKENS;

    fn offset(&self) -> usize {
        self.first
    }

    fn rows(&self) -> usize {
        self.plane.rows()
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let Self { kernels, weights, head_dim, first, .. } = self;
        let (_, key_bytes, value_bytes) = cache_start(kernels, first + at, head_dim);
        let wide_row = self.wide.len().checked_div(self.plane.rows()).unwrap_or(0);
        let (plane, plane_right) = self.plane.split(at)?;
        let (wide, wide_right) = cut_mut(self.wide, at * wide_row)?;
        let (out, out_right) = cut_mut(self.out, at * head_dim)?;
        let (keys, keys_right) = cut_mut(self.keys, key_bytes)?;
        let (key_scales, key_scales_right) = cut_mut(self.key_scales, at)?;
        let (values, values_right) = cut_mut(self.values, value_bytes)?;
        let (value_scales, value_scales_right) = cut_mut(self.value_scales, at)?;
        let (scratch, scratch_right) = share.split(self.scratch);
        let right = Self {
            kernels,
            weights,
            head_dim,
            plane: plane_right,
            wide: wide_right,
            out: out_right,
            first: 0,
            keys: keys_right,
            key_scales: key_scales_right,
            values: values_right,
            value_scales: value_scales_right,
            scratch: scratch_right,
        };
        let left = Self {
            kernels,
            weights,
            head_dim,
            plane,
            wide,
            out,
            first,
            keys,
            key_scales,
            values,
            value_scales,
            scratch,
        };
        Ok((left, right))
    }

    #[inline(always)]
    fn run(self) -> Result<(), Error> {
        let Self { kernels, weights, head_dim, first, out, .. } = self;
        let x = self.plane.operand(self.wide)?;
        apply(kernels, &x, &weights.key, Epilogue::None, out, self.scratch)?;
        (kernels.store_keys)(out, head_dim, first, self.keys, self.key_scales);
        apply(kernels, &x, &weights.value, Epilogue::None, out, self.scratch)?;
        (kernels.store_values)(out, head_dim, first, self.values, self.value_scales);
        Ok(())
    }
}

/// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ (+ b with the first head)`.
pub(super) struct AttentionPart<'a> {
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
        quantize(kernels, out, head_dim, pitch, codes, scales);
        let queries = RowsI8 { data: codes, scales, zero_points: &[], pitch };
        (kernels.attend)(&Attention { queries, ..cache }, &mut scratch, out);
        let x = quantize_rows(kernels, out, head_dim, &weights.proj, codes, scales);
        apply_residual(kernels, &x, &weights.proj, self.tokens, self.linear_scratch)
    }
}

/// `tokens += W₂·f(W₁·LayerNorm(tokens) + b₁) + b₂`.
pub(super) struct MlpPart<'a> {
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
    const GRANULE: usize = BLOCK_ROWS;

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
