//! The attention of the heads at work, which are computed together: its memory, and the tiles of its queries.

use half::f16;

use super::plane::{wide_row, Plane};
use super::weights::HeadWeights;
use super::{LayerSlots, PlaneSlots};
use crate::arena::{carve, slots, Extent, Phases, Plan, Rows};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use crate::math::inverse_sqrt;
use crate::ops::{apply, apply_residual, quantize_rows};
use crate::run::{per_head, Machine, Workspace};
use crate::tensor::{self, padded, quotient, RowsI8};

slots! {
    /// Keys and values of the heads at work.
    CacheSlots => CacheRows {
        /// All keys of each head, in the kernel table's order.
        keys: Rows<i8>,
        /// Scales of the keys: `(heads, tokens)`.
        key_scales: Rows<f32>,
        /// All values of each head, in the kernel table's order.
        values: Rows<i8>,
        /// Scales of the values: `(heads, tokens)`. Relative to the head's largest once all are there.
        value_scales: Rows<f32>,
    }
}

slots! {
    /// Memory for a tile of tokens, of which keys and values or attended values are computed.
    tile TileSlots => TileRows {
        /// One head's keys, values, queries or attended values: `(tile, head_dim)`.
        rows: Rows<f32>,
        /// `rows`, quantized.
        codes: Rows<i8>,
        /// Scales of `codes`: `(tile)`.
        scales: Rows<f32>,
        /// Scores of the queries that the kernel takes together.
        scores: PerWorker<f32>,
        /// Softmax weights of those queries.
        probabilities: PerWorker<i16>,
        /// Weighted sums of the values for those queries.
        sums: PerWorker<i32>,
        /// A tile of an f16 plane, widened to f32 ([`wide_row`]).
        wide: Rows<f32>,
        /// Scratch of the linear layers.
        scratch: PerWorker<i32>,
    }
}

/// Memory for the attention of the heads at work.
#[derive(Clone, Copy)]
pub(crate) struct AttentionSlots {
    pub cache: CacheSlots,
    pub tile: TileSlots,
}

/// What the memory of an attention depends on.
pub(crate) struct AttentionShape {
    /// Number of keys.
    pub tokens: usize,
    pub dim: usize,
    pub heads: usize,
    /// Whether some plane is f16, and so has to be widened.
    pub is_widened: bool,
    /// Whether int8 weights read an f16 plane, and so it has to be quantized.
    pub is_requantized: bool,
}

impl AttentionSlots {
    // Not inlined: the frame of the whole plan lies deepest in the stack, and must not grow.
    #[inline(never)]
    pub fn plan(plan: &mut Plan, m: &Machine, shape: &AttentionShape, phases: Phases) -> Self {
        let AttentionShape { tokens, dim, .. } = *shape;
        let head_dim = quotient(dim, shape.heads);
        let (heads, tile) = (m.heads_at_work(shape.heads), m.tile);
        let memory = (m.table.attention_memory)(tokens, head_dim);
        let wide = if shape.is_widened { wide_row(dim, shape.is_requantized) } else { 0 };
        let mut area = plan.area(phases);
        let mut cache = CacheSlots {
            keys: area.slot("keys", heads, memory.keys),
            key_scales: area.slot("key scales", heads, tokens),
            values: area.slot("values", heads, memory.values),
            value_scales: area.slot("value scales", heads, tokens),
            area: Extent::EMPTY,
        };
        let cache_words = area.words();
        let mut work = TileSlots {
            rows: area.slot("head rows", tile, head_dim),
            codes: area.slot("head rows i8", tile, padded(head_dim)),
            scales: area.slot("head row scales", tile, 1),
            scores: area.slot("scores", m.workers, memory.scores / size_of::<f32>()),
            probabilities: area.slot("probabilities", m.workers, memory.weights / size_of::<i16>()),
            sums: area.slot("weighted sum", m.workers, memory.sums / size_of::<i32>()),
            wide: area.slot("wide rows", tile, wide),
            scratch: area.slot("attention scratch", m.workers, m.linear_scratch(dim.max(head_dim))),
            area: Extent::EMPTY,
        };
        (cache.area, work.area) = area.place().split(cache_words);
        Self { cache, tile: work }
    }
}

/// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ (+ b with the first head)` with `Q_h = plane·W_Qᵀ + b`, for the
/// rows from `row` on and each head h at work, one head after the other (Vaswani et al., arXiv 1706.03762,
/// §3.2). Returns the first row that is not done.
#[inline(never)]
pub(crate) fn attention_tile(
    w: &mut Workspace,
    heads: &[HeadWeights],
    plane: &PlaneSlots,
    LayerSlots { tokens: stream, attention: slots, .. }: &LayerSlots,
    largest_scales: &[f32],
    row: usize,
) -> Result<usize, Fault> {
    let rows = w.rows(row, stream.rows());
    carve!(w.arena => tokens: stream, queries: *plane, cache: slots.cache, memory: slots.tile);
    let head_dim = memory.rows.width;
    let factor = core::f32::consts::LOG2_E * inverse_sqrt(head_dim as f32);
    let mut keys = tensor::rows(cache.keys.data, cache.keys.width);
    let mut key_scales = tensor::rows(cache.key_scales.data, cache.key_scales.width);
    let mut values = tensor::rows(cache.values.data, cache.values.width);
    let mut relative_scales = tensor::rows(cache.value_scales.data, cache.value_scales.width);
    let attentions = per_head(heads.iter().zip(largest_scales).map(|(weights, largest)| {
        let attention = Attention {
            queries: RowsI8 { data: &[], scales: &[], zero_points: &[], pitch: padded(head_dim) },
            head_dim,
            factor,
            keys: keys.next().unwrap_or_default(),
            key_scales: key_scales.next().unwrap_or_default(),
            values: values.next().unwrap_or_default(),
            relative_scales: relative_scales.next().unwrap_or_default(),
            value_scale: *largest,
        };
        Ok(Head { weights, attention })
    }))?;
    let tile = AttentionTile {
        layer: &(w.kernels, &attentions),
        queries: queries.tile(row, rows)?,
        memory: memory.tile(rows)?,
        tokens: tokens.tile(row, rows)?,
    };
    fork(w.pool, tile)?;
    Ok(row + rows)
}

/// The weights of a head, and its attention, whose queries each tile fills in.
struct Head<'a> {
    weights: &'a HeadWeights<'a>,
    attention: Attention<'a>,
}

struct AttentionTile<'a> {
    layer: &'a (&'static Kernels, &'a [Head<'a>]),
    queries: Plane<'a>,
    memory: TileRows<'a>,
    tokens: Rows<'a, f16>,
}

split_fields!(AttentionTile { layer, queries, memory, tokens });

impl Work for AttentionTile<'_> {
    fn rows(&self) -> usize {
        self.memory.scales.data.len()
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Fault> {
        let (kernels, heads) = *self.layer;
        let Some(first) = heads.first() else { return Ok(()) };
        let TileRows { rows, codes, scales, scores, probabilities, sums, scratch, .. } = self.memory;
        let shape = RowShape { width: rows.width, pitch: codes.width };
        // `out` holds the queries, then the attended values.
        let (out, codes, scales, linear) = (rows.data, codes.data, scales.data, scratch.data);
        let mut scratch =
            AttentionScratch { scores: scores.data, weights: probabilities.data, sums: sums.data };
        let x = self.queries.operand(kernels, &first.weights.query, &mut self.memory.wide)?;
        for Head { weights, attention } in heads {
            apply(kernels, &x, &weights.query, Epilogue::None, out, linear)?;
            (kernels.quantize_rows)(out, shape, codes, scales);
            let queries = RowsI8 { data: codes, scales, zero_points: &[], pitch: shape.pitch };
            (kernels.attend)(&Attention { queries, ..*attention }, &mut scratch, out);
            let attended = quantize_rows(kernels, out, shape.width, &weights.proj, codes, scales);
            apply_residual(kernels, &attended, &weights.proj, self.tokens.data, linear)?;
        }
        Ok(())
    }
}
