//! Attention over a tile of queries. A block has as many queries as the matrix product has rows; each key and
//! each value is read once for all of them.
//!
//! Keys lie in panels, as weights do, with tokens as outputs. Values lie in pairs of tokens, widened to i16:
//! `(tokens/2, pitch, 2)`.

use super::gemm::{multiply, Epilogue, Inputs, Panels};
use super::quantize::{quantize, CodeRow, CodeRows};
use super::{load, store, Dot, Floats, Ints, GROUP, LANES};
use crate::kernels::{can_store, Attention, AttentionScratch};
use crate::math::Lane;
use crate::tensor::padded;

/// Quantizes rows of `head_dim` floats and places them as keys of the tokens from `first` on.
#[inline(always)]
pub(in crate::kernels) fn store_keys<F: Floats>(
    x: &[f32],
    head_dim: usize,
    first: usize,
    keys: &mut [i8],
    scales: &mut [f32],
) {
    if !can_store(head_dim, first, keys) {
        return;
    }
    quantize::<F>(x, head_dim, &mut Keys { keys, pitch: padded(head_dim), first }, scales);
}

/// The cache of keys, for the tokens from `first` on.
struct Keys<'a> {
    keys: &'a mut [i8],
    pitch: usize,
    first: usize,
}

impl<I: Ints> CodeRows<I> for Keys<'_> {
    type Row<'a>
        = Key<'a>
    where
        Self: 'a;
    #[inline(always)]
    fn row(&mut self, row: usize) -> Option<Key<'_>> {
        let token = self.first + row;
        let panel = (token / LANES * LANES).saturating_mul(self.pitch);
        self.keys.get_mut(panel.saturating_add(token % LANES * 4)..).map(Key)
    }
}

/// Where the key of one token goes: its panel, from the token's first group on.
struct Key<'a>(&'a mut [i8]);

impl<I: Ints> CodeRow<I> for Key<'_> {
    #[inline(always)]
    fn store(&mut self, column: usize, codes: I) {
        let codes = codes.to_i8();
        // From the first of the token's four groups to the end of the last.
        let Some(groups) =
            self.0.get_mut(column / 4 * GROUP..).and_then(|rest| rest.first_chunk_mut::<{ 3 * GROUP + 4 }>())
        else {
            return;
        };
        let words: [[i8; 4]; LANES / 4] = bytemuck::cast(codes);
        for (i, word) in words.iter().enumerate() {
            groups[i * GROUP..i * GROUP + 4].copy_from_slice(word);
        }
    }
}

/// Quantizes rows of `head_dim` floats and places them as values of the tokens from `first` on.
#[inline(always)]
pub(in crate::kernels) fn store_values<F: Floats>(
    x: &[f32],
    head_dim: usize,
    first: usize,
    values: &mut [i8],
    scales: &mut [f32],
) {
    if !can_store(head_dim, first, values) {
        return;
    }
    // An i32 holds the values of two tokens.
    let Ok(pairs) = bytemuck::try_cast_slice_mut::<i8, i32>(values) else { return };
    quantize::<F>(x, head_dim, &mut Values { pairs, pitch: padded(head_dim), first }, scales);
}

/// The cache of values, for the tokens from `first` on.
struct Values<'a> {
    pairs: &'a mut [i32],
    pitch: usize,
    first: usize,
}

impl<I: Ints> CodeRows<I> for Values<'_> {
    type Row<'a>
        = Value<'a>
    where
        Self: 'a;
    #[inline(always)]
    fn row(&mut self, row: usize) -> Option<Value<'_>> {
        let token = self.first + row;
        let start = (token / 2).saturating_mul(self.pitch);
        let pairs = self.pairs.get_mut(start..start.saturating_add(self.pitch))?;
        Some(Value { pairs, second: token % 2 == 1 })
    }
}

/// Where the value of one token goes: the pairs of its two tokens, as the first or the second.
struct Value<'a> {
    pairs: &'a mut [i32],
    second: bool,
}

