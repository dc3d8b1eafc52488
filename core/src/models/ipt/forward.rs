//! The forward pass of an IPT around its layers: pixels become feature maps (the head), maps become tokens
//! and tokens maps again (around the body), and maps become pixels (the tail). Each function computes a row
//! or a tile and returns the number of the first row that is not done.

use half::f16;

use super::config::{IptConfig, BLOCK_KERNEL, COLOURS};
use super::plan::{Slots, HIDDEN_ROWS};
use super::weights::{EncodeWeights, TailWeights};
use crate::arena::{carve, part, part_mut, Rows, Slot};
use crate::blocks::MlpRows;
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Activation, Epilogue, Kernels};
use crate::math::add_f16s;
use crate::ops::{apply, conv_row, quantize_rows, Conv, Source, Target};
use crate::run::Workspace;
use crate::tensor::{quotient, rows, rows_mut, Linear};

/// `map[y] = W * (pixels − mean) + b`: a row of the head's first convolution.
#[inline(never)]
pub(super) fn entry_row(
    w: &mut Workspace,
    c: &IptConfig,
    (entry, mean): (&Conv, [f32; COLOURS]),
    slots: &Slots,
    y: usize,
) -> Result<usize, Fault> {
    let pixels = (Source::Pixels(slots.window, mean), c.window, y);
    conv_row(w, &slots.conv, entry, pixels, Target::Row(slots.map, y, Epilogue::None))?;
    Ok(y + 1)
}

/// `map[y] += W₂ * relu(W₁ * map + b₁) + b₂`: a row of a residual block.
///
/// Rows of the hidden maps are computed when they are needed and kept in a ring; `made` counts them. `map[y]`
/// can be updated in place, since all hidden rows that depend on it are computed by then.
#[inline(never)]
pub(super) fn block_row(
    w: &mut Workspace,
    c: &IptConfig,
    [first, second]: &[Conv; 2],
    slots: &Slots,
    made: &mut usize,
    y: usize,
) -> Result<usize, Fault> {
    let last = (y + BLOCK_KERNEL / 2).min(c.window - 1);
    while *made <= last {
        let relu = Epilogue::Activation(Activation::Relu);
        let hidden = Target::Row(slots.hidden_rows, *made % HIDDEN_ROWS, relu);
        conv_row(w, &slots.conv, first, (Source::Ring(slots.map), c.window, *made), hidden)?;
        *made += 1;
    }
    let hidden = (Source::Ring(slots.hidden_rows), c.window, y);
    conv_row(w, &slots.conv, second, hidden, Target::Add(slots.map, y))?;
    Ok(y + 1)
}

/// Where each row of a token's patch begins in the feature maps. It has `patch·features` elements.
fn patch_rows(c: &IptConfig, token: usize) -> impl Iterator<Item = usize> {
    let (columns, patch, features, window) = (c.token_columns().max(1), c.patch, c.features, c.window);
    let (top, left) = (token / columns * patch, token % columns * patch);
    (top..top + patch).map(move |y| (y * window + left) * features)
}

