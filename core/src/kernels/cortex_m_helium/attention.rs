//! Attention in one head, four queries at a time (`attention.s`).
//!
//! Keys lie in pairs of tokens, `(tokens/2, pitch/16, 2, 16)`, as weights do. Values lie in blocks of 16
//! tokens, `(tokens/16, pitch, 16)`, so that the weighted sum of a column runs along a row. Softmax weights
//! of four queries are interleaved: `(tokens/8, 4, 8)`.

use super::rows::{quantize, vitreous_helium_quantize_key, vitreous_helium_quantize_value, Quantize};
use crate::kernels::{Attention, AttentionScratch};
use crate::math::{EXP2_COEFFICIENTS, MAGIC};
use crate::tensor::{self, padded};

core::arch::global_asm!(".cpu cortex-m55", include_str!("attention.s"), options(raw));

/// Queries at a time.
pub(super) const QUERIES: usize = 4;
/// Inputs of a step of the scores, and bytes of code of a step.
const STEP: usize = 16;
const STEP_CODE: usize = 56;
/// Steps of a chunk of the scores: without a loop around it, and with one.
const CHUNK: usize = 7;
const CHUNK_WIDE: usize = 4;
/// Tokens of a block of values, bytes of code of a block, blocks of a chunk.
const BLOCK: usize = 16;
const BLOCK_CODE: usize = 116;
const BLOCKS: usize = 4;
/// Tokens of a round of the softmax.
const TOKENS: usize = 8;

#[repr(C)]
struct ScoreJob {
    queries: *const i8,
    keys: *const i8,
    scores: *mut f32,
    key_scales: *const f32,
    /// Entry point of the first chunk, in bytes of code before the chunk's end.
    entry: usize,
    /// End of the keys; end of the queries if they are wide.
    end: *const i8,
    keys_end: *const i8,
    _pad: usize,
    query_scales: [f32; QUERIES],
    max: [f32; QUERIES],
}

#[repr(C)]
struct SoftmaxJob {
    scores: *const f32,
    relative_scales: *const f32,
    magic: f32,
    polynomial: [f32; 6],
    exponent_bias: i32,
    weight_max: f32,
    _pad: usize,
    sums: [u32; QUERIES],
    least: [f32; QUERIES],
    max: [f32; QUERIES],
    /// Where weights of two tokens go, minus what the code adds before it stores.
    weights: [usize; QUERIES],
    rounds: usize,
}

#[repr(C)]
struct ValueJob {
    weights: *const i16,
    weights_end: *const i16,
    entry: usize,
    values: *const i8,
    /// Bytes between blocks of tokens.
    stride: usize,
    values_end: *const i8,
    /// Weights of the last block and the start of its values, if only half of it is read.
    last_weights: *const i16,
    last_values: usize,
    scales: [f32; QUERIES],
    /// Where the next two results of each query go, minus what the code adds before it stores.
    out: [usize; QUERIES],
}

extern "C" {
    fn vitreous_helium_pack(rows: &[*const i8; QUERIES], steps: usize, to: *mut i8);
    fn vitreous_helium_scores(job: *mut ScoreJob);
    fn vitreous_helium_scores_wide(job: *mut ScoreJob);
    fn vitreous_helium_softmax(job: *mut SoftmaxJob);
    fn vitreous_helium_values(job: *const ValueJob);
    fn vitreous_helium_values_half(job: *const ValueJob);
}

/// Quantizes rows and stores them as keys of the tokens from `first` on.
pub(super) fn store_keys(x: &[f32], head_dim: usize, first: usize, keys: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    let place = |token: usize| token / 2 * 2 * pitch + token % 2 * STEP;
    let element = |i: usize| i / STEP * 2 * STEP + i % STEP;
    store::<2>(x, head_dim, first, keys, scales, vitreous_helium_quantize_key, place, element);
}

