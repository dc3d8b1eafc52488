//! NEON as every processor of Armv8-A has it. Products of bytes are 16-bit numbers; two of them are added up
//! before the 32-bit sums take them in pairs.
//!
//! Twice the product −128·−128 exceeds 16 bits by one. So the second input x₂ is replaced by its complement,
//! −1 − x₂, and its product is subtracted: `x₁·w₁ − (−1 − x₂)·w₂ = x₁·w₁ + x₂·w₂ + w₂` stays within ±32,640.
//! The initial sums are the negative of all such w₂.

#![allow(clippy::needless_range_loop, reason = "loops over constants, which are unrolled whole")]

use core::arch::aarch64::*;
use core::arch::asm;

use half::f16;

use super::lanes::{native, F32x16, I32x16};
use crate::kernels::spec;
use crate::kernels::vector::table::vector_table;
use crate::kernels::vector::{Dot, WeightsAt};

vector_table!(spec::NEON, "neon", F32x16, Products, rows spec::NEON_ROWS, panels 1);

/// Products of bytes. A register holds two partial sums each of two outputs: one for the first and one for
/// the second pair of every four inputs.
pub(in crate::kernels) struct Products;

impl Dot for Products {
    type Floats = F32x16;
    type Sums = [int32x4_t; 8];
    type Weights = [int8x16_t; 8];
    type Inputs = [int8x16_t; 2];
    type PairSums = PairSums;
    const GROUPS: usize = 2;

    #[inline(always)]
    fn start() -> Self::Sums {
        native!([vdupq_n_s32(0); 8])
    }
    #[inline(always)]
    unsafe fn initial_sums(panel: *const i8, steps: usize) -> Self::Sums {
        let mut sums = Self::start();
        native!(
            // Number of additions of two bytes that a 16-bit sum can hold.
            const MOST: usize = 127;
            let mut step = 0;
            while step < steps {
                let mut halves = [vdupq_n_s16(0); 4];
                let end = steps.min(step + MOST);
                while step < end {
                    // The weights of the second four of each eight inputs.
                    let second = panel.add(step * 128 + 64);
                    for i in 0..4 {
                        halves[i] = vpadalq_s8(halves[i], vld1q_s8(second.add(16 * i)));
                    }
                    step += 1;
                }
                for i in 0..4 {
                    sums[2 * i] = vsubw_s16(sums[2 * i], vget_low_s16(halves[i]));
                    sums[2 * i + 1] = vsubw_high_s16(sums[2 * i + 1], halves[i]);
                }
            }
        );
        sums
    }
    #[inline(always)]
    fn initial_from_ints(initial: &[i32]) -> Option<Self::Sums> {
        let initial = initial.first_chunk::<{ Self::INITIAL_INTS }>()?;
        let mut sums = Self::start();
        for (sum, initial) in sums.iter_mut().zip(initial.as_chunks::<4>().0) {
            *sum = native!(vld1q_s32(initial.as_ptr()));
        }
        Some(sums)
    }
    #[inline(always)]
    fn initial_to_ints(sums: Self::Sums, initial: &mut [i32]) {
        for (sum, initial) in sums.into_iter().zip(initial.as_chunks_mut::<4>().0) {
            native!(vst1q_s32(initial.as_mut_ptr(), sum));
        }
    }
    const INITIAL_INTS: usize = spec::NEON_INITIAL_INTS;
    #[inline(always)]
    unsafe fn load_weights(groups: *const i8) -> Self::Weights {
        native!([
            vld1q_s8(groups),
            vld1q_s8(groups.add(16)),
            vld1q_s8(groups.add(32)),
            vld1q_s8(groups.add(48)),
            vld1q_s8(groups.add(64)),
            vld1q_s8(groups.add(80)),
            vld1q_s8(groups.add(96)),
            vld1q_s8(groups.add(112))
        ])
    }
    #[inline(always)]
    unsafe fn load_inputs(x: *const i8) -> Self::Inputs {
        let x = x.cast::<i32>();
        native!([
            vreinterpretq_s8_s32(vdupq_n_s32(x.read_unaligned())),
            vmvnq_s8(vreinterpretq_s8_s32(vdupq_n_s32(x.add(1).read_unaligned())))
        ])
    }
    #[inline(always)]
    fn dot(mut sums: Self::Sums, weights: Self::Weights, x: Self::Inputs) -> Self::Sums {
        for (i, sums) in sums.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let (first, second) =
                ([weights[2 * i], weights[2 * i + 1]], [weights[2 * i + 4], weights[2 * i + 5]]);
            dot_of_eight(sums, first, second, x);
        }
        sums
    }
    #[inline(never)]
    unsafe fn block<const MR: usize, const NV: usize>(
        x: [*const i8; MR],
        initial: &[Self::Sums; NV],
        weights: &WeightsAt,
    ) -> [[Self::Sums; NV]; MR] {
        // Half the weights at a time, since all weights, the inputs and the sums together don't fit into the
        // registers. Not inlined, so that the code behind it takes none of the registers.
        let mut sums = [*initial; MR];
        for step in 0..weights.steps {
            let mut inputs = [Self::no_inputs(); MR];
            for r in 0..MR {
                // SAFETY: `step` is below `steps`.
                inputs[r] = unsafe { Self::load_inputs(x[r].add(8 * step)) };
            }
            for v in 0..NV {
                // SAFETY: `step` is below `steps`, `v` below `NV`.
                let at = unsafe { weights.at.add(v * weights.panel_bytes + 128 * step) };
                for i in 0..2 {
                    let (first, second) = native!((
                        [vld1q_s8(at.add(32 * i)), vld1q_s8(at.add(32 * i + 16))],
                        [vld1q_s8(at.add(32 * i + 64)), vld1q_s8(at.add(32 * i + 80))]
                    ));
                    for r in 0..MR {
                        if let Some(sums) = sums[r][v].as_chunks_mut::<4>().0.get_mut(i) {
                            dot_of_eight(sums, first, second, inputs[r]);
                        }
                    }
                }
            }
        }
        sums
    }
    #[inline(always)]
    fn finish(sums: Self::Sums) -> I32x16 {
        let [a, b, c, d, e, f, g, h] = sums;
        native!(I32x16([vpaddq_s32(a, b), vpaddq_s32(c, d), vpaddq_s32(e, f), vpaddq_s32(g, h)]))
    }
    #[inline(always)]
    fn start_pairs() -> PairSums {
        start_pairs()
    }
    #[inline(always)]
    unsafe fn dot_pairs(sums: PairSums, x: *const i16, values: *const i16) -> PairSums {
        // SAFETY: as the caller promises.
        unsafe { dot_pairs(sums, x, values) }
    }
    #[inline(always)]
    fn finish_pairs(sums: PairSums) -> I32x16 {
        I32x16(sums)
    }
}