impl<I: Ints> CodeRow<I> for Value<'_> {
    #[inline(always)]
    fn store(&mut self, column: usize, codes: I) {
        let pair = self.pairs.get_mut(column..).and_then(|pairs| pairs.first_chunk_mut::<LANES>());
        let Some(pair) = pair else { return };
        if self.second {
            I::load(pair).pair(codes).store(pair);
        } else {
            codes.pair(I::splat(0)).store(pair);
        }
    }
}

/// The steps of attention for a block of queries. Each is a function of its own, compiled for the table's
/// instructions. In one function they would need more registers than there are, and the compiler would move
/// the sums about in the innermost loops.
pub(in crate::kernels) struct Steps {
    /// Number of queries of a block.
    pub rows: usize,
    /// Writes the initial sums of each panel of keys.
    pub initial_sums: fn(&Attention, &mut [i32]),
    /// Writes the scores `(rows, stride)` of a block of queries, from a given query on, and each query's
    /// largest score by lane.
    pub scores: fn(&Attention, usize, &[i32], &mut [f32], &mut Maxima),
    /// Writes the softmax weights of the scores, and the factor for each query's weighted sum.
    pub softmax: fn(&Attention, &[f32], &Maxima, &mut [i16], &mut [f32]),
    /// Writes the weighted sums of the values times these factors: `(queries, head_dim)`.
    pub weighted_sums: fn(&Attention, &[i16], &[f32], &mut [f32]),
}

/// The largest number of queries of a block.
const MAX_ROWS: usize = 6;
/// The largest scores of each query, by lane.
pub(in crate::kernels) type Maxima = [[f32; LANES]; MAX_ROWS];

/// `out = softmax(q·Kᵀ/√d)·V` for every query (arXiv 1706.03762, §3.2.1).
pub(in crate::kernels) fn attend(
    a: &Attention,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
    steps: &Steps,
) {
    let (pitch, stride, rows) = (padded(a.head_dim), padded(a.tokens()), steps.rows);
    // The values come first: where there are that many, no other product of these lengths wraps.
    let enough = a.tokens() > 0
        && pitch > 0
        && a.values.len() >= stride.saturating_mul(pitch).saturating_mul(2)
        && scratch.scores.len() >= rows * stride
        && scratch.weights.len() >= rows * stride
        && a.queries.pitch == pitch
        && rows <= MAX_ROWS;
    if !enough {
        return;
    }
    let (scores, weights) = (&mut scratch.scores[..rows * stride], &mut scratch.weights[..rows * stride]);
    (steps.initial_sums)(a, scratch.sums);
    let mut maxima = [[0.0; LANES]; MAX_ROWS];
    for (block, out) in out.chunks_mut(rows * a.head_dim).enumerate() {
        let mut factors = [0.0f32; MAX_ROWS];
        let factors = &mut factors[..out.len() / a.head_dim];
        (steps.scores)(a, block * rows, scratch.sums, scores, &mut maxima);
        (steps.softmax)(a, scores, &maxima, weights, factors);
        (steps.weighted_sums)(a, weights, factors, out);
    }
}

/// See [`Steps::initial_sums`].
#[inline(always)]
pub(in crate::kernels) fn initial_sums<D: Dot>(a: &Attention, initial_sums: &mut [i32]) {
    Panels::new(a.keys, a.tokens(), a.queries.pitch).all_initial_sums::<D>(initial_sums);
}

/// See [`Steps::scores`].
#[inline(always)]
pub(in crate::kernels) fn scores<D: Dot, const MR: usize, const NV: usize>(
    a: &Attention,
    first: usize,
    initial_sums: &[i32],
    scores: &mut [f32],
    maxima: &mut Maxima,
) {
    let pitch = a.queries.pitch;
    let (Some(codes), Some(query_scales)) =
        (a.queries.data.get(first * pitch..), a.queries.scales.get(first..))
    else {
        return;
    };
    let query_scales = query_scales.get(..MR).unwrap_or(query_scales);
    let stride = padded(a.tokens());
    let mut epilogue =
        Scores { scores, maxima, stride, query_scales, factor: a.factor, key_scales: a.key_scales };
    let keys = Panels::new(a.keys, a.tokens(), pitch).with_initial_sums(initial_sums);
    multiply::<D, MR, NV>(Inputs::new(codes, query_scales.len(), pitch), keys, &mut epilogue);
}

