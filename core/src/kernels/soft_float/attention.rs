//! Attention in one head, four queries at a time.
//!
//! Keys lie in panels of four tokens, as weights do, so that scores are a matrix product like any other.
//! Values lie in blocks of sixteen tokens, and within a block in panels of four features. The sixteen sums of
//! four queries and four features stay in registers.

use super::float::{is_moderate, Factor, Number};
use super::product::{four_rows, pack, weighted, Sums, BLOCK};
use super::rows::quantize_row;
use super::softmax::softmax;
use crate::kernels::{can_store, Attention, AttentionScratch};
use crate::tensor::{padded, rows, rows_mut, ALIGN};

/// The widest head whose rows are quantized whole, on the stack.
const CODES: usize = 256;

/// Quantizes a row and stores the code of each element k at `place(k)` of the cache. Returns the scale.
#[inline(always)]
fn quantize_to(x: &[f32], cache: &mut [i8], place: impl Fn(usize) -> usize) -> f32 {
    let mut codes = [0i8; CODES];
    let Some(codes) = codes.get_mut(..x.len()) else { return quantize_wide(x, cache, place) };
    let scale = quantize_row(x, codes);
    for (k, code) in codes.iter().enumerate() {
        if let Some(to) = cache.get_mut(place(k)) {
            *to = *code;
        }
    }
    scale
}

/// The same element by element, for a row of any width.
#[cold]
#[inline(never)]
fn quantize_wide(x: &[f32], cache: &mut [i8], place: impl Fn(usize) -> usize) -> f32 {
    let (scale, factor) = crate::quant::row_scale(crate::quant::row_max_abs(x));
    for (k, x) in x.iter().enumerate() {
        if let Some(to) = cache.get_mut(place(k)) {
            *to = crate::quant::to_i8(*x, factor);
        }
    }
    scale
}

pub(super) fn store_keys(x: &[f32], head_dim: usize, first: usize, cache: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    if !can_store(head_dim, first, cache) {
        return;
    }
    for ((token, x), scale) in (first..).zip(rows(x, head_dim)).zip(scales) {
        let panel = cache.get_mut((token / BLOCK * BLOCK).saturating_mul(pitch)..).unwrap_or(&mut []);
        if token.is_multiple_of(BLOCK) {
            // Zeros for inputs behind the head's end, and for tokens that never come.
            panel.iter_mut().take(pitch.saturating_mul(BLOCK)).for_each(|to| *to = 0);
        }
        let column = 2 * (token % BLOCK);
        *scale = quantize_to(x, panel, |k| k / 2 * 2 * BLOCK + column + k % 2);
    }
}

pub(super) fn store_values(x: &[f32], head_dim: usize, first: usize, cache: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    if !can_store(head_dim, first, cache) {
        return;
    }
    for ((token, x), scale) in (first..).zip(rows(x, head_dim)).zip(scales) {
        let block = cache.get_mut((token / ALIGN * ALIGN).saturating_mul(pitch)..).unwrap_or(&mut []);
        let row = token % ALIGN;
        *scale = quantize_to(x, block, |j| (j / BLOCK * ALIGN + row) * BLOCK + j % BLOCK);
    }
}

pub(super) fn attend(a: &Attention, scratch: &mut AttentionScratch, out: &mut [f32]) {
    let pitch = padded(a.head_dim);
    let (tokens, weight_max) = (a.tokens(), a.weight_max());
    let row = tokens.next_multiple_of(BLOCK);
    // Where there are that many values, no other product of these lengths wraps.
    let Some(values) = a.values.get(..padded(tokens).saturating_mul(pitch)) else { return };
    let room = (
        scratch.scores.get_mut(..BLOCK * row),
        scratch.weights.get_mut(..BLOCK * tokens),
        a.relative_scales.get(..tokens),
    );
    let (Some(scores), Some(weights), Some(relative_scales)) = room else { return };
    if values.is_empty() || a.queries.pitch != pitch {
        return;
    }
    let queries = a.queries.data.chunks((BLOCK * pitch).max(1)).zip(a.queries.scales.chunks(BLOCK));
    for ((codes, query_scales), out) in queries.zip(out.chunks_mut((BLOCK * a.head_dim).max(1))) {
        let Some(packed) = pack(codes, pitch, scratch.sums) else { return };
        let largest = score(a, packed, query_scales, scores, row);
        let mut scales = [0.0; BLOCK];
        let of_queries = rows(scores, row).zip(largest).zip(&mut scales).take(query_scales.len());
        for (query, ((scores, largest), scale)) in of_queries.enumerate() {
            let weights = weights.get_mut(query..).unwrap_or(&mut []);
            let scores = scores.get(..tokens).unwrap_or(&[]);
            let sum = softmax(scores, largest, weight_max, relative_scales, weights, BLOCK);
            *scale = a.value_scale / sum.max(1) as f32;
        }
        weighted_sums(weights, values, &scales, a.head_dim, out);
    }
}