/// `tokens[t] = f16(x + W·x + b + pos_t)` for each patch x of the maps, from token `row` on (Chen et al.,
/// arXiv 2012.00364, eq. 2).
#[inline(never)]
pub(super) fn encode_tile(
    w: &mut Workspace,
    c: &IptConfig,
    weights: &EncodeWeights,
    slots: &Slots,
    row: usize,
) -> Result<usize, Fault> {
    let (dim, count, patch_row) = (c.dim(), w.rows(row, c.tokens()), c.patch * c.features);
    carve!(w.arena => map: slots.map, tokens: slots.layer.tokens, memory: slots.mlp);
    let mut memory = memory.tile(count)?;
    memory.hidden = memory.hidden.of_width(count, dim)?;
    for (token, to) in (row..).zip(rows_mut(&mut *memory.rows.data, dim)) {
        for (from, to) in patch_rows(c, token).zip(rows_mut(to, patch_row)) {
            (w.kernels.widen)(part(map.data, from, patch_row)?, to);
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

/// Stores the encoder's output, from `row` on, in the plane of which the decoder makes keys and values.
pub(super) fn memory_tile(w: &mut Workspace, slots: &Slots, row: usize) -> Result<usize, Fault> {
    let count = w.rows(row, slots.layer.tokens.rows());
    carve!(w.arena => tokens: slots.layer.tokens, plane: slots.memory, scratch: slots.mlp);
    let tokens = tokens.tile(row, count)?;
    let wide = scratch.rows.tile(0, count)?.data;
    (w.kernels.widen)(tokens.data, wide);
    plane.tile(row, count)?.store(w.kernels, wide, 0);
    Ok(row + count)
}

/// `maps += tokens`, patch by patch, for the tokens from `row` on.
pub(super) fn decode_tile(
    w: &mut Workspace,
    c: &IptConfig,
    slots: &Slots,
    row: usize,
) -> Result<usize, Fault> {
    let (count, patch_row) = (w.rows(row, c.tokens()), c.patch * c.features);
    carve!(w.arena => map: slots.map, tokens: slots.layer.tokens, scratch: slots.mlp);
    let tokens = tokens.tile(row, count)?;
    for (token, from) in (row..).zip(rows(tokens.data, tokens.width)) {
        for (at, from) in patch_rows(c, token).zip(rows(from, patch_row)) {
            let to = part_mut(&mut *map.data, at, patch_row)?;
            let sum = part_mut(&mut *scratch.rows.data, 0, patch_row)?;
            (w.kernels.widen)(to, sum);
            add_f16s(sum, from);
            (w.kernels.narrow)(sum, to);
        }
    }
    Ok(row + count)
}

/// The tail of a task: the steps of its upsampler, then the convolution to pixels.
pub(super) struct Tail<'a> {
    pub config: &'a IptConfig,
    pub weights: TailWeights<'a>,
    /// The factor of each step of the upsampler.
    pub steps: &'a [usize],
    pub mean: [f32; COLOURS],
    pub slots: &'a Slots,
}

impl Tail<'_> {
    /// The ring with the rows behind so many steps of the upsampler, and the side of their image in pixels.
    /// Level 0 is the feature maps.
    fn level(&self, level: usize) -> (Slot<f16>, usize) {
        let (mut rows, mut side) = (self.slots.map, self.config.window);
        for (factor, ring) in self.steps.iter().zip(self.slots.upsampled).take(level) {
            (rows, side) = (ring, side * factor);
        }
        (rows, side)
    }

    /// `out[y] = W * upsampled + b + mean`: an output row. `made` counts the rows that each step of the
    /// upsampler has computed.
    pub fn row(&self, w: &mut Workspace, made: &mut [usize; 2], y: usize) -> Result<usize, Fault> {
        let (rows, side) = self.level(self.steps.len());
        self.upsample(w, made, self.steps.len(), (y + 1).min(side - 1))?;
        let out = Target::Pixels(self.slots.out_row, self.mean);
        conv_row(w, &self.slots.conv, &self.weights.exit, (Source::Ring(rows), side, y), out)?;
        Ok(y + 1)
    }

    /// Computes the rows of a level up to and including `last`, and those of the level above that they need.
    fn upsample(
        &self,
        w: &mut Workspace,
        made: &mut [usize; 2],
        level: usize,
        last: usize,
    ) -> Result<(), Fault> {
        let Some(above) = level.checked_sub(1) else { return Ok(()) };
        let ((input, side), (output, _)) = (self.level(above), self.level(level));
        let (Some(Some(conv)), Some(&factor)) = (self.weights.upsampler.get(above), self.steps.get(above))
        else {
            return Err(Fault::Weights);
        };
        loop {
            let done = made.get(above).copied().unwrap_or(usize::MAX);
            if done > last {
                return Ok(());
            }
            let y = quotient(done, factor);
            self.upsample(w, made, above, (y + 1).min(side - 1))?;
            let shuffled = Target::Shuffle(output, done, factor);
            conv_row(w, &self.slots.conv, conv, (Source::Ring(input), side, y), shuffled)?;
            if let Some(done) = made.get_mut(above) {
                *done += factor;
            }
        }
    }
}
