//! Attention of some heads: its memory, and the tiles of its queries.

use half::f16;

use super::plane::{wide_row, Plane};
use super::weights::HeadWeights;
use super::{LayerSlots, PlaneSlots};
use crate::arena::{carve, slots, PerWorker, Phases, Plan, Rows};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use crate::math::inverse_sqrt;
use crate::ops::{apply, apply_residual, quantize_rows};
use crate::run::{Machine, PerHead, Workspace};
use crate::tensor::{self, padded, RowsI8};

slots! {
    /// Memory for the heads at work.
    AttentionSlots => AttentionRows {
        /// All keys of each head, in the kernel table's order.
        keys: i8,
        /// `(heads, tokens)`.
        key_scales: f32,
        /// All values of each head, in the kernel table's order.
        values: i8,
        /// `(heads, tokens)`; relative to the head's largest once all of its values are there.
        value_scales: f32,
        /// Keys, values, queries or attended values of a tile: `(tile, head_dim)`.
        rows: f32,
        /// The same, quantized.
        codes: i8,
        /// `(tile)`.
        scales: f32,
        /// Scores of the queries at work, for each worker.
        scores: f32,
        /// Their softmax weights.
        probabilities: i16,
        /// Their weighted sums of values.
        sums: i32,
        /// A tile of an f16 plane ([`wide_row`]).
        wide: f32,
        /// Of the linear layers.
        scratch: i32,
    }
}

/// What the memory of an attention depends on.
pub(crate) struct AttentionShape {
    /// Keys.
    pub tokens: usize,
    pub dim: usize,
    pub heads: usize,
    /// A plane is f16.
    pub is_widened: bool,
    /// An f16 plane meets int8 weights.
    pub is_requantized: bool,
}

impl AttentionSlots {
    pub fn plan(plan: &mut Plan, m: &Machine, shape: &AttentionShape, phases: Phases) -> Self {
        let AttentionShape { tokens, dim, .. } = *shape;
        let head_dim = dim.checked_div(shape.heads).unwrap_or(0);
        let (heads, tile) = (m.heads_at_work(shape.heads), m.tile);
        let memory = (m.table.attention_memory)(tokens, head_dim);
        let widened = if shape.is_widened { tile } else { 0 };
        let mut area = plan.area(phases);
        Self {
            keys: area.slot("keys", heads, memory.keys),
            key_scales: area.slot("key scales", heads, tokens),
            values: area.slot("values", heads, memory.values),
            value_scales: area.slot("value scales", heads, tokens),
            rows: area.slot("head rows", tile, head_dim),
            codes: area.slot("head rows i8", tile, padded(head_dim)),
            scales: area.slot("head row scales", tile, 1),
            scores: area.slot("scores", m.workers, memory.scores / size_of::<f32>()),
            probabilities: area.slot("probabilities", m.workers, memory.weights / size_of::<i16>()),
            sums: area.slot("weighted sum", m.workers, memory.sums / size_of::<i32>()),
            wide: area.slot("wide rows", widened, wide_row(dim, shape.is_requantized)),
            scratch: area.slot("attention scratch", m.workers, m.linear_scratch(dim.max(head_dim))),
            area: area.place(),
        }
    }
}