/// Quantizes rows and stores them as values of the tokens from `first` on.
pub(super) fn store_values(x: &[f32], head_dim: usize, first: usize, values: &mut [i8], scales: &mut [f32]) {
    let pitch = padded(head_dim);
    let place = |token: usize| token / BLOCK * BLOCK * pitch + token % BLOCK;
    store::<BLOCK>(x, head_dim, first, values, scales, vitreous_helium_quantize_value, place, |i| i * BLOCK);
}

/// Quantizes rows by `code`. A token's codes begin at `place(token)`, and element i lies `element(i)` bytes
/// further. The codes of `INTERLEAVED` tokens lie interleaved in one block.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a kernel's arguments, and an order")]
fn store<const INTERLEAVED: usize>(
    x: &[f32],
    head_dim: usize,
    first: usize,
    cache: &mut [i8],
    scales: &mut [f32],
    code: Quantize,
    place: impl Fn(usize) -> usize,
    element: impl Fn(usize) -> usize,
) {
    let pitch = padded(head_dim);
    let count = x.len().checked_div(head_dim).unwrap_or(0).min(scales.len());
    // Where all blocks of these tokens fit, no place of a token wraps.
    let end = first.saturating_add(count).div_ceil(INTERLEAVED).saturating_mul(INTERLEAVED);
    if count == 0 || end.saturating_mul(pitch) > cache.len() {
        return;
    }
    let (start, whole) = (cache.as_mut_ptr(), pitch == head_dim);
    for (row, scale) in scales.iter_mut().take(count).enumerate() {
        let (x, at) = (x.as_ptr().wrapping_add(row * head_dim), place(first + row));
        let to = start.wrapping_add(at);
        // SAFETY: whole rounds of a row of `x`; the last code is within the cache.
        let found = if whole { unsafe { code(x, pitch / STEP, to, 0) } } else { 0 };
        if found != 0 {
            *scale = f32::from_bits(found as u32);
            continue;
        }
        // SAFETY: the row is within `x`; the token's codes are within the cache.
        *scale = unsafe {
            let x = core::slice::from_raw_parts(x, head_dim);
            quantize(x, pitch, code, to, |i, code| *to.add(element(i)) = code)
        };
    }
}

/// `out = softmax(q·Kᵀ/√d)·V` for every query (Vaswani et al., arXiv 1706.03762, §3.2.1).
pub(super) fn attend(a: &Attention, scratch: &mut AttentionScratch, out: &mut [f32]) {
    let (pitch, tokens, head_dim) = (padded(a.head_dim), a.tokens(), a.head_dim);
    let Ok(packed) = bytemuck::try_cast_slice_mut::<i32, i8>(scratch.sums) else { return };
    // The values come first: where there are that many, no other product of these lengths wraps. The weights
    // must be aligned, since those of two tokens are stored as one word.
    let enough = tokens > 0
        && pitch > 0
        && a.values.len() >= padded(tokens).saturating_mul(pitch)
        && a.queries.pitch == pitch
        && a.relative_scales.len() >= tokens
        && a.keys.len() >= tokens.next_multiple_of(2) * pitch
        && scratch.weights.as_ptr().cast::<u32>().is_aligned()
        && scratch.scores.len() >= tokens.next_multiple_of(TOKENS) * QUERIES
        && scratch.weights.len() >= padded(tokens) * QUERIES
        && packed.len() >= QUERIES * pitch;
    if !enough {
        return;
    }
    let rows = |length: usize, width: usize| length.checked_div(width).unwrap_or(0);
    let count = a.queries.scales.len().min(rows(a.queries.data.len(), pitch)).min(rows(out.len(), head_dim));
    let mut first = 0;
    while first < count {
        // The last query stands in for missing ones: the same results are stored again.
        let queries: [usize; QUERIES] = core::array::from_fn(|q| (first + q).min(count - 1));
        let rows = queries.map(|query| a.queries.data.as_ptr().wrapping_add(query * pitch));
        // SAFETY: four rows of queries, and `packed` has room for them.
        unsafe { vitreous_helium_pack(&rows, pitch / STEP, packed.as_mut_ptr()) };
        let scales = queries.map(|query| a.factor * a.queries.scales.get(query).copied().unwrap_or(0.0));
        // SAFETY: `enough` has seen that all is as long as the functions say.
        let (max, sums) = unsafe {
            let max = scores(a, packed, scales, scratch.scores);
            (max, softmax(a, scratch.scores, max, scratch.weights))
        };
        let _ = max;
        // The largest score's numerator is weight_max, so a sum is zero only where scores are NaN, which
        // takes a hostile model.
        let scales = sums.map(|sum| a.value_scale / sum.max(1) as f32);
        // SAFETY: likewise; `queries` are below the number of rows of `out`.
        unsafe { weighted_sums(a, scratch.weights, scales, queries, out) };
        first += QUERIES;
    }
}

