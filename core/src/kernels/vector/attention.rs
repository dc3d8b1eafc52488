//! Attention over a tile of queries: as many rows at a time as a block of the matrix product has, so that each key and each
//! value is read once for all of them.
//!
//! Keys lie in panels as weights do, a token being an output. Values lie in pairs of tokens, widened to i16: `(tokens/2, pitch,
//! 2)`.

use super::gemm::{multiply, Epilogue, Inputs, Panels};
use super::rows::{quantize, Codes};
use super::{load, store, Dot, Floats, Ints, GROUP, LANES};
use crate::kernels::{Attention, AttentionScratch};
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
    let pitch = padded(head_dim);
    for ((token, x), scale) in (first..).zip(x.chunks_exact(head_dim.max(1))).zip(scales) {
        let start = token / LANES * LANES * pitch + token % LANES * 4;
        *scale = quantize::<F>(x, &mut Key(keys.get_mut(start..).unwrap_or(&mut [])));
    }
}

/// A panel of keys, from a token's first group on.
struct Key<'a>(&'a mut [i8]);

impl<I: Ints> Codes<I> for Key<'_> {
    #[inline(always)]
    fn take(&mut self, column: usize, codes: I) {
        let codes = codes.to_i8();
        // From the token's first group to the end of its last.
        let Some(groups) =
            self.0.get_mut(column / 4 * GROUP..).and_then(|rest| rest.first_chunk_mut::<{ 3 * GROUP + 4 }>())
        else {
            return;
        };
        for (i, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
            groups[i * GROUP..i * GROUP + 4].copy_from_slice(codes);
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
    let pitch = padded(head_dim);
    // An i32 holds the values of two tokens.
    let Ok(pairs) = bytemuck::try_cast_slice_mut::<i8, i32>(values) else { return };
    for ((token, x), scale) in (first..).zip(x.chunks_exact(head_dim.max(1))).zip(scales) {
        let start = token / 2 * pitch;
        let pairs = pairs.get_mut(start..start + pitch).unwrap_or(&mut []);
        *scale = quantize::<F>(x, &mut Value { pairs, second: token % 2 == 1 });
    }
}

/// The values of two tokens, of which the first comes first.
struct Value<'a> {
    pairs: &'a mut [i32],
    second: bool,
}

impl<I: Ints> Codes<I> for Value<'_> {
    #[inline(always)]
    fn take(&mut self, column: usize, codes: I) {
        let pair = self.pairs.get_mut(column..).and_then(|pairs| pairs.first_chunk_mut::<LANES>());
        let Some(pair) = pair else { return };
        if self.second {
            I::load(pair).pair(codes).store(pair);
        } else {
            codes.pair(I::splat(0)).store(pair);
        }
    }
}

/// `out = softmax(q·Kᵀ/√d)·V` for every query (arXiv 1706.03762, §3.2.1).
#[inline(always)]
pub(in crate::kernels) fn attend<D: Dot, const MR: usize, const NV: usize>(
    attention: &Attention,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let a = attention;
    let (pitch, stride) = (padded(a.head_dim), padded(a.tokens()));
    let Ok(values) = bytemuck::try_cast_slice::<i8, i16>(a.values) else { return };
    let enough = scratch.scores.len() >= MR * stride
        && scratch.weights.len() >= MR * stride
        && values.len() >= stride * pitch
        && a.queries.pitch == pitch
        && a.tokens() > 0
        && a.head_dim > 0;
    if !enough {
        return;
    }
    let keys = Panels::new(a.keys, a.tokens(), pitch);
    let codes = a.queries.data.chunks(MR * pitch).zip(a.queries.scales.chunks(MR));
    for ((codes, scales), out) in codes.zip(out.chunks_mut(MR * a.head_dim)) {
        let mut scores = Scores {
            scores: scratch.scores,
            stride,
            query_scales: scales,
            factor: a.factor,
            key_scales: a.key_scales,
            max: [D::Floats::splat(f32::MIN); MR],
        };
        multiply::<D, MR, NV>(Inputs::new(codes, scales.len(), pitch), keys, &mut scores);
        let max = scores.max;
        let mut factors = [0.0f32; MR];
        let rows = scratch.scores.chunks_exact(stride).zip(scratch.weights.chunks_exact_mut(stride));
        for (((scores, weights), max), factor) in rows.zip(max).zip(&mut factors).take(scales.len()) {
            let sum = softmax::<D::Floats>(scores, max.largest(), a.weight_max(), a.relative_scales, weights);
            *factor = a.value_scale / sum.max(1) as f32;
        }
        weighted_sums::<D, MR, NV>(scratch.weights, stride, values, pitch, &factors, a.head_dim, out);
    }
}

