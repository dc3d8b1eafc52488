//! The forward pass, tile by tile. Each function does the rows from `row` on and returns the first row not
//! done.

use half::f16;

use super::config::Pool;
use super::parts::{
    cache_start, AttentionHead, AttentionPart, EmbedPart, MlpPart, NormPart, NormedPlane, Plane, ProjectHead,
    ProjectPart,
};
use super::plan::region;
use super::run::{Run, Together};
use super::weights::HeadWeights;
use crate::arena::{cast_mut, part, part_mut, typed};
use crate::error::Error;
use crate::fork::fork;
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels};
use crate::math::{inverse_sqrt, to_f16s};
use crate::ops::{apply, quantize_rows};
use crate::quant::make_relative;
use crate::source::PixelSource;
use crate::tensor::{self, padded, Linear, Precision, RowsI8};

impl Run<'_, '_> {
    /// `tokens[p] = f16(W·(pixels_p − 128) + b + pos_p)`; the first tile also places class and distillation
    /// token. A strip of pixels is read when its first patch comes, and stays until the next one.
    pub(super) fn embed_tile<S: PixelSource + ?Sized>(
        &mut self,
        patch: usize,
        source: &mut S,
    ) -> Result<usize, Error> {
        let c = *self.vit.config();
        let weights = self.vit.embed()?;
        let ids =
            [region::TOKENS, region::STRIP, region::PATCHES, region::PATCH_SCALES, region::EMBED_LINEAR];
        let [tokens, strip, patches, scales, scratch] = self.plan.views(self.arena, ids)?;
        let (tokens, patches) = (cast_mut::<f16>(tokens)?, cast_mut::<i8>(patches)?);
        let columns = c.patch_columns().max(1);
        let row_bytes = c.image_width * c.channels;
        let strip = part_mut(strip, 0, c.patch_height * row_bytes)?;
        if patch == 0 {
            let prefix = part_mut(tokens, 0, c.prefix_tokens() * c.dim)?;
            prefix.iter_mut().zip(weights.prefix).for_each(|(to, from)| *to = *from);
        }
        let rows = self.tile.min(c.patches() - patch);
        let Linear::Int8(linear) = &weights.patch else { return Err(Error::Internal(42)) };
        for (patch, to) in (patch..patch + rows).zip(tensor::rows_mut(patches, linear.pitch)) {
            let (strip_row, column) = (patch / columns, patch % columns);
            if column == 0 {
                source.read_rows(strip_row * c.patch_height, strip).map_err(Error::Source)?;
            }
            let width = c.patch_width * c.channels;
            gather_patch(strip, row_bytes, column * width, width, self.kernels.spec.input_flip, to);
        }
        let scales = typed::<f32>(scales, 0, rows)?;
        scales.iter_mut().for_each(|scale| *scale = 1.0);
        let positions = part(weights.positions, patch * c.dim, rows * c.dim)?;
        let tokens = part_mut(tokens, (c.prefix_tokens() + patch) * c.dim, rows * c.dim)?;
        // The residual stream begins as the positions.
        tokens.iter_mut().zip(positions).for_each(|(to, from)| *to = *from);
        let part = EmbedPart {
            kernels: self.kernels,
            weights: &weights.patch,
            patches: part(patches, 0, rows * linear.pitch)?,
            scales,
            pitch: linear.pitch,
            tokens,
            scratch: cast_mut(scratch)?,
        };
        fork(self.pool, part)?;
        Ok(patch + rows)
    }

    /// `plane[t] = LayerNorm(tokens[t])`, quantized (or f16 where query, key and value have f16 weights).
    pub(super) fn norm_tile(&mut self, layer: usize, row: usize) -> Result<usize, Error> {
        let c = *self.vit.config();
        let rows = self.tile.min(c.tokens() - row);
        let norm = self.vit.norm1(layer)?;
        let int8 = self.qkv_is_int8(layer);
        let ids = [region::TOKENS, region::PLANE, region::PLANE_SCALES, region::NORMED];
        let [tokens, plane, scales, normed] = self.plan.views(self.arena, ids)?;
        let pitch = padded(c.dim);
        let to = if int8 {
            let codes = typed::<i8>(plane, row * pitch, rows * pitch)?;
            NormedPlane::Int8 { codes, scales: typed(scales, row, rows)?, pitch }
        } else {
            NormedPlane::F16 { tokens: typed(plane, row * c.dim, rows * c.dim)? }
        };
        let part = NormPart {
            kernels: self.kernels,
            norm,
            tokens: typed::<f16>(tokens, row * c.dim, rows * c.dim)?,
            normed: cast_mut(normed)?,
            to,
        };
        fork(self.pool, part)?;
        Ok(row + rows)
    }

