//! The shared body: tokens through encoder and decoder, tile by tile. Each function does the rows from `row`
//! on and returns the first row not done.

use half::f16;

use super::plan::region;
use super::run::IptRun;
use super::weights::{AttentionKind, MlpWeights};
use crate::arena::{cast_mut, part, part_mut};
use crate::error::Error;
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use crate::math::{inverse_sqrt, to_f16};
use crate::models::vit::Activation;
use crate::ops::{apply, apply_residual, quantize_rows, quantize_rows_above, Operand, QuantizedScratch};
use crate::quant::make_relative;
use crate::tensor::{padded, rows, rows_mut, Linear, NormWeights, Precision, RowsI8};

/// Views of an MLP's regions, in the order of [`MLP_REGIONS`].
const MLP_REGIONS: [usize; 8] = [
    region::TOKENS,
    region::MLP_ROWS,
    region::MLP_ROWS_I8,
    region::MLP_SCALES,
    region::MLP_ZERO_POINTS,
    region::HIDDEN,
    region::HIDDEN_I8,
    region::MLP_LINEAR,
];

/// A plane of tokens with its scales, and whether it is f16.
#[derive(Clone, Copy)]
struct Plane {
    data: usize,
    scales: usize,
    is_f16: bool,
}

/// Memory for a tile of an f16 plane.
struct WideScratch<'a> {
    rows: &'a mut [u8],
    codes: &'a mut [u8],
    scales: &'a mut [u8],
}

impl IptRun<'_, '_> {
    fn tile_of(&self, row: usize) -> usize {
        self.tile.min(self.ipt.config().tokens() - row)
    }

    /// `tokens[t] = f16(x + W·x + b + pos_t)` for the patches x of the map.
    pub(super) fn encode_tile(&mut self, row: usize) -> Result<usize, Error> {
        let (c, count) = (self.ipt.config(), self.tile_of(row));
        let (dim, columns, patch, features) = (c.dim(), c.token_columns().max(1), c.patch, c.features);
        let map_row = c.window * features;
        let weights = self.ipt.encode()?;
        let [tokens, x, codes, scales, _, out, _, scratch] = MLP_REGIONS;
        let [map, tokens, x, codes, scales, out, scratch] =
            self.plan.views(self.arena, [region::MAP, tokens, x, codes, scales, out, scratch])?;
        let (map, x) = (cast_mut::<f16>(map)?, part_mut(cast_mut::<f32>(x)?, 0, count * dim)?);
        for (token, to) in (row..).zip(rows_mut(x, dim)) {
            let (top, left) = (token / columns * patch, token % columns * patch);
            for (y, to) in (top..).zip(rows_mut(to, patch * features)) {
                (self.kernels.widen)(part(map, y * map_row + left * features, patch * features)?, to);
            }
        }
        let x_codes = quantize_rows(
            self.kernels,
            x,
            dim,
            &weights.encoding,
            cast_mut(codes)?,
            part_mut(cast_mut(scales)?, 0, count)?,
        );
        let out = part_mut(cast_mut::<f32>(out)?, 0, count * dim)?;
        apply(self.kernels, &x_codes, &weights.encoding, Epilogue::None, out, cast_mut(scratch)?)?;
        let tokens = part_mut(cast_mut::<f16>(tokens)?, row * dim, count * dim)?;
        let positions = part(weights.positions, row * dim, count * dim)?;
        for (((token, x), out), position) in tokens.iter_mut().zip(&*x).zip(out).zip(positions) {
            *token = to_f16(*x + *out + position.to_f32());
        }
        Ok(row + count)
    }

    /// `plane[t] = LayerNorm(tokens[t])`, in the decoder also with the task's query added, both quantized (or
    /// f16).
    pub(super) fn norm_tile(
        &mut self,
        layer: usize,
        kind: AttentionKind,
        row: usize,
    ) -> Result<usize, Error> {
        let (dim, count) = (self.ipt.config().dim(), self.tile_of(row));
        let norm = self.ipt.norm(layer, kind)?;
        let query = match self.ipt.is_decoder(layer) {
            true => Some(self.ipt.tail(self.task)?.query),
            false => None,
        };
        let is_f16 = self.own_plane(layer, kind).is_f16;
        let ids = [
            region::TOKENS,
            region::PLANE,
            region::PLANE_SCALES,
            region::QUERY_PLANE,
            region::QUERY_PLANE_SCALES,
            region::NORMED,
        ];
        let [tokens, plane, scales, query_plane, query_scales, normed] = self.plan.views(self.arena, ids)?;
        let tokens = part(cast_mut::<f16>(tokens)?, row * dim, count * dim)?;
        let normed = part_mut(cast_mut::<f32>(normed)?, 0, dim)?;
        for (i, token) in (row..).zip(rows(tokens, dim)) {
            (self.kernels.layer_norm)(token, &norm, normed);
            if kind == AttentionKind::Own {
                store(self.kernels, normed, is_f16, i, plane, scales)?;
            }
            if let Some(query) = query {
                let query = part(query, i * dim, dim)?;
                normed.iter_mut().zip(query).for_each(|(x, q)| *x += q.to_f32());
                store(self.kernels, normed, is_f16, i, query_plane, query_scales)?;
            }
        }
        Ok(row + count)
    }