impl Products {
    #[inline(always)]
    fn no_inputs() -> [int8x16_t; 2] {
        native!([vdupq_n_s8(0); 2])
    }
}

/// Adds the products of eight outputs, with their weights of the first and of the second four inputs. Written
/// as assembly, since the compiler would compute all products of a block first and run out of registers.
#[inline(always)]
fn dot_of_eight(sums: &mut [int32x4_t; 4], first: [int8x16_t; 2], second: [int8x16_t; 2], x: [int8x16_t; 2]) {
    // SAFETY: instructions of the baseline, on registers alone.
    unsafe {
        asm!(
            "smull  {p:v}.8h, {a:v}.8b, {x:v}.8b",
            "smull2 {q:v}.8h, {a:v}.16b, {x:v}.16b",
            "smull  {r:v}.8h, {b:v}.8b, {x:v}.8b",
            "smull2 {s:v}.8h, {b:v}.16b, {x:v}.16b",
            "smlsl  {p:v}.8h, {c:v}.8b, {y:v}.8b",
            "smlsl2 {q:v}.8h, {c:v}.16b, {y:v}.16b",
            "smlsl  {r:v}.8h, {d:v}.8b, {y:v}.8b",
            "smlsl2 {s:v}.8h, {d:v}.16b, {y:v}.16b",
            "sadalp {t:v}.4s, {p:v}.8h",
            "sadalp {u:v}.4s, {q:v}.8h",
            "sadalp {v:v}.4s, {r:v}.8h",
            "sadalp {w:v}.4s, {s:v}.8h",
            a = in(vreg) first[0], b = in(vreg) first[1],
            c = in(vreg) second[0], d = in(vreg) second[1],
            x = in(vreg) x[0], y = in(vreg) x[1],
            t = inout(vreg) sums[0], u = inout(vreg) sums[1],
            v = inout(vreg) sums[2], w = inout(vreg) sums[3],
            p = out(vreg) _, q = out(vreg) _, r = out(vreg) _, s = out(vreg) _,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// Sums of sixteen columns of values; both tables use them.
pub(super) type PairSums = [int32x4_t; 4];

#[inline(always)]
pub(super) fn start_pairs() -> PairSums {
    native!([vdupq_n_s32(0); 4])
}

/// Adds `x[0]·v[2j] + x[1]·v[2j+1]` to the sum of each column j.
///
/// # Safety
/// Two i16 can be read at `x`, 32 at `values`.
#[inline(always)]
pub(super) unsafe fn dot_pairs(sums: PairSums, x: *const i16, values: *const i16) -> PairSums {
    native!(
        let x = vreinterpret_s16_s32(vdup_n_s32(x.cast::<i32>().read_unaligned()));
        let (low, high) = (vld2q_s16(values), vld2q_s16(values.add(16)));
        let [a, b, c, d] = sums;
        let a = vmlal_lane_s16::<0>(a, vget_low_s16(low.0), x);
        let b = vmlal_high_lane_s16::<0>(b, low.0, x);
        let c = vmlal_lane_s16::<0>(c, vget_low_s16(high.0), x);
        let d = vmlal_high_lane_s16::<0>(d, high.0, x);
        [
            vmlal_lane_s16::<1>(a, vget_low_s16(low.1), x),
            vmlal_high_lane_s16::<1>(b, low.1, x),
            vmlal_lane_s16::<1>(c, vget_low_s16(high.1), x),
            vmlal_high_lane_s16::<1>(d, high.1, x),
        ]
    )
}
