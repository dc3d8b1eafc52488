//! The MLP of a layer.

use half::f16;

use super::weights::MlpWeights;
use crate::arena::{carve, slots, Phases, Plan, Rows, Slot};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Epilogue, Kernels};
use crate::ops::{apply, apply_residual, quantize_rows, quantize_rows_above, QuantizedScratch};
use crate::run::{Machine, Workspace};
use crate::tensor::padded;

slots! {
    /// Memory for a tile of an MLP.
    tile MlpSlots => MlpRows {
        /// The MLP's input, after the norm if there is one: `(tile, dim)`.
        rows: Rows<f32>,
        /// `rows`, quantized.
        codes: Rows<i8>,
        /// Scales of `codes`, then of `hidden_codes`: `(tile)`.
        scales: Rows<f32>,
        /// Zero points of `hidden_codes`: `(tile)`.
        zero_points: Rows<i32>,
        /// The hidden layer: `(tile, hidden)`.
        hidden: Rows<f32>,
        /// `hidden`, quantized.
        hidden_codes: Rows<i8>,
        /// Scratch of the linear layers.
        scratch: PerWorker<i32>,
    }
}

impl MlpSlots {
    /// For rows of width `dim`, and for the widest hidden layer that uses this memory.
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

/// `tokens += W₂·f(W₁·LayerNorm(tokens) + b₁) + b₂`, for the rows from `row` on; without LayerNorm
/// where the weights have none. Returns the first row that is not done.
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
    let mut memory = memory.tile(rows)?;
    memory.hidden = memory.hidden.of_width(rows, width)?;
    memory.hidden_codes = memory.hidden_codes.of_width(rows, padded(width))?;
    fork(w.pool, MlpTile { layer: &(w.kernels, weights), tokens: tokens.tile(row, rows)?, memory })?;
    Ok(row + rows)
}

struct MlpTile<'a> {
    layer: &'a (&'static Kernels, &'a MlpWeights<'a>),
    tokens: Rows<'a, f16>,
    memory: MlpRows<'a>,
}

split_fields!(MlpTile { layer, tokens, memory });

impl Work for MlpTile<'_> {
    fn rows(&self) -> usize {
        self.memory.scales.data.len()
    }

    #[inline(always)]
    fn run(self) -> Result<(), Fault> {
        let (kernels, MlpWeights { norm, fc1, fc2, activation, .. }) = *self.layer;
        let MlpRows { rows, codes, scales, zero_points, hidden, hidden_codes, scratch } = self.memory;
        let (scales, scratch) = (scales.data, scratch.data);
        match norm {
            Some(norm) => (kernels.layer_norm)(self.tokens.data, norm, rows.data),
            None => (kernels.widen)(self.tokens.data, rows.data),
        }
        let x = quantize_rows(kernels, rows.data, rows.width, fc1, codes.data, scales);
        apply(kernels, &x, fc1, Epilogue::Activation(*activation), hidden.data, scratch)?;
        let zero_points = zero_points.data;
        let quantized = QuantizedScratch { data: hidden_codes.data, scales, zero_points };
        let x = quantize_rows_above(kernels, hidden.data, hidden.width, activation.floor(), fc2, quantized);
        apply_residual(kernels, &x, fc2, self.tokens.data, scratch)
    }
}
