//! Attention in one head, one query after the other: scores, softmax weights, weighted sum of the values.

use super::rows::quantize_row;
use crate::kernels::{Attention, AttentionScratch};
use crate::math::{exp2, round_to_i32, Lane};
use crate::tensor::{padded, rows, rows_mut};

/// Quantizes rows of keys or values into the rows of `cache` from `first` on.
pub(super) fn store_rows(x: &[f32], head_dim: usize, first: usize, cache: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    let cache = cache.get_mut(first.saturating_mul(pitch)..).unwrap_or(&mut []);
    for ((x, row), scale) in rows(x, head_dim).zip(rows_mut(cache, pitch)).zip(scales) {
        *scale = quantize_row(x, row);
    }
}

/// `out = softmax(q·Kᵀ/√d)·V` (Vaswani et al., arXiv 1706.03762, §3.2.1): query `(pitch)`, out `(head_dim)`,
/// for each row.
pub(super) fn attend(a: &Attention, scratch: &mut AttentionScratch, out: &mut [f32]) {
    let pitch = a.queries.pitch;
    let (tokens, weight_max) = (a.tokens(), a.weight_max());
    let AttentionScratch { scores: score_row, weights, sums } = scratch;
    let (Some(score_row), Some(weights), Some(sums)) =
        (score_row.get_mut(..tokens), weights.get_mut(..tokens), sums.get_mut(..pitch))
    else {
        return;
    };
    let queries = rows(a.queries.data, pitch).zip(a.queries.scales);
    for ((query, query_scale), out) in queries.zip(rows_mut(out, a.head_dim)) {
        let max = scores(query, a.factor * *query_scale, a, score_row);
        let sum = softmax(score_row, max, weight_max, a.relative_scales, weights);
        weighted_sum(weights, a.values, sums);
        // The largest score's numerator is weight_max, so the sum is zero only where scores are NaN, which
        // takes a hostile model.
        let scale = a.value_scale / sum.max(1) as f32;
        for (out, acc) in out.iter_mut().zip(sums.iter()) {
            *out = *acc as f32 * scale;
        }
    }
}

/// `out[t] = (q·k_t)·(factor·scale_t)`; returns the largest score.
fn scores(query: &[i8], factor: f32, a: &Attention, out: &mut [f32]) -> f32 {
    let mut largest = f32::MIN;
    let keys = rows(a.keys, a.queries.pitch);
    for ((out, row), scale) in out.iter_mut().zip(keys).zip(a.key_scales) {
        let dot = query.iter().zip(row).fold(0i32, |sum, (q, k)| sum.wrapping_add(*q as i32 * *k as i32));
        *out = dot as f32 * (factor * *scale);
        largest = Lane::max(*out, largest);
    }
    largest
}

/// Writes the softmax weights `round(e_t·scale_t)`, where `e_t = weight_max·2^(s_t − max)`, and returns the
/// sum of `round(e_t)`.
fn softmax(scores: &[f32], max: f32, weight_max: f32, scales: &[f32], weights: &mut [i16]) -> u32 {
    let mut sum = 0u32;
    for ((score, scale), weight) in scores.iter().zip(scales).zip(weights) {
        let numerator = weight_max * exp2(*score - max);
        sum = sum.wrapping_add(round_to_i32(numerator) as u32);
        *weight = round_to_i32(numerator * *scale) as i16;
    }
    sum
}

/// `acc[j] = Σ_t weight_t·v[t,j]`.
fn weighted_sum(weights: &[i16], values: &[i8], acc: &mut [i32]) {
    acc.iter_mut().for_each(|a| *a = 0);
    let pitch = acc.len();
    for (weight, row) in weights.iter().zip(rows(values, pitch)) {
        for (a, v) in acc.iter_mut().zip(row) {
            *a = a.wrapping_add(*weight as i32 * *v as i32);
        }
    }
}