/// Scores `(tokens, 4)`, filled up with NaN to a multiple of 8 tokens; returns the largest score of each
/// query.
///
/// # Safety
/// Keys are `(tokens/2 rounded up, pitch/16, 2, 16)`, queries `(pitch/16, 4, 16)`, `out` is as long as said.
unsafe fn scores(a: &Attention, queries: &[i8], scales: [f32; QUERIES], out: &mut [f32]) -> [f32; QUERIES] {
    let (pitch, tokens) = (padded(a.head_dim), a.tokens());
    let steps = pitch / STEP - 1;
    let wide = steps > CHUNK;
    let entry = if wide { steps % CHUNK_WIDE } else { steps } * STEP_CODE;
    let even = tokens / 2 * 2;
    let keys_end = a.keys.as_ptr().wrapping_add(even * pitch);
    let queries_end = queries.as_ptr().wrapping_add(QUERIES * pitch);
    let mut job = ScoreJob {
        queries: queries.as_ptr(),
        keys: a.keys.as_ptr(),
        scores: out.as_mut_ptr(),
        key_scales: a.key_scales.as_ptr(),
        entry,
        end: if wide { queries_end } else { keys_end },
        keys_end,
        _pad: 0,
        query_scales: scales,
        max: [f32::MIN; QUERIES],
    };
    let code = if wide { vitreous_helium_scores_wide } else { vitreous_helium_scores };
    if even > 0 {
        // SAFETY: an even number of tokens, all there.
        unsafe { code(&mut job) };
    }
    out.iter_mut()
        .take(tokens.next_multiple_of(TOKENS) * QUERIES)
        .skip(tokens * QUERIES)
        .for_each(|x| *x = f32::NAN);
    if tokens > even {
        // The missing token's score is a NaN, which never is the maximum and has weight 0.
        let last = [a.key_scales.get(even).copied().unwrap_or(0.0), f32::NAN];
        job.key_scales = last.as_ptr();
        job.keys = keys_end;
        job.keys_end = keys_end.wrapping_add(2 * pitch);
        job.end = if wide { queries_end } else { job.keys_end };
        job.scores = out.as_mut_ptr().wrapping_add(even * QUERIES);
        // SAFETY: the last pair; the cache has room for its second key, whose contents don't matter.
        unsafe { code(&mut job) };
    }
    job.max
}

