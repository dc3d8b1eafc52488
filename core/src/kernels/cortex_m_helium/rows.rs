//! Layer norm and quantization of rows (`rows.s`).

use half::f16;

use super::PORTABLE;
use crate::kernels::portable;
use crate::math::inverse_sqrt;
use crate::quant::{row_max_abs, row_scale, row_scale_above, to_i8, to_i8_above};
use crate::tensor::{rows, rows_mut, NormWeights};

core::arch::global_asm!(".cpu cortex-m55", include_str!("rows.s"), options(raw));

/// Elements of a round in `rows.s`.
const ROUND: usize = 16;
/// Bits of the largest finite f32.
const FINITE: u32 = f32::MAX.to_bits();

/// Quantizes rounds of a row. Arguments: floats, number of rounds, codes, bits of the largest magnitude of
/// the row's rest. Returns the bits of the scale and, in the upper half, of the largest magnitude; or 0 if a
/// number is infinite or NaN.
pub(super) type Quantize = unsafe extern "C" fn(*const f32, usize, *mut i8, u32) -> u64;

extern "C" {
    pub(super) fn vitreous_helium_quantize(x: *const f32, rounds: usize, codes: *mut i8, rest: u32) -> u64;
    pub(super) fn vitreous_helium_quantize_key(
        x: *const f32,
        rounds: usize,
        codes: *mut i8,
        rest: u32,
    ) -> u64;
    pub(super) fn vitreous_helium_quantize_value(
        x: *const f32,
        rounds: usize,
        codes: *mut i8,
        rest: u32,
    ) -> u64;
    fn vitreous_helium_max(x: *const f32, rounds: usize) -> u32;
    fn vitreous_helium_quantize_above(x: *const f32, rounds: usize, factor: u32, codes: *mut i8, zero: u32);
    fn vitreous_helium_sums(x: *const f16, rounds: usize, mean: u32, sums: *mut [f32; 8]);
    fn vitreous_helium_square_sums(x: *const f16, rounds: usize, mean: u32, sums: *mut [f32; 8]);
    fn vitreous_helium_widen(x: *const f16, out: *mut f32, groups: usize);
    fn vitreous_helium_narrow(x: *const f32, out: *mut f16, groups: usize);
    fn vitreous_helium_norm(
        x: *const f16,
        rounds: usize,
        mean: u32,
        factor: u32,
        gamma: *const f32,
        beta: *const f32,
        out: *mut f32,
    );
}

/// Elements that widening and narrowing take at a time.
const GROUP: usize = 8;

pub(super) fn widen(x: &[f16], out: &mut [f32]) {
    let groups = x.len().min(out.len()) / GROUP;
    if groups > 0 {
        // SAFETY: both have as many elements.
        unsafe { vitreous_helium_widen(x.as_ptr(), out.as_mut_ptr(), groups) };
    }
    let done = groups * GROUP;
    (PORTABLE.widen)(x.get(done..).unwrap_or(&[]), out.get_mut(done..).unwrap_or(&mut []));
}

pub(super) fn narrow(x: &[f32], out: &mut [f16]) {
    let groups = x.len().min(out.len()) / GROUP;
    if groups > 0 {
        // SAFETY: both have as many elements.
        unsafe { vitreous_helium_narrow(x.as_ptr(), out.as_mut_ptr(), groups) };
    }
    let done = groups * GROUP;
    (PORTABLE.narrow)(x.get(done..).unwrap_or(&[]), out.get_mut(done..).unwrap_or(&mut []));
}

/// Quantizes a row by `code`, which writes sixteen codes a round from `to` on. The other codes, and zeros up
/// to `length`, go to `store`. Returns the scale.
///
/// # Safety
/// `code` may write as many rounds from `to` on as `x` has.
#[inline(always)]
pub(super) unsafe fn quantize(
    x: &[f32],
    length: usize,
    code: Quantize,
    to: *mut i8,
    mut store: impl FnMut(usize, i8),
) -> f32 {
    let (rounds, rest) = x.as_chunks::<ROUND>();
    let largest = rest.iter().fold(0, |bits, x| x.abs().to_bits().max(bits));
    // SAFETY: as the caller has it.
    let found = if rounds.is_empty() { 0 } else { unsafe { code(x.as_ptr(), rounds.len(), to, largest) } };
    if found != 0 && rest.is_empty() && x.len() == length {
        return f32::from_bits(found as u32);
    }
    let (largest, done) = match found {
        0 => (row_max_abs(x), 0),
        found => (f32::from_bits((found >> 32) as u32), rounds.len() * ROUND),
    };
    let (scale, factor) = row_scale(largest);
    for (i, x) in x.iter().enumerate().skip(done) {
        store(i, to_i8(*x, factor));
    }
    for i in x.len()..length {
        store(i, 0);
    }
    scale
}