    fn qkv_is_int8(&self, layer: usize) -> bool {
        self.vit.block_precision(layer).qkv == Precision::Int8
    }

    /// `K_h = plane·W_Kᵀ + b`, `V_h = plane·W_Vᵀ + b`, quantized per token, for the heads at work.
    pub(super) fn project_tile(&mut self, layer: usize, head: usize, row: usize) -> Result<usize, Error> {
        let c = *self.vit.config();
        let rows = self.tile.min(c.tokens() - row);
        let (n, head_dim) = (c.tokens(), c.head_dim());
        let heads = self.heads_from(head);
        let weights = self.heads.get(self.vit, layer, heads)?;
        let Some(HeadWeights { key, .. }) = weights.first() else { return Err(Error::Internal(56)) };
        let ids = [
            region::PLANE,
            region::PLANE_SCALES,
            region::KEYS,
            region::KEY_SCALES,
            region::VALUES,
            region::VALUE_SCALES,
            region::HEAD_ROWS,
            region::WIDE_ROWS,
            region::ATTENTION_LINEAR,
        ];
        let [plane, plane_scales, keys, key_scales, values, value_scales, out, wide, scratch] =
            self.plan.views(self.arena, ids)?;
        let (start, key_bytes, value_bytes) = cache_start(self.kernels, row, head_dim);
        let memory = (self.kernels.spec.attention_memory)(n, head_dim);
        let value_scales = cast_mut::<f32>(value_scales)?;
        let (mut keys, mut values) = (cast_mut::<i8>(keys)?, cast_mut::<i8>(values)?);
        let (mut key_scales, mut scales_left) = (cast_mut::<f32>(key_scales)?, &mut *value_scales);
        let mut parts = Together::new();
        for weights in weights {
            let part = ProjectHead {
                weights,
                keys: take(&mut keys, memory.keys)?.get_mut(key_bytes..).ok_or(Error::Internal(49))?,
                key_scales: part_mut(take(&mut key_scales, n)?, row, rows)?,
                values: take(&mut values, memory.values)?
                    .get_mut(value_bytes..)
                    .ok_or(Error::Internal(50))?,
                value_scales: part_mut(take(&mut scales_left, n)?, row, rows)?,
            };
            parts.push(part).map_err(|_| Error::Internal(59))?;
        }
        let part = ProjectPart {
            kernels: self.kernels,
            head_dim,
            plane: plane_rows(plane, plane_scales, key, row, rows, c.dim)?,
            wide: wide_rows(wide, key, rows, c.dim)?,
            out: typed::<f32>(out, 0, rows * head_dim)?,
            first: row - start,
            heads: parts,
            scratch: cast_mut(scratch)?,
        };
        fork(self.pool, part)?;
        if row + rows == n {
            for (scales, largest) in tensor::rows_mut(value_scales, n).zip(&mut self.value_scales) {
                *largest = make_relative(scales);
            }
        }
        Ok(row + rows)
    }