    /// The plane that values of a self-attention come from, and what kind the planes of this attention are.
    fn own_plane(&self, layer: usize, kind: AttentionKind) -> Plane {
        let precision = self.ipt.section().layer(layer);
        let precision = match kind {
            AttentionKind::Own => precision.qkv,
            AttentionKind::Cross => precision.cross_qkv,
        };
        Plane { data: region::PLANE, scales: region::PLANE_SCALES, is_f16: precision == Precision::F16 }
    }

    fn query_plane(&self, layer: usize, kind: AttentionKind) -> Plane {
        let own = self.own_plane(layer, kind);
        if self.ipt.is_decoder(layer) {
            Plane { data: region::QUERY_PLANE, scales: region::QUERY_PLANE_SCALES, ..own }
        } else {
            own
        }
    }

    /// The planes of keys and of values.
    fn cache_planes(&self, layer: usize, kind: AttentionKind) -> [Plane; 2] {
        match kind {
            AttentionKind::Own => [self.query_plane(layer, kind), self.own_plane(layer, kind)],
            AttentionKind::Cross => {
                let is_f16 = self.ipt.memory_is_f16();
                [Plane { data: region::MEMORY, scales: region::MEMORY_SCALES, is_f16 }; 2]
            }
        }
    }

    /// `K_h = plane·W_Kᵀ`, `V_h = plane·W_Vᵀ`, quantized per token.
    pub(super) fn project_tile(
        &mut self,
        layer: usize,
        kind: AttentionKind,
        head: usize,
        row: usize,
    ) -> Result<usize, Error> {
        let c = self.ipt.config();
        let (dim, tokens, count) = (c.dim(), c.tokens(), self.tile_of(row));
        let head_dim = c.head_dim();
        let weights = self.ipt.attention(layer, kind, head)?;
        let planes = self.cache_planes(layer, kind);
        let stores = [self.kernels.store_keys, self.kernels.store_values];
        let kept = [(region::KEYS, region::KEY_SCALES), (region::VALUES, region::VALUE_SCALES)];
        let jobs = planes.iter().zip([&weights.key, &weights.value]).zip(kept.into_iter().zip(stores));
        for ((plane, weights), ((data, scales), store)) in jobs {
            let ids = [
                plane.data,
                plane.scales,
                region::WIDE_ROWS,
                region::WIDE_CODES,
                region::WIDE_SCALES,
                region::HEAD_ROWS,
                data,
                scales,
                region::ATTENTION_LINEAR,
            ];
            let [from, from_scales, wide, codes, wide_scales, out, data, scales, scratch] =
                self.plan.views(self.arena, ids)?;
            let wide = WideScratch { rows: wide, codes, scales: wide_scales };
            let x = operand(self.kernels, plane.is_f16, from, from_scales, wide, weights, (row, count, dim))?;
            let out = part_mut(cast_mut::<f32>(out)?, 0, count * head_dim)?;
            apply(self.kernels, &x, weights, Epilogue::None, out, cast_mut(scratch)?)?;
            let scales = part_mut(cast_mut::<f32>(scales)?, row, count)?;
            store(out, head_dim, row, cast_mut(data)?, scales);
        }
        if row + count == tokens {
            let [scales] = self.plan.views(self.arena, [region::VALUE_SCALES])?;
            self.value_scale = make_relative(part_mut(cast_mut(scales)?, 0, tokens)?);
        }
        Ok(row + count)
    }

