//! The ends of the shared body: feature maps to tokens, and back.

use half::f16;

use super::config::IptConfig;
use super::plan::Slots;
use super::weights::EncodeWeights;
use crate::arena::{carve, part, part_mut, Rows};
use crate::blocks::{MlpRows, PlaneSlots};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Epilogue, Kernels};
use crate::math::add_f16s;
use crate::ops::{apply, quantize_rows};
use crate::run::Workspace;
use crate::tensor::{rows, rows_mut, Linear};

/// Where the rows of a token's patch begin in the feature maps: one after the other, `run` elements each.
fn patch_rows(c: &IptConfig, token: usize) -> impl Iterator<Item = usize> {
    let (columns, patch, features, window) = (c.token_columns().max(1), c.patch, c.features, c.window);
    let (top, left) = (token / columns * patch, token % columns * patch);
    (top..top + patch).map(move |y| (y * window + left) * features)
}

/// `tokens[t] = f16(x + W·x + b + pos_t)` for the patches x of the maps (Chen et al., arXiv 2012.00364, eq.
/// 2), from `row` on. Returns the first row that is not done.
pub(super) fn encode_tile(
    w: &mut Workspace,
    c: &IptConfig,
    weights: &EncodeWeights,
    slots: &Slots,
    row: usize,
) -> Result<usize, Fault> {
    let (dim, count, run) = (c.dim(), w.rows(row, c.tokens()), c.patch * c.features);
    carve!(w.arena => map: slots.map, tokens: slots.layer.tokens, memory: slots.mlp);
    let mut memory = memory.tile(count)?;
    memory.hidden = memory.hidden.of_width(count, dim)?;
    for (token, to) in (row..).zip(rows_mut(&mut *memory.rows.data, dim)) {
        for (from, to) in patch_rows(c, token).zip(rows_mut(to, run)) {
            (w.kernels.widen)(part(map.data, from, run)?, to);
        }
    }
    let positions = part(weights.positions, row * dim, count * dim)?;
    let tokens = tokens.tile(row, count)?;
    tokens.data.iter_mut().zip(positions).for_each(|(to, from)| *to = *from);
    fork(w.pool, EncodeTile { layer: &(w.kernels, &weights.encoding), memory, tokens })?;
    Ok(row + count)
}

/// `tokens = f16(x + x·Wᵀ + b + tokens)`.
struct EncodeTile<'a> {
    layer: &'a (&'static Kernels, &'a Linear<'a>),
    memory: MlpRows<'a>,
    tokens: Rows<'a, f16>,
}

split_fields!(EncodeTile { layer, memory, tokens });

impl Work for EncodeTile<'_> {
    fn rows(&self) -> usize {
        self.memory.scales.data.len()
    }

    #[inline(always)]
    fn run(self) -> Result<(), Fault> {
        let (kernels, weights) = *self.layer;
        let MlpRows { rows: Rows { data: x, width }, codes, scales, hidden, scratch, .. } = self.memory;
        let quantized = quantize_rows(kernels, x, width, weights, codes.data, scales.data);
        let out = hidden.data;
        apply(kernels, &quantized, weights, Epilogue::None, out, scratch.data)?;
        out.iter_mut().zip(&*x).for_each(|(out, x)| *out += *x);
        add_f16s(out, self.tokens.data);
        (kernels.narrow)(out, self.tokens.data);
        Ok(())
    }
}

/// Keeps the encoder's output, from `row` on, as the decoder's keys and values read it. Returns the first row
/// that is not done.
pub(super) fn memory_tile(
    w: &mut Workspace,
    (slots, memory): (&Slots, PlaneSlots),
    row: usize,
) -> Result<usize, Fault> {
    let count = w.rows(row, slots.layer.tokens.rows());
    carve!(w.arena => tokens: slots.layer.tokens, plane: memory, scratch: slots.mlp);
    let tokens = tokens.tile(row, count)?;
    let wide = scratch.rows.tile(0, count)?.data;
    (w.kernels.widen)(tokens.data, wide);
    plane.tile(row, count)?.store(w.kernels, wide, 0);
    Ok(row + count)
}

/// `maps += tokens`, patch by patch, for the tokens from `row` on. Returns the first row that is not done.
pub(super) fn decode_tile(
    w: &mut Workspace,
    c: &IptConfig,
    slots: &Slots,
    row: usize,
) -> Result<usize, Fault> {
    let (count, run) = (w.rows(row, c.tokens()), c.patch * c.features);
    carve!(w.arena => map: slots.map, tokens: slots.layer.tokens, scratch: slots.mlp);
    let tokens = tokens.tile(row, count)?;
    for (token, from) in (row..).zip(rows(tokens.data, tokens.width)) {
        for (at, from) in patch_rows(c, token).zip(rows(from, run)) {
            let (to, sum) = (part_mut(&mut *map.data, at, run)?, part_mut(&mut *scratch.rows.data, 0, run)?);
            (w.kernels.widen)(to, sum);
            add_f16s(sum, from);
            (w.kernels.narrow)(sum, to);
        }
    }
    Ok(row + count)
}
