//! Keys and values of some heads.

use super::attention::AttentionSlots;
use super::plane::Plane;
use super::weights::HeadWeights;
use super::PlaneSlots;
use crate::arena::{carve, part_mut, PerWorker, Rows};
use crate::error::Fault;
use crate::fork::{fork, Share, Split, Work};
use crate::kernels::{Epilogue, Kernels};
use crate::ops::apply;
use crate::quant::make_relative;
use crate::run::{PerHead, Workspace};
use crate::tensor::rows_mut;

/// Tokens whose keys and values lie together in every table's order.
const TOKENS_TOGETHER: usize = 16;

/// `K_h = keys·W_Kᵀ + b`, `V_h = values·W_Vᵀ + b`, quantized per token, for the heads at work and the rows
/// from `row` on. `values` is empty where both come from one plane. Behind the last row the largest scale of
/// each head's values is in `value_scales`. Returns the first row that is not done.
#[inline(never)]
pub(crate) fn cache_tile(
    w: &mut Workspace,
    heads: &[HeadWeights],
    (keys, values): (&PlaneSlots, &PlaneSlots),
    slots: &AttentionSlots,
    value_scales: &mut [f32],
    row: usize,
) -> Result<usize, Fault> {
    let tokens = slots.key_scales.width();
    let (rows, head_dim) = (w.rows(row, tokens), slots.rows.width());
    carve!(w.arena => key_plane: keys, value_plane: values, memory: *slots);
    // Keys and values are stored from the last token on where they can be separated.
    let (start, key_bytes, value_bytes) = place(w.kernels, row, head_dim);
    let caches = {
        let mut keys = rows_mut(memory.keys.data, memory.keys.width);
        let mut key_scales = rows_mut(memory.key_scales.data, tokens);
        let mut values = rows_mut(memory.values.data, memory.values.width);
        let mut value_scales = rows_mut(memory.value_scales.data, tokens);
        let mut caches = PerHead::<HeadCaches>::new();
        for weights in heads {
            let cache = HeadCaches {
                weights,
                keys: keys.next().and_then(|keys| keys.get_mut(key_bytes..)).unwrap_or(&mut []),
                key_scales: part_mut(key_scales.next().unwrap_or(&mut []), row, rows)?,
                values: values.next().and_then(|values| values.get_mut(value_bytes..)).unwrap_or(&mut []),
                value_scales: part_mut(value_scales.next().unwrap_or(&mut []), row, rows)?,
            };
            caches.push(cache).map_err(|_| Fault::Shape)?;
        }
        caches
    };
    let tile = CacheTile {
        kernels: w.kernels,
        keys: key_plane.tile(row, rows)?,
        values: value_plane.tile(row, rows)?,
        wide: memory.wide.first(rows)?,
        out: memory.rows.tile(0, rows)?,
        first: row - start,
        heads: caches,
        scratch: PerWorker(memory.scratch),
    };
    fork(w.pool, tile)?;
    if row + rows == tokens {
        carve!(w.arena => memory: *slots);
        for (scales, largest) in rows_mut(memory.value_scales.data, tokens).zip(value_scales) {
            *largest = make_relative(scales);
        }
    }
    Ok(row + rows)
}

/// The last token up to `row` at which keys and values can be separated, and the bytes that the keys and the
/// values before it take.
fn place(kernels: &Kernels, row: usize, head_dim: usize) -> (usize, usize, usize) {
    let start = row / TOKENS_TOGETHER * TOKENS_TOGETHER;
    let memory = (kernels.spec.attention_memory)(start, head_dim);
    (start, memory.keys, memory.values)
}

/// Weights of a head, and its keys and values from some token on.
struct HeadCaches<'a> {
    weights: &'a HeadWeights<'a>,
    keys: &'a mut [i8],
    key_scales: &'a mut [f32],
    values: &'a mut [i8],
    value_scales: &'a mut [f32],
}

impl HeadCaches<'_> {
    /// The first `at` tokens, which take so many bytes of keys and of values; and the others.
    fn split(self, at: usize, key_bytes: usize, value_bytes: usize) -> Option<(Self, Self)> {
        let weights = self.weights;
        let (keys, keys_right) = self.keys.split_at_mut_checked(key_bytes)?;
        let (key_scales, key_scales_right) = self.key_scales.split_at_mut_checked(at)?;
        let (values, values_right) = self.values.split_at_mut_checked(value_bytes)?;
        let (value_scales, value_scales_right) = self.value_scales.split_at_mut_checked(at)?;
        let right = Self {
            weights,
            keys: keys_right,
            key_scales: key_scales_right,
            values: values_right,
            value_scales: value_scales_right,
        };
        Some((Self { weights, keys, key_scales, values, value_scales }, right))
    }
}

struct CacheTile<'a> {
    kernels: &'static Kernels,
    keys: Plane<'a>,
    /// Empty where they come from the same plane.
    values: Plane<'a>,
    wide: Rows<'a, f32>,
    out: Rows<'a, f32>,
    /// Tokens between the beginning of the heads' keys and values and the first row: fewer than
    /// [`TOKENS_TOGETHER`].
    first: usize,
    heads: PerHead<HeadCaches<'a>>,
    scratch: PerWorker<'a, i32>,
}

impl Split for CacheTile<'_> {
    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Fault> {
        let Self { kernels, first, .. } = self;
        let (_, key_bytes, value_bytes) = place(kernels, first + at, self.out.width);
        let (keys, keys_right) = self.keys.split(at, share)?;
        let (values, values_right) = self.values.split(at, share)?;
        let (wide, wide_right) = self.wide.split(at, share)?;
        let (out, out_right) = self.out.split(at, share)?;
        let (scratch, scratch_right) = self.scratch.split(at, share)?;
        let (mut heads, mut heads_right) = (PerHead::new(), PerHead::new());
        for head in self.heads {
            let halves = head.split(at, key_bytes, value_bytes);
            let pushed = halves.and_then(|(left, right)| {
                heads.push(left).ok()?;
                heads_right.push(right).ok()
            });
            pushed.ok_or(Fault::Shape)?;
        }
        let right = Self {
            kernels,
            keys: keys_right,
            values: values_right,
            wide: wide_right,
            out: out_right,
            first: 0,
            heads: heads_right,
            scratch: scratch_right,
        };
        Ok((Self { kernels, keys, values, wide, out, first, heads, scratch }, right))
    }
}

impl Work for CacheTile<'_> {
    const GRANULE: usize = TOKENS_TOGETHER;

    fn offset(&self) -> usize {
        self.first
    }

    fn rows(&self) -> usize {
        self.out.data.len().checked_div(self.out.width).unwrap_or(0)
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Fault> {
        let Self { kernels, first, .. } = self;
        let Some(weights) = self.heads.first().map(|head| head.weights) else { return Ok(()) };
        let (out, head_dim, scratch) = (self.out.data, self.out.width, self.scratch.0.data);
        let x = self.keys.operand(kernels, &weights.key, &mut self.wide)?;
        for head in &mut self.heads {
            apply(kernels, &x, &head.weights.key, Epilogue::None, out, scratch)?;
            (kernels.store_keys)(out, head_dim, first, head.keys, head.key_scales);
        }
        let x = match self.values.is_empty() {
            true => x,
            false => self.values.operand(kernels, &weights.value, &mut self.wide)?,
        };
        for head in &mut self.heads {
            apply(kernels, &x, &head.weights.value, Epilogue::None, out, scratch)?;
            (kernels.store_values)(out, head_dim, first, head.values, head.value_scales);
        }
        Ok(())
    }
}
