//! Attention in one head, four queries at a time.
//!
//! Keys lie in panels of two tokens whose bytes alternate, as weights do, so that scores are a matrix product
//! like any other. Values lie in blocks of sixteen tokens, and within a block in panels of two features; in
//! the product with the softmax weights, the tokens are the inputs.

use super::linear::{is_aligned, pack, pack_one, Label, Product, BLOCK};
use super::rows::{quantize_into_pairs, Pairs};
use crate::kernels::{can_store, Attention, AttentionScratch};
use crate::math::{exp2, round_to_i32, EXP2_COEFFICIENTS};
use crate::tensor::{padded, rows, rows_mut, ALIGN};

extern "C" {
    fn vitreous_dsp_four_rows_in_blocks();
    fn vitreous_dsp_one_row_in_blocks();
    fn vitreous_dsp_half_block();
    fn vitreous_dsp_half_block_alone();
    fn vitreous_dsp_to_scores();
    fn vitreous_dsp_floats_to_scores();
    fn vitreous_dsp_to_weighted_sums();
    fn vitreous_dsp_softmax(
        scores: *const f32,
        scales: *const f32,
        weights: *mut i32,
        groups: usize,
        constants: *const [f32; 8],
        sum: *mut u32,
    ) -> u32;
}

/// Scores that the softmax loop takes at a time.
const GROUP: usize = 4;

pub(super) fn store_keys(x: &[f32], head_dim: usize, first: usize, cache: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    if !can_store(head_dim, first, cache) {
        return;
    }
    for ((token, x), scale) in (first..).zip(rows(x, head_dim)).zip(scales) {
        let pair = cache.get_mut((token / 2 * 2).saturating_mul(pitch)..).unwrap_or(&mut []);
        *scale = quantize_into_pairs(
            x,
            pair.get_mut(token % 2..).unwrap_or(&mut []),
            Pairs { second: 2, next: 4 },
        );
        if token % 2 == 1 {
            pair_up(pair.get_mut(..2 * head_dim).unwrap_or(&mut []));
        }
    }
}

/// Turns two rows of alternating bytes into one row of 16-bit numbers: the first byte plus 256 times the
/// second.
fn pair_up(rows: &mut [i8]) {
    // The sign of the first byte, times 256, is subtracted. Bits 15 and 31 are kept out of the subtraction,
    // so that no half borrows from the other.
    const TOPS: u32 = 0x8000_8000;
    let (words, rest) = rows.as_chunks_mut::<4>();
    for word in words {
        let bits = u32::from_le_bytes(word.map(|byte| byte as u8));
        let paired = (bits | TOPS).wrapping_sub((bits & 0x0080_0080) << 1) ^ (!bits & TOPS);
        *word = paired.to_le_bytes().map(|byte| byte as i8);
    }
    if let [first, second] = rest {
        *second = second.wrapping_sub(i8::from(*first < 0));
    }
}

pub(super) fn store_values(x: &[f32], head_dim: usize, first: usize, cache: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    if !can_store(head_dim, first, cache) {
        return;
    }
    for ((token, x), scale) in (first..).zip(rows(x, head_dim)).zip(scales) {
        let block = (token / ALIGN * ALIGN).saturating_mul(pitch);
        let to = cache.get_mut(block.saturating_add(token % ALIGN * 2)..).unwrap_or(&mut []);
        *scale = quantize_into_pairs(x, to, Pairs { second: 1, next: 2 * ALIGN });
    }
}

pub(super) fn attend(a: &Attention, scratch: &mut AttentionScratch, out: &mut [f32]) {
    let (tokens, pitch) = (a.tokens(), padded(a.head_dim));
    // Where there are that many values, no other product of these lengths wraps.
    let Some(values) = a.values.get(..padded(tokens).saturating_mul(pitch)).filter(|it| !it.is_empty())
    else {
        return;
    };
    if a.queries.pitch != pitch
        || a.relative_scales.len() < tokens
        || !is_aligned(a.keys)
        || !is_aligned(values)
    {
        return;
    }
    let mut queries = a.queries;
    let mut out = out;
    while !queries.scales.is_empty() {
        let count = queries.scales.len().min(BLOCK);
        let Some((block, rest)) = out.split_at_mut_checked(count * a.head_dim) else { return };
        let block_queries = (queries.data, queries.scales.get(..count).unwrap_or(&[]));
        if attend_block(a, block_queries, scratch, block).is_none() {
            return;
        }
        queries.data = queries.data.get(count * queries.pitch..).unwrap_or(&[]);
        queries.scales = queries.scales.get(count..).unwrap_or(&[]);
        out = rest;
    }
}