/// `out[q,t] = (q·k_t)·(factor·scale_q·scale_t)`; returns the largest score of each query.
#[inline(never)]
fn score(a: &Attention, packed: &[i32], query_scales: &[f32], out: &mut [f32], row: usize) -> [f32; BLOCK] {
    let mut factors = [0.0; BLOCK];
    factors.iter_mut().zip(query_scales).for_each(|(to, scale)| *to = a.factor * *scale);
    let mut largest = [f32::MIN; BLOCK];
    let mut sums = Sums::default();
    let mut out_rows = rows_mut(out, row);
    let mut out = [(); BLOCK].map(|_| out_rows.next().unwrap_or(&mut []).iter_mut());
    let panels = rows(a.keys, packed.len() * (BLOCK / 2));
    for (panel, key_scales) in panels.zip(a.key_scales.chunks(BLOCK)) {
        four_rows(packed, panel, &mut sums);
        for (sums, key_scale) in sums.iter().zip(key_scales) {
            let columns = out.iter_mut().zip(&mut largest).zip(factors.iter().zip(sums));
            for ((out, largest), (factor, dot)) in columns.take(query_scales.len()) {
                let score = scaled(*dot, *factor, *key_scale);
                if let Some(out) = out.next() {
                    *out = score;
                }
                if is_above(score, *largest) {
                    *largest = score;
                }
            }
        }
    }
    largest
}

/// `dot·(factor·scale)`.
#[inline(always)]
fn scaled(dot: i32, factor: f32, scale: f32) -> f32 {
    if dot == 0 || !is_moderate(factor.to_bits()) || !is_moderate(scale.to_bits()) {
        return scaled_any(dot, factor, scale);
    }
    let both = Number::new(factor.to_bits()).times(Factor::new(scale.to_bits()));
    f32::from_bits(Number::from_int(dot).times(both.factor()).pack_or_zero())
}

#[cold]
#[inline(never)]
fn scaled_any(dot: i32, factor: f32, scale: f32) -> f32 {
    dot as f32 * (factor * scale)
}

/// `x > y` by integers, where y is not a NaN.
#[inline(always)]
fn is_above(x: f32, y: f32) -> bool {
    let (x, y) = (x.to_bits() as i32, y.to_bits() as i32);
    // Maps bits to integers in the numbers' order. NaNs of either sign lie beyond the infinities; the
    // comparison below excludes them.
    let ordered = |bits: i32| bits ^ ((bits >> 31) as u32 >> 1) as i32;
    let (x, y) = (ordered(x), ordered(y));
    x > y && x <= ordered(f32::INFINITY.to_bits() as i32)
}

/// `out[q,j] = scale_q·Σ_t weight_qt·v[t,j]`; `out` may have fewer than four rows.
#[inline(never)]
fn weighted_sums(weights: &[i16], values: &[i8], scales: &[f32; BLOCK], head_dim: usize, out: &mut [f32]) {
    let mut sums = Sums::default();
    for features in (0..head_dim).step_by(BLOCK) {
        let panels = values.get(features * ALIGN..).unwrap_or(&[]);
        weighted(weights, panels, padded(head_dim) * ALIGN, &mut sums);
        for ((sums, scale), out) in sums.iter().zip(scales).zip(rows_mut(out, head_dim)) {
            let out = out.get_mut(features..).unwrap_or(&mut []);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = to_float(*sum, *scale);
            }
        }
    }
}

/// `sum as f32 · scale`.
#[inline(always)]
fn to_float(sum: i32, scale: f32) -> f32 {
    if sum == 0 || !is_moderate(scale.to_bits()) {
        return to_float_any(sum, scale);
    }
    let number = Number::from_int(sum);
    f32::from_bits(number.times(Factor::new(scale.to_bits())).pack_or_zero())
}

#[cold]
#[inline(never)]
fn to_float_any(sum: i32, scale: f32) -> f32 {
    sum as f32 * scale
}