/// See [`Steps::softmax`].
#[inline(always)]
pub(in crate::kernels) fn softmax<F: Floats, const MR: usize>(
    a: &Attention,
    scores: &[f32],
    maxima: &Maxima,
    weights: &mut [i16],
    factors: &mut [f32],
) {
    let stride = padded(a.tokens());
    let (weight_max, mut rows) = (a.weight_max(), [[].as_slice(); MR]);
    let mut rest = scores.as_chunks::<LANES>().0;
    for row in &mut rows {
        let Some((these, others)) = rest.split_at_checked(stride / LANES) else { return };
        (*row, rest) = (these, others);
    }
    // Each step runs for all rows before the next: reducing a vector to one number has a long latency, and
    // the rows hide each other's.
    let mut max = [F::splat(0.0); MR];
    for r in 0..MR {
        max[r] = F::splat(F::load(&maxima[r]).largest());
    }
    let mut sums = [F::Ints::splat(0); MR];
    let weights = weights.as_chunks_mut::<LANES>().0;
    let (whole, tail) = a.relative_scales.as_chunks::<LANES>();
    for (column, scales) in whole.iter().enumerate() {
        weigh::<F, MR>(&rows, column, &max, weight_max, F::load(scales), &mut sums, weights);
    }
    if !tail.is_empty() {
        weigh::<F, MR>(&rows, whole.len(), &max, weight_max, F::load_first(tail), &mut sums, weights);
    }
    for (sum, factor) in sums.into_iter().zip(factors) {
        *factor = a.value_scale / (sum.sum() as u32).max(1) as f32;
    }
}

/// Epilogue that turns dot products of queries and keys into scores to base 2.
struct Scores<'a> {
    scores: &'a mut [f32],
    maxima: &'a mut Maxima,
    stride: usize,
    query_scales: &'a [f32],
    factor: f32,
    key_scales: &'a [f32],
}

/// Scales of some panels' keys; `count` keys from `start` on exist.
struct KeyScales<F, const NV: usize> {
    start: usize,
    count: usize,
    scales: [F; NV],
}

impl<F: Floats> Epilogue<F> for Scores<'_> {
    type Constants<const NV: usize> = KeyScales<F, NV>;

    #[inline(always)]
    fn constants<const NV: usize>(&self, panel: usize) -> Option<KeyScales<F, NV>> {
        let start = panel * LANES;
        let there = self.key_scales.get(start..)?;
        let mut scales = [F::splat(0.0); NV];
        for v in 0..NV {
            scales[v] = load(there.get(v * LANES..).unwrap_or(&[]));
        }
        Some(KeyScales { start, count: there.len(), scales })
    }

    #[inline(always)]
    fn store_row<const NV: usize>(&mut self, row: usize, keys: &KeyScales<F, NV>, dots: [F::Ints; NV]) {
        let at = row * self.stride + keys.start;
        let out =
            self.scores.get_mut(at..).and_then(|scores| scores.as_chunks_mut().0.first_chunk_mut::<NV>());
        let (Some(query_scale), Some(out), Some(maxima)) =
            (self.query_scales.get(row), out, self.maxima.get_mut(row))
        else {
            return;
        };
        let mut max = if keys.start == 0 { F::splat(f32::MIN) } else { F::load(maxima) };
        let factor = F::splat(self.factor * *query_scale);
        for v in 0..NV {
            let mut score = F::from_ints(dots[v]) * (factor * keys.scales[v]);
            if keys.count < (v + 1) * LANES {
                // Missing tokens behind the last one get the least score, hence weight 0.
                score = score.first(keys.count.saturating_sub(v * LANES), F::splat(f32::MIN));
            }
            score.store(&mut out[v]);
            max = score.max(max);
        }
        max.store(maxima);
    }
}

