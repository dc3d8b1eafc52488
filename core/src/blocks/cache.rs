//! The computation of keys and values for the heads at work.

use super::attention::{AttentionSlots, TileRows};
use super::plane::Plane;
use super::weights::HeadWeights;
use super::PlaneSlots;
use crate::arena::{carve, halves, part_mut, Rows};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Share, Split, Work};
use crate::kernels::{Epilogue, Kernels};
use crate::ops::apply;
use crate::quant::make_relative;
use crate::run::{per_head, PerHead, Workspace};
use crate::tensor::rows_mut;

/// Keys and values of so many tokens lie together in the order of every kernel table.
const TOKENS_TOGETHER: usize = 16;

/// `K_h = keys·W_Kᵀ + b`, `V_h = values·W_Vᵀ + b`, quantized per token, for the heads at work and the rows
/// from `row` on. `values` is an empty plane where `keys` serves for both. After the last row
/// `largest_scales` holds the largest scale of each head's values. Returns the first row that is not done.
#[inline(never)]
pub(crate) fn cache_tile(
    w: &mut Workspace,
    heads: &[HeadWeights],
    (keys, values): (&PlaneSlots, &PlaneSlots),
    slots: &AttentionSlots,
    largest_scales: &mut [f32],
    row: usize,
) -> Result<usize, Fault> {
    let tokens = slots.cache.key_scales.width();
    let rows = w.rows(row, tokens);
    carve!(w.arena => key_plane: keys, value_plane: values, cache: slots.cache, memory: slots.tile);
    // Keys and values can be divided only at multiples of so many tokens. This is the last one before `row`.
    let start = row / TOKENS_TOGETHER * TOKENS_TOGETHER;
    let before = (w.kernels.spec.attention_memory)(start, memory.rows.width);
    let heads = {
        let mut keys = rows_mut(cache.keys.data, cache.keys.width);
        let mut key_scales = rows_mut(cache.key_scales.data, tokens);
        let mut values = rows_mut(cache.values.data, cache.values.width);
        let mut relative_scales = rows_mut(cache.value_scales.data, tokens);
        per_head(heads.iter().map(|weights| {
            Ok(HeadCache {
                kernels: w.kernels,
                weights,
                first: row - start,
                keys: keys.next().and_then(|keys| keys.get_mut(before.keys..)).unwrap_or_default(),
                key_scales: part_mut(key_scales.next().unwrap_or_default(), row, rows)?,
                values: values.next().and_then(|values| values.get_mut(before.values..)).unwrap_or_default(),
                value_scales: part_mut(relative_scales.next().unwrap_or_default(), row, rows)?,
            })
        }))?
    };
    let tile = CacheTile {
        keys: key_plane.tile(row, rows)?,
        values: value_plane.tile(row, rows)?,
        memory: memory.tile(rows)?,
        heads,
    };
    fork(w.pool, tile)?;
    if row + rows == tokens {
        carve!(w.arena => cache: slots.cache);
        for (scales, largest) in rows_mut(cache.value_scales.data, tokens).zip(largest_scales) {
            *largest = make_relative(scales);
        }
    }
    Ok(row + rows)
}

/// Keys and values of a head from a multiple of [`TOKENS_TOGETHER`] on, with the scales of this tile's rows.
struct HeadCache<'a> {
    kernels: &'static Kernels,
    weights: &'a HeadWeights<'a>,
    /// Number of tokens between that multiple and the first row: fewer than [`TOKENS_TOGETHER`].
    first: usize,
    keys: &'a mut [i8],
    /// `(rows)`.
    key_scales: &'a mut [f32],
    values: &'a mut [i8],
    /// `(rows)`.
    value_scales: &'a mut [f32],
}

impl Split for HeadCache<'_> {
    fn split(self, at: usize, _: Share) -> Result<(Self, Self), Fault> {
        let Self { kernels, weights, first, .. } = self;
        let before = (kernels.spec.attention_memory)(first + at, weights.key.outputs());
        let (keys, keys_right) = halves(self.keys, before.keys)?;
        let (key_scales, key_scales_right) = halves(self.key_scales, at)?;
        let (values, values_right) = halves(self.values, before.values)?;
        let (value_scales, value_scales_right) = halves(self.value_scales, at)?;
        let right = Self {
            kernels,
            weights,
            first: 0,
            keys: keys_right,
            key_scales: key_scales_right,
            values: values_right,
            value_scales: value_scales_right,
        };
        Ok((Self { kernels, weights, first, keys, key_scales, values, value_scales }, right))
    }
}

struct CacheTile<'a> {
    keys: Plane<'a>,
    /// An empty plane where values are made of the same plane as keys.
    values: Plane<'a>,
    memory: TileRows<'a>,
    heads: PerHead<HeadCache<'a>>,
}

split_fields!(CacheTile { keys, values, memory, heads });

impl Work for CacheTile<'_> {
    const GRANULE: usize = TOKENS_TOGETHER;

    fn offset(&self) -> usize {
        self.heads.first().map_or(0, |head| head.first)
    }

    fn rows(&self) -> usize {
        self.memory.scales.data.len()
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Fault> {
        let Some(&HeadCache { kernels, weights, .. }) = self.heads.first() else { return Ok(()) };
        let TileRows { rows: Rows { data: out, width: head_dim }, scratch, .. } = self.memory;
        let wide = &mut self.memory.wide;
        let x = self.keys.operand(kernels, &weights.key, wide)?;
        for head in &mut self.heads {
            apply(kernels, &x, &head.weights.key, Epilogue::None, out, scratch.data)?;
            (kernels.store_keys)(out, head_dim, head.first, head.keys, head.key_scales);
        }
        let of_values;
        let x = match self.values.is_empty() {
            true => &x,
            false => {
                of_values = self.values.operand(kernels, &weights.value, wide)?;
                &of_values
            }
        };
        for head in &mut self.heads {
            apply(kernels, x, &head.weights.value, Epilogue::None, out, scratch.data)?;
            (kernels.store_values)(out, head_dim, head.first, head.values, head.value_scales);
        }
        Ok(())
    }
}