    /// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ`.
    pub(super) fn attention_tile(
        &mut self,
        layer: usize,
        kind: AttentionKind,
        head: usize,
        row: usize,
    ) -> Result<usize, Error> {
        let c = self.ipt.config();
        let (dim, n, count) = (c.dim(), c.tokens(), self.tile_of(row));
        let (head_dim, pitch) = (c.head_dim(), padded(c.head_dim()));
        let weights = self.ipt.attention(layer, kind, head)?;
        let plane = self.query_plane(layer, kind);
        let ids = [
            region::TOKENS,
            plane.data,
            plane.scales,
            region::WIDE_ROWS,
            region::WIDE_CODES,
            region::WIDE_SCALES,
            region::HEAD_ROWS,
            region::HEAD_ROWS_I8,
            region::HEAD_ROW_SCALES,
            region::KEYS,
            region::KEY_SCALES,
            region::VALUES,
            region::VALUE_SCALES,
            region::SCORES,
            region::PROBABILITIES,
            region::WEIGHTED_SUM,
            region::ATTENTION_LINEAR,
        ];
        let [tokens, from, from_scales, wide, codes, wide_scales, out, data, scales, keys, key_scales, values, value_scales, scores, probabilities, sums, linear_scratch] =
            self.plan.views(self.arena, ids)?;
        let wide = WideScratch { rows: wide, codes, scales: wide_scales };
        let x =
            operand(self.kernels, plane.is_f16, from, from_scales, wide, &weights.query, (row, count, dim))?;
        let out = part_mut(cast_mut::<f32>(out)?, 0, count * head_dim)?;
        let linear_scratch = cast_mut(linear_scratch)?;
        apply(self.kernels, &x, &weights.query, Epilogue::None, out, linear_scratch)?;
        let (data, scales) = (cast_mut::<i8>(data)?, part_mut(cast_mut::<f32>(scales)?, 0, count)?);
        (self.kernels.quantize_rows)(out, RowShape { width: head_dim, pitch }, data, scales);
        let attention = Attention {
            queries: RowsI8 { data: part(data, 0, count * pitch)?, scales, zero_points: &[], pitch },
            head_dim,
            factor: core::f32::consts::LOG2_E * inverse_sqrt(head_dim as f32),
            keys: cast_mut(keys)?,
            key_scales: part(cast_mut(key_scales)?, 0, n)?,
            values: cast_mut(values)?,
            relative_scales: part(cast_mut(value_scales)?, 0, n)?,
            value_scale: self.value_scale,
        };
        let mut scratch = AttentionScratch {
            scores: cast_mut(scores)?,
            weights: cast_mut(probabilities)?,
            sums: cast_mut(sums)?,
        };
        (self.kernels.attend)(&attention, &mut scratch, out);
        let x = quantize_rows(self.kernels, out, head_dim, &weights.proj, data, scales);
        let tokens = part_mut(cast_mut::<f16>(tokens)?, row * dim, count * dim)?;
        apply_residual(self.kernels, &x, &weights.proj, tokens, linear_scratch)?;
        Ok(row + count)
    }

    /// `tokens += W₂·relu(W₁·LayerNorm(tokens) + b₁) + b₂`.
    pub(super) fn mlp_tile(&mut self, layer: usize, row: usize) -> Result<usize, Error> {
        let (norm, weights) = self.ipt.mlp(layer)?;
        self.mlp(Some(norm), &weights, self.ipt.config().hidden, row)?;
        Ok(row + self.tile_of(row))
    }

    /// The same without norm where there is none.
    fn mlp(
        &mut self,
        norm: Option<NormWeights>,
        weights: &MlpWeights,
        width: usize,
        row: usize,
    ) -> Result<(), Error> {
        let (dim, count) = (self.ipt.config().dim(), self.tile_of(row));
        let [tokens, x, codes, scales, zero_points, hidden, hidden_codes, scratch] =
            self.plan.views(self.arena, MLP_REGIONS)?;
        let tokens = part_mut(cast_mut::<f16>(tokens)?, row * dim, count * dim)?;
        let x = part_mut(cast_mut::<f32>(x)?, 0, count * dim)?;
        for (token, x) in rows(tokens, dim).zip(rows_mut(x, dim)) {
            match &norm {
                Some(norm) => (self.kernels.layer_norm)(token, norm, x),
                None => (self.kernels.widen)(token, x),
            }
        }
        let scales = part_mut(cast_mut::<f32>(scales)?, 0, count)?;
        let hidden = part_mut(cast_mut::<f32>(hidden)?, 0, count * width)?;
        let x_codes = quantize_rows(self.kernels, x, dim, &weights.fc1, cast_mut(codes)?, scales);
        let scratch = cast_mut(scratch)?;
        let activation = Epilogue::Activation(Activation::Relu);
        apply(self.kernels, &x_codes, &weights.fc1, activation, hidden, scratch)?;
        let zero_points = part_mut(cast_mut::<i32>(zero_points)?, 0, count)?;
        let quantized = QuantizedScratch { data: cast_mut(hidden_codes)?, scales, zero_points };
        let activated = quantize_rows_above(self.kernels, hidden, width, 0.0, &weights.fc2, quantized);
        apply_residual(self.kernels, &activated, &weights.fc2, tokens, scratch)
    }

