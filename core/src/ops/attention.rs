//! Scaled dot-product attention (Vaswani et al., arXiv 1706.03762, §3.2.1) of one query in one head, on keys and values that lie
//! row by row. [`Kernels::attend`] does a tile of queries, in the table's own order.

#![allow(dead_code, reason = "the form for models that keep keys and values as rows")]

use crate::kernels::{weight_max, Kernels, Keys};

/// Keys and values of one head, quantized per token.
pub(crate) struct HeadCache<'a> {
    /// Keys and their scales.
    pub keys: Keys<'a>,
    /// Values: `(tokens, pitch)`.
    pub values: &'a [i8],
    /// Scale of each token's value, relative to the largest.
    pub relative_scales: &'a [f32],
    /// The largest scale of a value.
    pub value_scale: f32,
}

/// Memory for one query.
pub(crate) struct AttentionScratch<'a> {
    /// `(tokens)`.
    pub scores: &'a mut [f32],
    /// `(tokens)`.
    pub probabilities: &'a mut [i16],
    /// `(pitch)`.
    pub weighted_sum: &'a mut [i32],
}

/// `out = softmax(q·Kᵀ/√d)·V`: query `(pitch)` with its scale, out `(head_dim)`.
///
/// `factor` is log2(e)/√d, so that the exponential is one to base 2.
pub(crate) fn attend_row(
    kernels: &Kernels,
    query: &[i8],
    query_scale: f32,
    factor: f32,
    cache: &HeadCache,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let max = (kernels.scores)(query, factor * query_scale, &cache.keys, scratch.scores);
    let weight_max = weight_max(scratch.scores.len());
    let sum =
        (kernels.softmax)(scratch.scores, max, weight_max, cache.relative_scales, scratch.probabilities);
    (kernels.weighted_sum)(scratch.probabilities, cache.values, scratch.weighted_sum);
    // The largest score's numerator is weight_max, so the sum is never zero (but for not-a-number, from hostile models).
    let scale = cache.value_scale / sum.max(1) as f32;
    for (out, acc) in out.iter_mut().zip(scratch.weighted_sum.iter()) {
        *out = *acc as f32 * scale;
    }
}