/// Puts dot products of queries and keys as scores to base 2 into their rows, and keeps the largest.
struct Scores<'a, F, const MR: usize> {
    scores: &'a mut [f32],
    stride: usize,
    query_scales: &'a [f32],
    factor: f32,
    key_scales: &'a [f32],
    max: [F; MR],
}

impl<F: Floats, const MR: usize> Epilogue<F> for Scores<'_, F, MR> {
    #[inline(always)]
    fn take<const NV: usize>(&mut self, row: usize, panel: usize, dots: [F::Ints; NV]) {
        let (start, at) = (panel * LANES, row * self.stride + panel * LANES);
        let (Some(query_scale), Some(max)) = (self.query_scales.get(row), self.max.get_mut(row)) else {
            return;
        };
        let Some(out) = self.scores.get_mut(at..at + NV * LANES) else { return };
        let factor = F::splat(self.factor * *query_scale);
        let scales = self.key_scales.get(start..).unwrap_or(&[]).chunks(LANES);
        for ((dots, out), scales) in dots.into_iter().zip(out.as_chunks_mut::<LANES>().0).zip(scales) {
            let score = F::from_ints(dots) * (factor * load(scales));
            // Tokens behind the last one get the least score, hence weight 0.
            let score = score.first(scales.len(), F::splat(f32::MIN));
            *max = score.max(*max);
            score.store(out);
        }
    }
}

/// `e_t = weight_max·2^(s_t − max)`; the weights are `round(e_t·scale_t)`, the sum is that of `round(e_t)`.
#[inline(always)]
fn softmax<F: Floats>(scores: &[f32], max: f32, weight_max: f32, scales: &[f32], weights: &mut [i16]) -> u32 {
    let (max, weight_max) = (F::splat(max), F::splat(weight_max));
    let mut sum = F::Ints::splat(0);
    let rows = scores.as_chunks::<LANES>().0.iter().zip(weights.as_chunks_mut::<LANES>().0);
    for ((scores, weights), scales) in rows.zip(scales.chunks(LANES)) {
        let numerator = weight_max * (F::load(scores) - max).exp2();
        sum = sum.add(numerator.round());
        (numerator * load(scales)).round().store_i16(weights);
    }
    sum.sum() as u32
}

/// `out[r,j] = factors[r] · Σ_t weights[r,t]·v[t,j]` for up to `MR` rows.
#[inline(always)]
fn weighted_sums<D: Dot, const MR: usize, const NV: usize>(
    weights: &[i16],
    stride: usize,
    values: &[i16],
    pitch: usize,
    factors: &[f32; MR],
    head_dim: usize,
    out: &mut [f32],
) {
    let mut column = 0;
    while column < pitch {
        let left = (pitch - column) / LANES;
        if NV >= 4 && left >= 4 {
            weighted_block::<D, MR, 4>(weights, stride, values, pitch, factors, head_dim, column, out);
            column += 4 * LANES;
        } else if NV >= 2 && left >= 2 {
            weighted_block::<D, MR, 2>(weights, stride, values, pitch, factors, head_dim, column, out);
            column += 2 * LANES;
        } else {
            weighted_block::<D, MR, 1>(weights, stride, values, pitch, factors, head_dim, column, out);
            column += LANES;
        }
    }
}

/// The same for `NV`·16 columns.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "shapes of three matrices")]
fn weighted_block<D: Dot, const MR: usize, const NV: usize>(
    weights: &[i16],
    stride: usize,
    values: &[i16],
    pitch: usize,
    factors: &[f32; MR],
    head_dim: usize,
    column: usize,
    out: &mut [f32],
) {
    assert!(weights.len() >= MR * stride && values.len() >= stride * pitch && column + NV * LANES <= pitch);
    let mut sums = [[D::start_pairs(); NV]; MR];
    for pair in 0..stride / 2 {
        for v in 0..NV {
            // SAFETY: `pair` is below stride/2, and the columns lie in the pitch, so the last value read is the slice's last.
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