/// `tokens += softmax(Q_h·K_hᵀ/√d)·V_h·W_Oᵀ (+ b with the first head)` with `Q_h = plane·W_Qᵀ + b`, for the
/// heads at work, one after the other, and the rows from `row` on (Vaswani et al., arXiv 1706.03762, §3.2).
/// Returns the first row that is not done.
#[inline(never)]
pub(crate) fn attention_tile(
    w: &mut Workspace,
    heads: &[HeadWeights],
    plane: &PlaneSlots,
    LayerSlots { tokens: stream, attention: slots, .. }: &LayerSlots,
    value_scales: &[f32],
    row: usize,
) -> Result<usize, Fault> {
    let rows = w.rows(row, stream.rows());
    carve!(w.arena => tokens: stream, queries: *plane, memory: *slots);
    let head_dim = slots.rows.width();
    let factor = core::f32::consts::LOG2_E * inverse_sqrt(head_dim as f32);
    let mut keys = tensor::rows(memory.keys.data, memory.keys.width);
    let mut key_scales = tensor::rows(memory.key_scales.data, memory.key_scales.width);
    let mut values = tensor::rows(memory.values.data, memory.values.width);
    let mut relative_scales = tensor::rows(memory.value_scales.data, memory.value_scales.width);
    let mut attentions = PerHead::<Head>::new();
    for (weights, value_scale) in heads.iter().zip(value_scales) {
        let cache = Attention {
            queries: RowsI8 { data: &[], scales: &[], zero_points: &[], pitch: padded(head_dim) },
            head_dim,
            factor,
            keys: keys.next().unwrap_or(&[]),
            key_scales: key_scales.next().unwrap_or(&[]),
            values: values.next().unwrap_or(&[]),
            relative_scales: relative_scales.next().unwrap_or(&[]),
            value_scale: *value_scale,
        };
        attentions.push(Head { weights, cache }).map_err(|_| Fault::Shape)?;
    }
    let tile = AttentionTile {
        layer: &Layer { kernels: w.kernels, heads: &attentions },
        queries: queries.tile(row, rows)?,
        wide: memory.wide.first(rows)?,
        out: memory.rows.tile(0, rows)?,
        codes: memory.codes.tile(0, rows)?,
        scales: memory.scales.tile(0, rows)?,
        scores: PerWorker(memory.scores),
        probabilities: PerWorker(memory.probabilities),
        sums: PerWorker(memory.sums),
        scratch: PerWorker(memory.scratch),
        tokens: tokens.tile(row, rows)?,
    };
    fork(w.pool, tile)?;
    Ok(row + rows)
}

/// Weights of a head, and its attention, of which the queries are yet to come.
struct Head<'a> {
    weights: &'a HeadWeights<'a>,
    cache: Attention<'a>,
}

/// What all workers read.
struct Layer<'a> {
    kernels: &'static Kernels,
    heads: &'a [Head<'a>],
}

struct AttentionTile<'a> {
    layer: &'a Layer<'a>,
    queries: Plane<'a>,
    wide: Rows<'a, f32>,
    /// Queries, then attended values.
    out: Rows<'a, f32>,
    codes: Rows<'a, i8>,
    scales: Rows<'a, f32>,
    scores: PerWorker<'a, f32>,
    probabilities: PerWorker<'a, i16>,
    sums: PerWorker<'a, i32>,
    scratch: PerWorker<'a, i32>,
    tokens: Rows<'a, f16>,
}

split_fields!(AttentionTile {
    layer,
    queries,
    wide,
    out,
    codes,
    scales,
    scores,
    probabilities,
    sums,
    scratch,
    tokens,
});

impl Work for AttentionTile<'_> {
    fn rows(&self) -> usize {
        self.scales.data.len()
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Fault> {
        let Layer { kernels, heads } = *self.layer;
        let Some(first) = heads.first() else { return Ok(()) };
        let (head_dim, out) = (self.out.width, self.out.data);
        let (codes, scales, linear) = (self.codes.data, self.scales.data, self.scratch.0.data);
        let shape = RowShape { width: head_dim, pitch: self.codes.width };
        let mut scratch = AttentionScratch {
            scores: self.scores.0.data,
            weights: self.probabilities.0.data,
            sums: self.sums.0.data,
        };
        let x = self.queries.operand(kernels, &first.weights.query, &mut self.wide)?;
        for Head { weights, cache } in heads {
            apply(kernels, &x, &weights.query, Epilogue::None, out, linear)?;
            (kernels.quantize_rows)(out, shape, codes, scales);
            let queries = RowsI8 { data: codes, scales, zero_points: &[], pitch: shape.pitch };
            (kernels.attend)(&Attention { queries, ..*cache }, &mut scratch, out);
            let attended = quantize_rows(kernels, out, head_dim, &weights.proj, codes, scales);
            apply_residual(kernels, &attended, &weights.proj, self.tokens.data, linear)?;
        }
        Ok(())
    }
}