/// Attention of up to four queries: codes `(queries, pitch)` and scales; out `(queries, head_dim)`.
fn attend_block(
    a: &Attention,
    (codes, query_scales): (&[i8], &[f32]),
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) -> Option<()> {
    let (tokens, pitch, count) = (a.tokens(), a.queries.pitch, query_scales.len());
    let score_pitch = tokens.next_multiple_of(2);
    let scores = scratch.scores.get_mut(..BLOCK * score_pitch)?;
    // SAFETY: any bits are an i32.
    let (_, weights, _) = unsafe { scratch.weights.align_to_mut::<i32>() };
    let weights = weights.get_mut(..padded(tokens) * (BLOCK / 2))?;
    let sums = scratch.sums.get_mut(..BLOCK * pitch)?;

    let largest = score(a, (codes, query_scales), sums, scores)?;
    let mut totals = [0.0; BLOCK];
    // Missing tokens of the last block have weight 0.
    weights.get_mut(tokens / ALIGN * ALIGN * (BLOCK / 2)..)?.fill(0);
    let score_rows = rows(scores, score_pitch).zip(largest).zip(&mut totals).take(count);
    for (query, ((scores, largest), total)) in score_rows.enumerate() {
        let sum = softmax(scores.get(..tokens)?, largest, a, weights.get_mut(query..)?);
        *total = a.value_scale / sum.max(1) as f32;
    }
    weighted_sums(a, weights, totals, sums, out)
}

/// `out[q,t] = (q·k_t)·(factor·scale_q·scale_t)`; returns the largest score of each query.
fn score(
    a: &Attention,
    (codes, query_scales): (&[i8], &[f32]),
    scratch: &mut [i32],
    out: &mut [f32],
) -> Option<[f32; BLOCK]> {
    let (tokens, pitch) = (a.tokens(), a.queries.pitch);
    let pairs = tokens / 2 * 2;
    // A single query is multiplied alone. With two or three, zeros stand in for the missing ones, whose
    // results are dropped.
    let is_single = query_scales.len() == 1;
    let packed = match codes.get(..BLOCK * pitch) {
        _ if is_single => pack_one(codes.get(..pitch)?, scratch.get_mut(..pitch / 2)?),
        Some(codes) => pack(codes, pitch, scratch)?,
        None => pack_some(codes, pitch, scratch)?,
    };
    let at_a_time = if is_single { 1 } else { BLOCK };
    let (keys, last_keys) =
        a.keys.get(..tokens.next_multiple_of(2) * pitch)?.split_at_checked(pairs * pitch)?;
    let (mut product, first_chunk) =
        Product::new_in_chunks(at_a_time, pitch, vitreous_dsp_to_scores, vitreous_dsp_floats_to_scores);
    product.read_from(packed, first_chunk * at_a_time / 2);
    for (to, scale) in product.row_scales.iter_mut().zip(query_scales) {
        *to = a.factor * *scale;
    }
    let stride = if is_single { 0 } else { size_of::<f32>() * tokens.next_multiple_of(2) };
    let out: *mut u8 = out.get_mut(..BLOCK * tokens.next_multiple_of(2))?.as_mut_ptr().cast();
    if pairs > 0 {
        (product.panels, product.scales) = (keys.as_ptr(), a.key_scales.as_ptr());
        product.write_to(out, stride, size_of::<f32>() * pairs);
        // SAFETY: keys and scales of `pairs` tokens; four rows of scores, `stride` apart, take as many.
        unsafe { product.run() };
    }
    if let Some(last) = a.key_scales.get(pairs) {
        // The score of the missing token must not become the largest; a NaN never does.
        let scales = [*last, f32::NAN];
        (product.panels, product.scales) = (last_keys.as_ptr(), scales.as_ptr());
        product.write_to(out.wrapping_add(size_of::<f32>() * pairs), stride, 2 * size_of::<f32>());
        // SAFETY: one panel of keys, whose second token is never read as a score; rows have room for an even
        // number of them.
        unsafe { product.run() };
    }
    Some(product.largest)
}

/// Unpacks fewer than four rows; the missing ones are zeros.
#[inline(never)]
fn pack_some<'s>(codes: &[i8], pitch: usize, scratch: &'s mut [i32]) -> Option<&'s [i32]> {
    let to = scratch.get_mut(..2 * pitch)?;
    to.fill(0);
    for (query, codes) in rows(codes, pitch).enumerate() {
        for (pair, to) in codes.as_chunks::<2>().0.iter().zip(to.chunks_mut(BLOCK)) {
            *to.get_mut(query)? = i32::from(pair[0]) & 0xffff | i32::from(pair[1]) << 16;
        }
    }
    Some(to)
}