/// Writes the weights `round(e_t·scale_t)` with `e_t = weight_max·2^(s_t − max)`, and zeros up to a multiple
/// of 16 tokens. Returns the sums of `round(e_t)`.
///
/// # Safety
/// Scores and weights are as long as said.
unsafe fn softmax(a: &Attention, scores: &[f32], max: [f32; QUERIES], weights: &mut [i16]) -> [u32; QUERIES] {
    let tokens = a.tokens();
    let start = weights.as_mut_ptr().addr();
    let mut job = SoftmaxJob {
        scores: scores.as_ptr(),
        relative_scales: a.relative_scales.as_ptr(),
        magic: MAGIC,
        polynomial: EXP2_COEFFICIENTS,
        exponent_bias: 127 << 23,
        weight_max: a.weight_max(),
        _pad: 0,
        sums: [0; QUERIES],
        least: [-126.0; QUERIES],
        max,
        weights: core::array::from_fn(|q| start.wrapping_add(q * 2 * TOKENS).wrapping_sub(52)),
        rounds: tokens / TOKENS,
    };
    if job.rounds > 0 {
        // SAFETY: whole rounds of tokens.
        unsafe { vitreous_helium_softmax(&mut job) };
    }
    let rest = a.relative_scales.get(tokens / TOKENS * TOKENS..tokens).unwrap_or(&[]);
    if !rest.is_empty() {
        let mut scales = [0.0; TOKENS];
        scales.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        (job.relative_scales, job.rounds) = (scales.as_ptr(), 1);
        // SAFETY: scores and weights are there for a whole round.
        unsafe { vitreous_helium_softmax(&mut job) };
    }
    let done = tokens.next_multiple_of(TOKENS) * QUERIES;
    weights.iter_mut().take(padded(tokens) * QUERIES).skip(done).for_each(|weight| *weight = 0);
    job.sums
}

/// `out[q,j] = scales[q] · Σ_t weights[q,t]·v[t,j]`.
///
/// # Safety
/// Weights and values are as long as said; `out` has a row for each of `queries`.
unsafe fn weighted_sums(
    a: &Attention,
    weights: &[i16],
    scales: [f32; QUERIES],
    queries: [usize; QUERIES],
    out: &mut [f32],
) {
    let (pitch, head_dim) = (padded(a.head_dim), a.head_dim);
    let half = matches!(a.tokens() % BLOCK, 1..=TOKENS);
    // The number of whole blocks, and how many of them the chunks take.
    let blocks = padded(a.tokens()) / BLOCK - half as usize;
    let chunked = if half { blocks } else { blocks - 1 };
    let (pairs, start) = (head_dim / 2, out.as_mut_ptr().addr());
    if pairs > 0 {
        let job = ValueJob {
            weights: weights.as_ptr(),
            weights_end: weights.as_ptr().wrapping_add(blocks * BLOCK * QUERIES),
            entry: chunked % BLOCKS * BLOCK_CODE,
            values: a.values.as_ptr(),
            stride: BLOCK * pitch,
            values_end: a.values.as_ptr().wrapping_add(pairs * 2 * BLOCK),
            last_weights: weights.as_ptr().wrapping_add(blocks * BLOCK * QUERIES),
            last_values: blocks * BLOCK * pitch,
            scales,
            out: queries.map(|query| start.wrapping_add(4 * query * head_dim).wrapping_sub(8)),
        };
        // SAFETY: as above.
        unsafe {
            if half {
                vitreous_helium_values_half(&job)
            } else {
                vitreous_helium_values(&job)
            }
        };
    }
    if head_dim > 2 * pairs {
        for (q, (query, scale)) in queries.into_iter().zip(scales).enumerate() {
            let column = column_blocks(a.values, 2 * pairs, pitch);
            let sum = column.zip(weights.chunks(BLOCK * QUERIES)).fold(0i32, |sum, (values, weights)| {
                let weights = weights.chunks(TOKENS).skip(q).step_by(QUERIES).flatten();
                let products = values.iter().zip(weights).map(|(v, w)| *v as i32 * *w as i32);
                products.fold(sum, i32::wrapping_add)
            });
            if let Some(out) = out.get_mut(query * head_dim + head_dim - 1) {
                *out = sum as f32 * scale;
            }
        }
    }
}

/// The values of one column, in blocks of sixteen tokens.
fn column_blocks(values: &[i8], column: usize, pitch: usize) -> impl Iterator<Item = &[i8]> {
    tensor::rows(values, BLOCK * pitch)
        .map(move |block| block.get(column * BLOCK..(column + 1) * BLOCK).unwrap_or(&[]))
}