    /// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ (+ b with the first head)`, for the heads at work.
    pub(super) fn attention_tile(&mut self, layer: usize, head: usize, row: usize) -> Result<usize, Error> {
        let c = *self.vit.config();
        let rows = self.tile.min(c.tokens() - row);
        let (n, head_dim, pitch) = (c.tokens(), c.head_dim(), padded(c.head_dim()));
        let heads = self.heads_from(head);
        let weights = self.heads.get(self.vit, layer, heads)?;
        let Some(HeadWeights { query, .. }) = weights.first() else { return Err(Error::Internal(56)) };
        let ids = [
            region::TOKENS,
            region::PLANE,
            region::PLANE_SCALES,
            region::KEYS,
            region::KEY_SCALES,
            region::VALUES,
            region::VALUE_SCALES,
            region::HEAD_ROWS,
            region::HEAD_ROWS_I8,
            region::HEAD_ROW_SCALES,
            region::SCORES,
            region::PROBABILITIES,
            region::WEIGHTED_SUM,
            region::WIDE_ROWS,
            region::ATTENTION_LINEAR,
        ];
        let [tokens, plane, plane_scales, keys, key_scales, values, value_scales, out, codes, scales, scores, probabilities, sums, wide, linear_scratch] =
            self.plan.views(self.arena, ids)?;
        let memory = (self.kernels.spec.attention_memory)(n, head_dim);
        let (mut keys, mut values) = (cast_mut::<i8>(keys)?, cast_mut::<i8>(values)?);
        let (mut key_scales, mut value_scales) =
            (cast_mut::<f32>(key_scales)?, cast_mut::<f32>(value_scales)?);
        let factor = core::f32::consts::LOG2_E * inverse_sqrt(head_dim as f32);
        let mut heads = Together::<AttentionHead>::new();
        for (weights, value_scale) in weights.iter().zip(&self.value_scales) {
            let cache = Attention {
                queries: RowsI8 { data: &[], scales: &[], zero_points: &[], pitch },
                head_dim,
                factor,
                keys: take(&mut keys, memory.keys)?,
                key_scales: take(&mut key_scales, n)?,
                values: take(&mut values, memory.values)?,
                relative_scales: take(&mut value_scales, n)?,
                value_scale: *value_scale,
            };
            heads.push(AttentionHead { weights, cache }).map_err(|_| Error::Internal(59))?;
        }
        let part = AttentionPart {
            kernels: self.kernels,
            heads: &heads,
            head_dim,
            plane: plane_rows(plane, plane_scales, query, row, rows, c.dim)?,
            wide: wide_rows(wide, query, rows, c.dim)?,
            out: typed::<f32>(out, 0, rows * head_dim)?,
            codes: typed::<i8>(codes, 0, rows * pitch)?,
            scales: typed::<f32>(scales, 0, rows)?,
            scratch: AttentionScratch {
                scores: cast_mut(scores)?,
                weights: cast_mut(probabilities)?,
                sums: cast_mut(sums)?,
            },
            linear_scratch: cast_mut(linear_scratch)?,
            tokens: typed::<f16>(tokens, row * c.dim, rows * c.dim)?,
        };
        fork(self.pool, part)?;
        Ok(row + rows)
    }

    /// `tokens += W₂·f(W₁·LayerNorm(tokens) + b₁) + b₂`.
    pub(super) fn mlp_tile(&mut self, layer: usize, row: usize) -> Result<usize, Error> {
        let c = *self.vit.config();
        let rows = self.tile.min(c.tokens() - row);
        let weights = self.vit.mlp(layer)?;
        let ids = [
            region::TOKENS,
            region::MLP_ROWS,
            region::MLP_ROWS_I8,
            region::MLP_SCALES,
            region::MLP_ZERO_POINTS,
            region::HIDDEN,
            region::HIDDEN_I8,
            region::MLP_LINEAR,
        ];
        let [tokens, normed, normed_i8, scales, zero_points, hidden, hidden_i8, scratch] =
            self.plan.views(self.arena, ids)?;
        let part = MlpPart {
            kernels: self.kernels,
            norm: weights.norm,
            fc1: weights.fc1,
            fc2: weights.fc2,
            activation: c.activation,
            hidden_dim: c.hidden,
            tokens: typed(tokens, row * c.dim, rows * c.dim)?,
            normed: typed(normed, 0, rows * c.dim)?,
            normed_i8: typed(normed_i8, 0, rows * padded(c.dim))?,
            scales: typed(scales, 0, rows)?,
            zero_points: typed(zero_points, 0, rows)?,
            hidden: typed(hidden, 0, rows * c.hidden)?,
            hidden_i8: typed(hidden_i8, 0, rows * padded(c.hidden))?,
            scratch: cast_mut(scratch)?,
        };
        fork(self.pool, part)?;
        Ok(row + rows)
    }