/// Softmax weights of a query; its pairs of tokens go to every fourth word of `weights`. Returns the sum of
/// the numerators.
fn softmax(scores: &[f32], largest: f32, a: &Attention, weights: &mut [i32]) -> u32 {
    let weight_max = a.weight_max();
    let (mut sum, mut done) = (0, 0);
    let whole = scores.len() / GROUP * GROUP;
    let room = weights.len() > (whole / 2).saturating_sub(1) * BLOCK && a.relative_scales.len() >= whole;
    if whole > 0 && room {
        let constants = exp2_constants(weight_max, largest);
        let (scores, scales, groups) = (scores.as_ptr(), a.relative_scales.as_ptr(), whole / GROUP);
        // SAFETY: reads `whole` scores and scales, writes half as many words, four apart.
        let invalid = unsafe {
            vitreous_dsp_softmax(scores, scales, weights.as_mut_ptr(), groups, &constants, &mut sum)
        };
        if invalid == 0 {
            done = whole;
        } else {
            sum = 0;
        }
    }
    sum.wrapping_add(softmax_from(done, scores, (largest, weight_max), a.relative_scales, weights))
}

/// Constants for the assembly: the largest weight, the largest score, and the coefficients of 2^f.
fn exp2_constants(weight_max: f32, largest: f32) -> [f32; 8] {
    let [c5, c4, c3, c2, c1, c0] = EXP2_COEFFICIENTS;
    [weight_max, largest, c5, c4, c3, c2, c1, c0]
}

/// The same in plain Rust, for the tokens from `first`, which is even, on: for the last tokens, and for rows
/// with NaNs.
#[inline(never)]
fn softmax_from(
    first: usize,
    scores: &[f32],
    (largest, weight_max): (f32, f32),
    scales: &[f32],
    weights: &mut [i32],
) -> u32 {
    let mut sum = 0u32;
    for (token, (score, scale)) in scores.iter().zip(scales).enumerate().skip(first) {
        let numerator = weight_max * exp2(*score - largest);
        sum = sum.wrapping_add(round_to_i32(numerator) as u32);
        let weight = round_to_i32(numerator * *scale);
        if let Some(pair) = weights.get_mut(token / 2 * BLOCK) {
            *pair = if token % 2 == 0 { weight & 0xffff } else { *pair & 0xffff | weight << 16 };
        }
    }
    sum
}

/// `out[q,j] = scale_q·Σ_t weight_qt·v[t,j]`; `out` may have fewer than four rows.
fn weighted_sums(
    a: &Attention,
    weights: &[i32],
    scales: [f32; BLOCK],
    scratch: &mut [i32],
    out: &mut [f32],
) -> Option<()> {
    let (pitch, head_dim) = (a.queries.pitch, a.head_dim);
    let values = a.values.get(..padded(a.tokens()) * pitch)?;
    let is_single = out.len() == head_dim;
    // Up to eight tokens behind the last whole block of sixteen count as half a block.
    let (whole, rest) = (a.tokens() / ALIGN * ALIGN, a.tokens() % ALIGN);
    let has_half = rest > 0 && rest <= ALIGN / 2 && !is_single;
    let words = |tokens: usize| tokens * (BLOCK / 2);
    let weights = if has_half { weights.get(..words(whole + ALIGN / 2))? } else { weights };
    let whole_weights = if has_half { weights.get(..words(whole))? } else { weights };
    let inner: Label = match (is_single, whole_weights.is_empty()) {
        (true, _) => vitreous_dsp_one_row_in_blocks,
        (false, true) => vitreous_dsp_half_block_alone,
        (false, false) => vitreous_dsp_four_rows_in_blocks,
    };
    let mut product = Product::new(inner, vitreous_dsp_to_weighted_sums);
    product.read_from(weights, whole_weights.len());
    if has_half {
        product.epilogue = vitreous_dsp_half_block;
    }
    product.panels = values.as_ptr();
    product.row_scales = scales;
    // Where loads advance the pointer, it has passed one block of the panel already.
    let moved = if cfg!(dual_issue) && !is_single { 0 } else { 2 * ALIGN };
    product.block_step = ALIGN * pitch - moved;
    let is_direct = (is_single || out.len() == BLOCK * head_dim) && head_dim % 2 == 0;
    let (to, row) = match is_direct {
        true => (&mut *out, head_dim),
        false => (bytemuck::cast_slice_mut(&mut *scratch), pitch),
    };
    let to = to.get_mut(..if is_single { row } else { BLOCK * row })?.as_mut_ptr();
    let bytes = |columns: usize| size_of::<f32>() * columns;
    let stride = if is_single { 0 } else { bytes(row) };
    product.write_to(to.cast(), stride, bytes(head_dim.next_multiple_of(2)));
    // SAFETY: values of as many tokens as there are weights, a multiple of sixteen; four rows of at least
    // `head_dim` results, an even number or rows that are longer; a single query's for all four.
    unsafe { product.run() };
    if !is_direct {
        let sums: &[f32] = bytemuck::cast_slice(scratch);
        for (out, sums) in rows_mut(out, head_dim).zip(rows(sums, pitch)) {
            out.iter_mut().zip(sums).for_each(|(to, from)| *to = *from);
        }
    }
    Some(())
}
