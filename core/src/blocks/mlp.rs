//! The MLP.

use half::f16;

use super::weights::MlpWeights;
use crate::arena::{carve, slots, PerWorker, Phases, Plan, Rows, Slot};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Epilogue, Kernels};
use crate::ops::{apply, apply_residual, quantize_rows, quantize_rows_above, QuantizedScratch};
use crate::run::{Machine, Workspace};
use crate::tensor::padded;

slots! {
    /// Memory for a tile.
    MlpSlots => MlpRows {
        /// Normed rows: `(tile, dim)`.
        rows: f32,
        /// The same, quantized.
        codes: i8,
        /// Of either quantized rows: `(tile)`.
        scales: f32,
        /// Of the hidden layer: `(tile)`.
        zero_points: i32,
        /// The hidden layer: `(tile, hidden)`.
        hidden: f32,
        /// The same, quantized.
        hidden_codes: i8,
        /// Of the linear layers.
        scratch: i32,
    }
}

impl MlpSlots {
    /// For rows of `dim` and the widest hidden layer.
    pub fn plan(plan: &mut Plan, m: &Machine, dim: usize, hidden: usize, phases: Phases) -> Self {
        let mut area = plan.area(phases);
        Self {
            rows: area.slot("mlp rows", m.tile, dim),
            codes: area.slot("mlp rows i8", m.tile, padded(dim)),
            scales: area.slot("mlp scales", m.tile, 1),
            zero_points: area.slot("mlp zero points", m.tile, 1),
            hidden: area.slot("hidden", m.tile, hidden),
            hidden_codes: area.slot("hidden i8", m.tile, padded(hidden)),
            scratch: area.slot("mlp scratch", m.workers, m.linear_scratch(dim.max(hidden))),
            area: area.place(),
        }
    }
}

/// `tokens += W₂·f(W₁·LayerNorm(tokens) + b₁) + b₂`, without the norm where there is none, for the rows from
/// `row` on. Returns the first row that is not done.
#[inline(never)]
pub(crate) fn mlp_tile(
    w: &mut Workspace,
    weights: &MlpWeights,
    stream: Slot<f16>,
    slots: &MlpSlots,
    row: usize,
) -> Result<usize, Fault> {
    let (rows, width) = (w.rows(row, stream.rows()), weights.hidden);
    carve!(w.arena => tokens: stream, memory: *slots);
    let tile = MlpTile {
        layer: &Layer { kernels: w.kernels, weights },
        tokens: tokens.tile(row, rows)?,
        normed: memory.rows.tile(0, rows)?,
        codes: memory.codes.tile(0, rows)?,
        scales: memory.scales.tile(0, rows)?,
        zero_points: memory.zero_points.tile(0, rows)?,
        hidden: memory.hidden.of_width(rows, width)?,
        hidden_codes: memory.hidden_codes.of_width(rows, padded(width))?,
        scratch: PerWorker(memory.scratch),
    };
    fork(w.pool, tile)?;
    Ok(row + rows)
}

/// What all workers read.
struct Layer<'a> {
    kernels: &'static Kernels,
    weights: &'a MlpWeights<'a>,
}

struct MlpTile<'a> {
    layer: &'a Layer<'a>,
    tokens: Rows<'a, f16>,
    normed: Rows<'a, f32>,
    codes: Rows<'a, i8>,
    scales: Rows<'a, f32>,
    zero_points: Rows<'a, i32>,
    hidden: Rows<'a, f32>,
    hidden_codes: Rows<'a, i8>,
    scratch: PerWorker<'a, i32>,
}

split_fields!(MlpTile { layer, tokens, normed, codes, scales, zero_points, hidden, hidden_codes, scratch });

impl Work for MlpTile<'_> {
    fn rows(&self) -> usize {
        self.scales.data.len()
    }

    #[inline(always)]
    fn run(self) -> Result<(), Fault> {
        let Layer { kernels, weights: MlpWeights { norm, fc1, fc2, activation, .. } } = self.layer;
        let (normed, hidden, scales) = (self.normed, self.hidden, self.scales.data);
        let scratch = self.scratch.0.data;
        match norm {
            Some(norm) => (kernels.layer_norm)(self.tokens.data, norm, normed.data),
            None => (kernels.widen)(self.tokens.data, normed.data),
        }
        let x = quantize_rows(kernels, normed.data, normed.width, fc1, self.codes.data, scales);
        apply(kernels, &x, fc1, Epilogue::Activation(*activation), hidden.data, scratch)?;
        let zero_points = self.zero_points.data;
        let quantized = QuantizedScratch { data: self.hidden_codes.data, scales, zero_points };
        let x = quantize_rows_above(kernels, hidden.data, hidden.width, activation.floor(), fc2, quantized);
        apply_residual(kernels, &x, fc2, self.tokens.data, scratch)
    }
}