// Not inlined, since the code for rare cases would take registers from the loop over rows.
#[inline(never)]
pub(super) fn quantize_row(x: &[f32], out: &mut [i8]) -> f32 {
    if x.len() == out.len() && x.len().is_multiple_of(ROUND) && !x.is_empty() {
        // SAFETY: whole rounds, and `out` is as long.
        let found = unsafe { vitreous_helium_quantize(x.as_ptr(), x.len() / ROUND, out.as_mut_ptr(), 0) };
        if found != 0 {
            return f32::from_bits(found as u32);
        }
    }
    if x.len() > out.len() {
        return portable::quantize_row(x, out);
    }
    let (to, length) = (out.as_mut_ptr(), out.len());
    // SAFETY: `out` is no shorter than `x`.
    unsafe {
        quantize(x, length, vitreous_helium_quantize, to, |i, code| {
            if let Some(to) = out.get_mut(i) {
                *to = code;
            }
        })
    }
}

#[inline(never)]
pub(super) fn quantize_row_above(x: &[f32], floor: f32, out: &mut [i8]) -> (f32, i32) {
    let rounds = x.len() / ROUND;
    if x.len() > out.len() || rounds == 0 {
        return portable::quantize_row_above(x, floor, out);
    }
    // SAFETY: that many rounds can be read.
    let bits = unsafe { vitreous_helium_max(x.as_ptr(), rounds) };
    // As signed integers, the bits of numbers from 0 up are in order, and those of negative numbers lie below
    // them.
    let bits =
        x.iter().skip(rounds * ROUND).fold(bits, |bits, x| (bits as i32).max(x.to_bits() as i32) as u32);
    if bits > FINITE {
        // A number is infinite or NaN.
        return portable::quantize_row_above(x, floor, out);
    }
    let row = row_scale_above(f32::from_bits(bits), floor);
    let (factor, zero) = (row.factor.to_bits(), row.zero_point_f32.to_bits());
    // SAFETY: as many elements as `x` has, and `out` is no shorter.
    unsafe { vitreous_helium_quantize_above(x.as_ptr(), rounds, factor, out.as_mut_ptr(), zero) };
    let mut rest = out.iter_mut().skip(rounds * ROUND);
    for (x, out) in x.iter().skip(rounds * ROUND).zip(rest.by_ref()) {
        *out = to_i8_above(*x, row.factor, row.zero_point_f32);
    }
    rest.for_each(|out| *out = 0);
    (row.scale, row.zero_point)
}

pub(super) fn layer_norm(x: &[f16], weights: &NormWeights, out: &mut [f32]) {
    let width = weights.gamma.len();
    if !width.is_multiple_of(ROUND) || width == 0 || weights.beta.len() != width {
        return (PORTABLE.layer_norm)(x, weights, out);
    }
    let rounds = width / ROUND;
    let reciprocal = 1.0 / width as f32;
    for (x, out) in rows(x, width).zip(rows_mut(out, width)) {
        let mut sums = [0.0f32; 8];
        // SAFETY: a row is `rounds` rounds long, as are γ, β and the row that is written.
        unsafe {
            vitreous_helium_sums(x.as_ptr(), rounds, 0, &mut sums);
            let mean = tree(&sums) * reciprocal;
            vitreous_helium_square_sums(x.as_ptr(), rounds, mean.to_bits(), &mut sums);
            let factor = inverse_sqrt(tree(&sums) * reciprocal + weights.eps);
            let (gamma, beta) = (weights.gamma.as_ptr(), weights.beta.as_ptr());
            vitreous_helium_norm(
                x.as_ptr(),
                rounds,
                mean.to_bits(),
                factor.to_bits(),
                gamma,
                beta,
                out.as_mut_ptr(),
            );
        }
    }
}

/// The rest of the canonical tree over c = (c0, c2, c4, c6), (c1, c3, c5, c7).
#[inline(always)]
fn tree([c0, c2, c4, c6, c1, c3, c5, c7]: &[f32; 8]) -> f32 {
    ((c0 + c4) + (c2 + c6)) + ((c1 + c5) + (c3 + c7))
}
