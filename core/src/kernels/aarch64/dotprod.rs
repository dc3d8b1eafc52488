//! NEON with SDOT, which adds the products of four bytes each to four 32-bit sums.

use core::arch::aarch64::*;
use core::arch::asm;

use half::f16;

use super::lanes::{native, F32x16, I32x16};
use super::neon::{dot_pairs, start_pairs, PairSums};
use crate::kernels::spec;
use crate::kernels::vector::table::vector_table;
use crate::kernels::vector::Dot;

vector_table!(spec::NEON_DOTPROD, "neon,dotprod", F32x16, Sdot, rows spec::NEON_DOTPROD_ROWS, panels 1);

/// `sums + Σ weights·x`, where x is the group of four input bytes with number `$lane`. (The compiler's own
/// function for it is unstable.)
macro_rules! sdot {
    ($sums:expr, $weights:expr, $x:expr, $lane:literal) => {{
        let mut sums: int32x4_t = $sums;
        // SAFETY: inlined into functions that enable the instruction, which works on registers alone.
        unsafe {
            asm!(
                concat!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[", $lane, "]"),
                inout(vreg) sums, in(vreg) $weights, in(vreg) $x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }};
}

/// Dot products of four bytes.
pub(in crate::kernels) struct Sdot;

impl Dot for Sdot {
    type Floats = F32x16;
    type Sums = [int32x4_t; 4];
    type Weights = [int8x16_t; 8];
    type Inputs = int8x8_t;
    type PairSums = PairSums;
    const GROUPS: usize = 2;

    #[inline(always)]
    fn start() -> Self::Sums {
        native!([vdupq_n_s32(0); 4])
    }
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
    unsafe fn load_inputs(x: *const i8) -> int8x8_t {
        native!(vld1_s8(x))
    }
    #[inline(always)]
    fn dot(sums: Self::Sums, w: Self::Weights, x: int8x8_t) -> Self::Sums {
        let [a, b, c, d] = sums;
        let a = sdot!(a, w[0], x, 0);
        let b = sdot!(b, w[1], x, 0);
        let c = sdot!(c, w[2], x, 0);
        let d = sdot!(d, w[3], x, 0);
        [sdot!(a, w[4], x, 1), sdot!(b, w[5], x, 1), sdot!(c, w[6], x, 1), sdot!(d, w[7], x, 1)]
    }
    #[inline(always)]
    fn finish(sums: Self::Sums) -> I32x16 {
        I32x16(sums)
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