    /// Keeps the encoder's output as the decoder's keys and values read it.
    pub(super) fn memory_tile(&mut self, row: usize) -> Result<usize, Error> {
        let (dim, count) = (self.ipt.config().dim(), self.tile_of(row));
        let is_f16 = self.ipt.memory_is_f16();
        let ids = [region::TOKENS, region::MLP_ROWS, region::MEMORY, region::MEMORY_SCALES];
        let [tokens, x, memory, scales] = self.plan.views(self.arena, ids)?;
        let tokens = part(cast_mut::<f16>(tokens)?, row * dim, count * dim)?;
        let x = part_mut(cast_mut::<f32>(x)?, 0, dim)?;
        for (i, token) in (row..).zip(rows(tokens, dim)) {
            (self.kernels.widen)(token, x);
            store(self.kernels, x, is_f16, i, memory, scales)?;
        }
        Ok(row + count)
    }

    /// The MLP behind the decoder, then `map += tokens`, patch by patch.
    pub(super) fn decode_tile(&mut self, row: usize) -> Result<usize, Error> {
        let weights = self.ipt.mlp_head()?;
        self.mlp(None, &weights, self.ipt.config().head_hidden, row)?;
        let (c, count) = (self.ipt.config(), self.tile_of(row));
        let (dim, columns, patch, features) = (c.dim(), c.token_columns().max(1), c.patch, c.features);
        let map_row = c.window * features;
        let [map, tokens] = self.plan.views(self.arena, [region::MAP, region::TOKENS])?;
        let map = cast_mut::<f16>(map)?;
        let tokens = part(cast_mut::<f16>(tokens)?, row * dim, count * dim)?;
        for (token, from) in (row..).zip(rows(tokens, dim)) {
            let (top, left) = (token / columns * patch, token % columns * patch);
            for (y, from) in (top..).zip(rows(from, patch * features)) {
                let to = part_mut(map, y * map_row + left * features, patch * features)?;
                to.iter_mut().zip(from).for_each(|(to, x)| *to = to_f16(to.to_f32() + x.to_f32()));
            }
        }
        Ok(row + count)
    }
}

/// Stores row `i` of a plane.
fn store(
    kernels: &Kernels,
    x: &[f32],
    is_f16: bool,
    i: usize,
    plane: &mut [u8],
    scales: &mut [u8],
) -> Result<(), Error> {
    let (dim, pitch) = (x.len(), padded(x.len()));
    if is_f16 {
        let to = part_mut(cast_mut::<f16>(plane)?, i * dim, dim)?;
        (kernels.narrow)(x, to);
    } else {
        let to = part_mut(cast_mut::<i8>(plane)?, i * pitch, pitch)?;
        let scale = part_mut(cast_mut::<f32>(scales)?, i, 1)?;
        (kernels.quantize_rows)(x, RowShape { width: dim, pitch }, to, scale);
    }
    Ok(())
}

/// A tile of a plane in the form that the weights want. An f16 plane in front of int8 weights (the memory,
/// where only some layers keep f16) is quantized here.
fn operand<'a>(
    kernels: &Kernels,
    is_f16: bool,
    plane: &'a mut [u8],
    scales: &'a mut [u8],
    wide: WideScratch<'a>,
    weights: &Linear,
    (row, count, dim): (usize, usize, usize),
) -> Result<Operand<'a>, Error> {
    if is_f16 {
        let plane = part(cast_mut::<f16>(plane)?, row * dim, count * dim)?;
        let rows = part_mut(cast_mut::<f32>(wide.rows)?, 0, count * dim)?;
        (kernels.widen)(plane, rows);
        let scales = part_mut(cast_mut(wide.scales)?, 0, count)?;
        return Ok(quantize_rows(kernels, rows, dim, weights, cast_mut(wide.codes)?, scales));
    }
    let pitch = padded(dim);
    Ok(Operand::Int8(RowsI8 {
        data: part(cast_mut::<i8>(plane)?, row * pitch, count * pitch)?,
        scales: part(cast_mut::<f32>(scales)?, row, count)?,
        zero_points: &[],
        pitch,
    }))
}