/// Writes the weights of sixteen tokens in all rows, `round(e_t·scale_t)` with `e_t = weight_max·2^(s_t −
/// max)`, and adds `round(e_t)` to the sums.
#[inline(always)]
fn weigh<F: Floats, const MR: usize>(
    rows: &[&[[f32; LANES]]; MR],
    column: usize,
    max: &[F; MR],
    weight_max: f32,
    scales: F,
    sums: &mut [F::Ints; MR],
    weights: &mut [[i16; LANES]],
) {
    let (stride, weight_max) = (rows[0].len(), F::splat(weight_max));
    let mut scores = *max;
    for r in 0..MR {
        let Some(these) = rows[r].get(column) else { return };
        scores[r] = F::load(these) - max[r];
    }
    let mut numerators = F::exp2_of_each(scores);
    for r in 0..MR {
        numerators[r] = weight_max * numerators[r];
        sums[r] = sums[r].add(numerators[r].round());
        let Some(weights) = weights.get_mut(r * stride + column) else { return };
        (numerators[r] * scales).round().store_i16(weights);
    }
}

/// See [`Steps::weighted_sums`]: `out[r,j] = factors[r] · Σ_t weights[r,t]·v[t,j]`.
#[inline(always)]
pub(in crate::kernels) fn weighted_sums<D: Dot, const MR: usize, const NV: usize>(
    a: &Attention,
    weights: &[i16],
    factors: &[f32],
    out: &mut [f32],
) {
    let Ok(values) = bytemuck::try_cast_slice::<i8, i16>(a.values) else { return };
    let (stride, pitch) = (padded(a.tokens()), padded(a.head_dim));
    // The weights behind the last token are 0.
    let pairs = a.tokens().div_ceil(2);
    let shape = Sums { weights, stride, pairs, values, pitch, factors, head_dim: a.head_dim };
    let mut column = 0;
    while column < pitch {
        let left = (pitch - column) / LANES;
        if NV >= 4 && left >= 4 {
            weighted_block::<D, MR, 4>(&shape, column, out);
            column += 4 * LANES;
        } else if NV >= 2 && left >= 2 {
            weighted_block::<D, MR, 2>(&shape, column, out);
            column += 2 * LANES;
        } else {
            weighted_block::<D, MR, 1>(&shape, column, out);
            column += LANES;
        }
    }
}

/// Operands of the weighted sums.
struct Sums<'a> {
    weights: &'a [i16],
    stride: usize,
    pairs: usize,
    values: &'a [i16],
    pitch: usize,
    factors: &'a [f32],
    head_dim: usize,
}

/// The same for `NV`·16 columns from `column` on.
#[inline(always)]
fn weighted_block<D: Dot, const MR: usize, const NV: usize>(shape: &Sums, column: usize, out: &mut [f32]) {
    let Sums { weights, stride, pairs, values, pitch, factors, head_dim } = *shape;
    assert!(weights.len() >= stride.saturating_mul(MR) && column + NV * LANES <= pitch);
    assert!(values.len() >= stride.saturating_mul(pitch));
    assert!(2 * pairs <= stride);
    let mut sums = [[D::start_pairs(); NV]; MR];
    for pair in 0..pairs {
        for v in 0..NV {
            // SAFETY: `pair` is below stride/2, and the columns lie in the pitch, so the last value read is
            // the slice's last.
            let values = unsafe { values.as_ptr().add(2 * (pair * pitch + column + v * LANES)) };
            for r in 0..MR {
                // SAFETY: `r` is below `MR`, and 2·pair + 1 below the stride.
                sums[r][v] =
                    unsafe { D::dot_pairs(sums[r][v], weights.as_ptr().add(r * stride + 2 * pair), values) };
            }
        }
    }
    let mut acc = [[[0i32; LANES]; NV]; MR];
    for r in 0..MR {
        for v in 0..NV {
            D::finish_pairs(sums[r][v]).store(&mut acc[r][v]);
        }
    }
    for ((acc, factor), out) in acc.iter().zip(factors).zip(out.chunks_exact_mut(head_dim)) {
        for (acc, out) in acc.iter().zip(out.get_mut(column..).unwrap_or(&mut []).chunks_mut(LANES)) {
            store(D::Floats::from_ints(Ints::load(acc)) * D::Floats::splat(*factor), out);
        }
    }
}
