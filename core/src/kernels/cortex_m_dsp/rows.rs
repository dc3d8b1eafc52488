//! Quantization of rows, and layer norm.

use half::f16;

use crate::kernels::portable;
use crate::math::{inverse_sqrt, to_f16s, Lane};
use crate::quant::{row_max_abs, row_scale, row_scale_above, to_i8, to_i8_above};
use crate::tensor::{rows, rows_mut, NormWeights};

/// Elements that the loops over rows take at a time.
const GROUP: usize = 8;
/// Elements that the loops of layer norm take at a time: one for each partial sum.
const PARTIALS: usize = 16;

// Numbers go in and out as their bits: the registers of floats depend on the target's ABI, those of integers
// do not.
extern "C" {
    fn vitreous_dsp_largest(x: *const f32, groups: usize) -> u32;
    fn vitreous_dsp_quantize(x: *const f32, codes: *mut i8, groups: usize, magnitude: u32) -> u32;
    fn vitreous_dsp_quantize_above(
        x: *const f32,
        codes: *mut i8,
        groups: usize,
        factor: u32,
        zero_point: u32,
    ) -> u32;
    fn vitreous_dsp_quantize_pairs(
        x: *const f32,
        codes: *mut i8,
        groups: usize,
        magnitude: u32,
        second: usize,
        next: usize,
    ) -> u32;
    fn vitreous_dsp_widen(x: *const f16, out: *mut f32, groups: usize);
    fn vitreous_dsp_narrow(x: *const f32, out: *mut f16, groups: usize) -> u32;
    fn vitreous_dsp_norm_sum(x: *const f16, out: *mut f32, groups: usize) -> u32;
    fn vitreous_dsp_norm_squares(out: *mut f32, groups: usize, mean: u32) -> u32;
    fn vitreous_dsp_norm_scale(
        out: *mut f32,
        gamma: *const f32,
        beta: *const f32,
        groups: usize,
        factor: u32,
    );
}

/// Whole groups of a row, and what is left.
fn groups(x: &[f32]) -> (&[f32], &[f32]) {
    let (groups, rest) = x.as_chunks::<GROUP>();
    (groups.as_flattened(), rest)
}

pub(super) fn quantize_row(x: &[f32], out: &mut [i8]) -> f32 {
    let (whole, rest) = groups(x);
    let Some((codes, codes_rest)) = out.split_at_mut_checked(whole.len()).filter(|_| !whole.is_empty())
    else {
        return portable::quantize_row(x, out);
    };
    let (from, to, count) = (whole.as_ptr(), codes.as_mut_ptr(), whole.len() / GROUP);
    // SAFETY: reads as many elements as there are, and writes as many codes.
    let largest = unsafe { vitreous_dsp_quantize(from, to, count, row_max_abs(rest).to_bits()) };
    if largest == 0 {
        return portable::quantize_row(x, out);
    }
    let (scale, factor) = row_scale(f32::from_bits(largest));
    let mut to = codes_rest.iter_mut();
    rest.iter().zip(to.by_ref()).for_each(|(x, to)| *to = to_i8(*x, factor));
    to.for_each(|to| *to = 0);
    scale
}

pub(super) fn quantize_row_above(x: &[f32], floor: f32, out: &mut [i8]) -> (f32, i32) {
    let (whole, rest) = groups(x);
    let mut largest = 0;
    if !whole.is_empty() {
        // SAFETY: reads as many elements as there are.
        largest = unsafe { vitreous_dsp_largest(whole.as_ptr(), whole.len() / GROUP) };
    }
    let row = row_scale_above(rest.iter().fold(f32::from_bits(largest), |m, v| Lane::max(*v, m)), floor);
    let Some((codes, codes_rest)) = out.split_at_mut_checked(whole.len()) else {
        return portable::quantize_row_above(x, floor, out);
    };
    if !whole.is_empty() {
        let (from, to, count) = (whole.as_ptr(), codes.as_mut_ptr(), whole.len() / GROUP);
        let (factor, zero_point) = (row.factor.to_bits(), row.zero_point_f32.to_bits());
        // SAFETY: reads as many elements as there are, and writes as many codes.
        let invalid = unsafe { vitreous_dsp_quantize_above(from, to, count, factor, zero_point) };
        if invalid != 0 {
            return portable::quantize_row_above(x, floor, out);
        }
    }
    let mut to = codes_rest.iter_mut();
    rest.iter().zip(to.by_ref()).for_each(|(x, to)| *to = to_i8_above(*x, row.factor, row.zero_point_f32));
    to.for_each(|to| *to = 0);
    (row.scale, row.zero_point)
}

