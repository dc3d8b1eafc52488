//! Attention of one query in one head: scores, softmax weights, weighted sum of values.

use crate::kernels::Keys;
use crate::math::{exp2, round_to_i32, Lane};
use crate::tensor::rows;

/// `out[t] = (q·k_t)·(factor·scale_t)`; returns the largest.
pub(super) fn scores(query: &[i8], factor: f32, keys: &Keys, out: &mut [f32]) -> f32 {
    let mut largest = f32::MIN;
    let keys_rows = rows(keys.data, keys.pitch);
    for ((out, row), scale) in out.iter_mut().zip(keys_rows).zip(keys.scales) {
        let dot: i32 = query.iter().zip(row).map(|(q, k)| *q as i32 * *k as i32).sum();
        *out = dot as f32 * (factor * *scale);
        largest = Lane::max(*out, largest);
    }
    largest
}

/// `e_t = weight_max·2^(s_t − max)`; the weights are `round(e_t·scale_t)`, the sum is that of `round(e_t)`.
pub(super) fn softmax(scores: &[f32], max: f32, weight_max: f32, scales: &[f32], weights: &mut [i16]) -> u32 {
    let mut sum = 0u32;
    for ((score, scale), weight) in scores.iter().zip(scales).zip(weights) {
        let numerator = weight_max * exp2(*score - max);
        sum = sum.wrapping_add(round_to_i32(numerator) as u32);
        *weight = round_to_i32(numerator * *scale) as i16;
    }
    sum
}

/// `acc[j] = Σ_t weight_t·v[t,j]`.
pub(super) fn weighted_sum(weights: &[i16], values: &[i8], acc: &mut [i32]) {
    acc.iter_mut().for_each(|a| *a = 0);
    let pitch = acc.len();
    for (weight, row) in weights.iter().zip(rows(values, pitch)) {
        for (a, v) in acc.iter_mut().zip(row) {
            *a = a.wrapping_add(*weight as i32 * *v as i32);
        }
    }
}