    /// Final norm, pooling, classifiers.
    pub(super) fn head(&mut self) -> Result<(), Error> {
        let c = *self.vit.config();
        let weights = self.vit.final_weights()?;
        let ids = [
            region::TOKENS,
            region::FEATURES,
            region::HEAD_INPUT,
            region::HEAD_INPUT_I8,
            region::LOGITS,
            region::LOGITS_DIST,
            region::HEAD_LINEAR,
        ];
        let [tokens, features, input, input_i8, logits, logits_dist, scratch] =
            self.plan.views(self.arena, ids)?;
        let tokens = typed::<f16>(tokens, 0, c.tokens() * c.dim)?;
        let features = typed::<f32>(features, 0, c.dim)?;
        let input = typed::<f32>(input, 0, c.dim)?;
        let norm = |kernels: &Kernels, token: &[f16], out: &mut [f32]| match &weights.norm_before_pool {
            Some(norm) => (kernels.layer_norm)(token, norm, out),
            None => out.iter_mut().zip(token).for_each(|(to, from)| *to = from.to_f32()),
        };
        match c.pool {
            Pool::Token => norm(self.kernels, part(tokens, 0, c.dim)?, features),
            Pool::Mean => {
                features.iter_mut().for_each(|f| *f = 0.0);
                let patches = part(tokens, c.prefix_tokens() * c.dim, c.patches() * c.dim)?;
                for token in tensor::rows(patches, c.dim) {
                    norm(self.kernels, token, input);
                    features.iter_mut().zip(input.iter()).for_each(|(sum, x)| *sum += *x);
                }
                let reciprocal = 1.0 / c.patches() as f32;
                features.iter_mut().for_each(|f| *f *= reciprocal);
            }
        }
        if let Some(norm) = &weights.norm_after_pool {
            let pooled = bytemuck::try_cast_slice_mut::<f32, f16>(input).map_err(|_| Error::Internal(43))?;
            let pooled = part_mut(pooled, 0, c.dim)?;
            to_f16s(features, pooled);
            (self.kernels.layer_norm)(pooled, norm, features);
        }
        let (input_i8, scratch) = (cast_mut::<i8>(input_i8)?, cast_mut(scratch)?);
        let logits = typed::<f32>(logits, 0, c.classes)?;
        if let Some(head) = &weights.head {
            classify(self.kernels, features, head, input_i8, logits, scratch)?;
        }
        if let (Some(head), Some(token)) = (&weights.head_dist, c.second_head_token()) {
            norm(self.kernels, part(tokens, token * c.dim, c.dim)?, input);
            let dist = typed::<f32>(logits_dist, 0, c.classes)?;
            classify(self.kernels, input, head, input_i8, dist, scratch)?;
            logits.iter_mut().zip(dist.iter()).for_each(|(logit, dist)| *logit = (*logit + *dist) * 0.5);
        }
        Ok(())
    }
}

/// Copies one patch out of a strip, pixels − 128, rows of the patch one after the other, zeros up to the
/// pitch; all of them flipped.
fn gather_patch(strip: &[u8], row_bytes: usize, left: usize, width: usize, flip: i8, to: &mut [i8]) {
    let offset = 0x80 ^ flip as u8;
    let mut rest = to;
    for row in tensor::rows(strip, row_bytes) {
        let pixels = row.get(left..left.saturating_add(width)).unwrap_or(&[]);
        let (to, behind) = rest.split_at_mut_checked(pixels.len()).unwrap_or_default();
        for (pixel, to) in pixels.iter().zip(to) {
            *to = (*pixel ^ offset) as i8;
        }
        rest = behind;
    }
    rest.iter_mut().for_each(|to| *to = flip);
}

/// The first `count` elements, which are gone from the rest afterwards.
fn take<'a, T>(rest: &mut &'a mut [T], count: usize) -> Result<&'a mut [T], Error> {
    rest.split_off_mut(..count).ok_or(Error::Internal(48))
}

/// Rows of the plane, in the form that query, key and value weights want.
fn plane_rows<'a>(
    plane: &'a mut [u8],
    scales: &'a mut [u8],
    weights: &Linear,
    row: usize,
    rows: usize,
    dim: usize,
) -> Result<Plane<'a>, Error> {
    Ok(match weights {
        Linear::Int8(weights) => Plane::Int8 {
            codes: typed::<i8>(plane, row * weights.pitch, rows * weights.pitch)?,
            scales: typed::<f32>(scales, row, rows)?,
            pitch: weights.pitch,
        },
        Linear::F16(_) => Plane::F16 { tokens: typed::<f16>(plane, row * dim, rows * dim)?, dim },
    })
}

/// Memory to widen those rows in; none for int8 weights.
fn wide_rows<'a>(
    wide: &'a mut [u8],
    weights: &Linear,
    rows: usize,
    dim: usize,
) -> Result<&'a mut [f32], Error> {
    match weights {
        Linear::Int8(_) => Ok(&mut []),
        Linear::F16(_) => typed(wide, 0, rows * dim),
    }
}

/// Logits of one classifier: `W·x + b`.
fn classify(
    kernels: &Kernels,
    x: &[f32],
    head: &Linear,
    x_i8: &mut [i8],
    logits: &mut [f32],
    scratch: &mut [i32],
) -> Result<(), Error> {
    let mut scale = [0.0];
    let x = quantize_rows(kernels, x, x.len(), head, x_i8, &mut scale);
    apply(kernels, &x, head, Epilogue::None, logits, scratch)
}