/// Where the codes of a row go if codes of other rows lie between them.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    /// Bytes from the first code of a pair to the second.
    pub second: usize,
    /// Bytes from a pair to the next.
    pub next: usize,
}

/// Quantizes a row into pairs of codes. Memory behind the row's end is left as it is. Codes for which there
/// is no room are dropped.
pub(super) fn quantize_into_pairs(x: &[f32], out: &mut [i8], pairs: Pairs) -> f32 {
    let Pairs { second, next } = pairs;
    let (whole, rest) = groups(x);
    let place = |i: usize| i / 2 * next + i % 2 * second;
    let mut largest = 0;
    if !whole.is_empty() && place(whole.len() - 1) < out.len() && second < next {
        let (from, to, count) = (whole.as_ptr(), out.as_mut_ptr(), whole.len() / GROUP);
        let magnitude = row_max_abs(rest).to_bits();
        // SAFETY: reads as many elements as there are; the last code is within `out`, and so are all before
        // it.
        largest = unsafe { vitreous_dsp_quantize_pairs(from, to, count, magnitude, second, next) };
    }
    let (done, largest) = match largest {
        0 => (0, row_max_abs(x)),
        largest => (whole.len(), f32::from_bits(largest)),
    };
    let (scale, factor) = row_scale(largest);
    for (i, x) in x.iter().enumerate().skip(done) {
        if let Some(to) = out.get_mut(place(i)) {
            *to = to_i8(*x, factor);
        }
    }
    scale
}

pub(super) fn layer_norm(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    let is_whole = width.is_multiple_of(PARTIALS) && weights.beta.len() >= width;
    for (x, out) in rows(x, width).zip(rows_mut(out, width)) {
        // Pairs of f16 are loaded into the FPU as words, which must be aligned.
        if is_whole && x.as_ptr().addr() % 4 == 0 {
            norm_row(x, weights, out);
        } else {
            portable::layer_norm(x, weights, out);
        }
    }
}

/// Elements of both rows in whole groups, if pairs of f16 are aligned as words.
fn whole_groups<A, B>(x: &[A], out: &[B], halves: *const f16) -> usize {
    match halves.addr() % 4 {
        0 => x.len().min(out.len()) / GROUP,
        _ => 0,
    }
}

pub(super) fn widen(x: &[f16], out: &mut [f32]) {
    let groups = whole_groups(x, out, x.as_ptr());
    if groups > 0 {
        // SAFETY: both have as many elements, and `x` is aligned to 4 bytes.
        unsafe { vitreous_dsp_widen(x.as_ptr(), out.as_mut_ptr(), groups) };
    }
    let done = groups * GROUP;
    portable::widen(x.get(done..).unwrap_or(&[]), out.get_mut(done..).unwrap_or(&mut []));
}

pub(super) fn narrow(x: &[f32], out: &mut [f16]) {
    let mut done = 0;
    let groups = whole_groups(x, out, out.as_ptr());
    if groups > 0 {
        // SAFETY: both have as many elements, and `out` is aligned to 4 bytes.
        let infinite = unsafe { vitreous_dsp_narrow(x.as_ptr(), out.as_mut_ptr(), groups) };
        // If a number has to be bounded, plain Rust converts all of them.
        done = if infinite == 0 { groups * GROUP } else { 0 };
    }
    to_f16s(x.get(done..).unwrap_or(&[]), out.get_mut(done..).unwrap_or(&mut []));
}

/// `x` and `out` are as long as γ, a multiple of [`PARTIALS`] and not empty; `x` is aligned to 4 bytes.
fn norm_row(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let groups = x.len() / PARTIALS;
    let reciprocal = 1.0 / x.len().max(1) as f32;
    let to = out.as_mut_ptr();
    // SAFETY: `groups` times sixteen elements are read of x, γ and β, and written to out; all of them are so
    // long.
    unsafe {
        let mean = f32::from_bits(vitreous_dsp_norm_sum(x.as_ptr(), to, groups)) * reciprocal;
        let squares = f32::from_bits(vitreous_dsp_norm_squares(to, groups, mean.to_bits()));
        let factor = inverse_sqrt(squares * reciprocal + weights.eps).to_bits();
        vitreous_dsp_norm_scale(to, weights.gamma.as_ptr(), weights.beta.as_ptr(), groups, factor);
    }
}
