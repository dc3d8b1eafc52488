//! AVX-512 with VNNI: VPDPBUSD multiplies four bytes in each of sixteen lanes. Dot products of bytes, the
//! block of the matrix product, and the table.

#![allow(clippy::needless_range_loop, reason = "loops over constants, which are unrolled whole")]

use core::arch::x86_64::*;

use half::f16;

use super::avx512::{native, F32x16, I32x16};
use crate::kernels::spec;
use crate::kernels::vector::table::vector_table;
use crate::kernels::vector::{block, Dot, FirstBlock, Ints, WeightsAt};

vector_table!(spec::AVX512_VNNI, "avx512f,avx512bw,avx512vl,avx512vnni,avx2,f16c", F32x16, Vnni,
    rows spec::AVX512_ROWS, panels 4);

/// VPDPBUSD multiplies unsigned bytes by signed ones, so inputs are kept with 128 added.
pub(in crate::kernels::x86) struct Vnni;

impl Dot for Vnni {
    type Floats = F32x16;
    type Sums = __m512i;
    type Weights = __m512i;
    type Inputs = __m512i;
    type PairSums = __m512i;
    const GROUPS: usize = 1;
    const INPUT_FLIP: i8 = spec::AVX512_FLIP;

    #[inline(always)]
    fn start() -> __m512i {
        native!(_mm512_setzero_si512())
    }
    #[inline(always)]
    unsafe fn initial_sums(panel: *const i8, steps: usize) -> __m512i {
        native!(
            let (ones, mut sums) = (_mm512_set1_epi8(1), [_mm512_setzero_si512(); 2]);
            for step in 0..steps {
                let weights = _mm512_loadu_si512(panel.add(step * 64).cast());
                sums[step % 2] = _mm512_dpbusd_epi32(sums[step % 2], ones, weights);
            }
            let sum = _mm512_add_epi32(sums[0], sums[1]);
            _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32::<7>(sum))
        )
    }
    #[inline(always)]
    fn initial_from_ints(initial: &[i32]) -> Option<__m512i> {
        initial.first_chunk().map(|initial| I32x16::load(initial).0)
    }
    #[inline(always)]
    fn initial_to_ints(sums: __m512i, initial: &mut [i32]) {
        if let Some(initial) = initial.first_chunk_mut() {
            I32x16(sums).store(initial);
        }
    }
    const INITIAL_INTS: usize = spec::AVX512_INITIAL_INTS;
    #[inline(always)]
    unsafe fn load_weights(group: *const i8) -> __m512i {
        native!(_mm512_loadu_si512(group.cast()))
    }
    #[inline(always)]
    unsafe fn load_inputs(x: *const i8) -> __m512i {
        native!(_mm512_set1_epi32(x.cast::<i32>().read_unaligned()))
    }
    #[inline(always)]
    fn dot(sums: __m512i, weights: __m512i, x: __m512i) -> __m512i {
        native!(_mm512_dpbusd_epi32(sums, x, weights))
    }
    #[inline(always)]
    unsafe fn block<const MR: usize, const NV: usize>(
        x: [*const i8; MR],
        initial: &[__m512i; NV],
        weights: &WeightsAt,
    ) -> [[__m512i; NV]; MR] {
        match (x.first_chunk(), initial.first_chunk()) {
            (Some(rows), Some(starts)) if MR == ROWS && NV == PANELS => {
                // SAFETY: as the caller promises.
                resized(unsafe { whole_block(*rows, starts, weights) })
            }
            // SAFETY: as the caller promises.
            _ => unsafe { block::<Self, MR, NV>(x, initial, weights) },
        }
    }
    #[inline(always)]
    unsafe fn first_block<const MR: usize, const NV: usize>(
        x: [*const i8; MR],
        weights: &WeightsAt,
    ) -> Option<FirstBlock<Self, MR, NV>> {
        let rows = x.first_chunk().filter(|_| MR == ROWS && NV == PANELS)?;
        // A row of ones takes the place of the last row; its products are the sums of the weights.
        // SAFETY: as the caller promises.
        let mut sums = resized(unsafe { first_whole_block(*rows, weights) });
        let mut initial = [Self::start(); NV];
        for v in 0..NV {
            native!(
                let times_128 = _mm512_slli_epi32::<7>(sums[MR - 1][v]);
                initial[v] = _mm512_sub_epi32(_mm512_setzero_si512(), times_128);
            );
            for r in 0..MR - 1 {
                native!(sums[r][v] = _mm512_add_epi32(sums[r][v], initial[v]));
            }
        }
        Some(FirstBlock { initial, sums })
    }
    #[inline(always)]
    fn finish(sums: __m512i) -> I32x16 {
        I32x16(sums)
    }
    #[inline(always)]
    fn start_pairs() -> __m512i {
        Self::start()
    }
    #[inline(always)]
    unsafe fn dot_pairs(sums: __m512i, x: *const i16, values: *const i16) -> __m512i {
        native!(_mm512_dpwssd_epi32(
            sums,
            _mm512_loadu_si512(values.cast()),
            _mm512_set1_epi32(x.cast::<i32>().read_unaligned())
        ))
    }
    #[inline(always)]
    fn finish_pairs(sums: __m512i) -> I32x16 {
        I32x16(sums)
    }
}

/// The same sums in an array of the generic shape, which equals `[PANELS; ROWS]` wherever this is called.
#[inline(always)]
fn resized<const MR: usize, const NV: usize>(whole: [[__m512i; PANELS]; ROWS]) -> [[__m512i; NV]; MR] {
    let mut sums = [[Vnni::start(); NV]; MR];
    for r in 0..MR {
        for v in 0..NV {
            sums[r][v] = whole[r][v];
        }
    }
    sums
}

/// Rows and panels of the block that fills the registers.
const ROWS: usize = spec::AVX512_ROWS;
const PANELS: usize = 4;

/// The loop of a block of 6 rows times 4 panels, with its sums in 24 registers. It is assembly because the
/// compiler would move the sums about. `$last` loads the last row's inputs.
macro_rules! whole_block {
    ($x:expr, $initial:expr, $w:expr, $sums:ident, $last:literal) => {
        core::arch::asm!(
            "vmovdqu64 zmm8, zmmword ptr [{initial} + 0]",
            "vmovdqu64 zmm9, zmmword ptr [{initial} + 64]",
            "vmovdqu64 zmm10, zmmword ptr [{initial} + 128]",
            "vmovdqu64 zmm11, zmmword ptr [{initial} + 192]",
            "vmovdqa64 zmm12, zmm8",
            "vmovdqa64 zmm13, zmm9",
            "vmovdqa64 zmm14, zmm10",
            "vmovdqa64 zmm15, zmm11",
            "vmovdqa64 zmm16, zmm8",
            "vmovdqa64 zmm17, zmm9",
            "vmovdqa64 zmm18, zmm10",
            "vmovdqa64 zmm19, zmm11",
            "vmovdqa64 zmm20, zmm8",
            "vmovdqa64 zmm21, zmm9",
            "vmovdqa64 zmm22, zmm10",
            "vmovdqa64 zmm23, zmm11",
            "vmovdqa64 zmm24, zmm8",
            "vmovdqa64 zmm25, zmm9",
            "vmovdqa64 zmm26, zmm10",
            "vmovdqa64 zmm27, zmm11",
            "vmovdqa64 zmm28, zmm8",
            "vmovdqa64 zmm29, zmm9",
            "vmovdqa64 zmm30, zmm10",
            "vmovdqa64 zmm31, zmm11",
            "2:",
            "vmovdqu64 zmm0, zmmword ptr [{w}]",
            "vmovdqu64 zmm1, zmmword ptr [{w} + {panel}]",
            "vmovdqu64 zmm2, zmmword ptr [{w} + 2*{panel}]",
            "vmovdqu64 zmm3, zmmword ptr [{w} + {panels3}]",
            "add {w}, 64",
            "vpbroadcastd zmm4, dword ptr [{x0} + 4*{step}]",
            "vpdpbusd zmm8, zmm4, zmm0",
            "vpdpbusd zmm9, zmm4, zmm1",
            "vpdpbusd zmm10, zmm4, zmm2",
            "vpdpbusd zmm11, zmm4, zmm3",
            "vpbroadcastd zmm4, dword ptr [{x1} + 4*{step}]",
            "vpdpbusd zmm12, zmm4, zmm0",
            "vpdpbusd zmm13, zmm4, zmm1",
            "vpdpbusd zmm14, zmm4, zmm2",
            "vpdpbusd zmm15, zmm4, zmm3",
            "vpbroadcastd zmm4, dword ptr [{x2} + 4*{step}]",
            "vpdpbusd zmm16, zmm4, zmm0",
            "vpdpbusd zmm17, zmm4, zmm1",
            "vpdpbusd zmm18, zmm4, zmm2",
            "vpdpbusd zmm19, zmm4, zmm3",
            "vpbroadcastd zmm4, dword ptr [{x3} + 4*{step}]",
            "vpdpbusd zmm20, zmm4, zmm0",
            "vpdpbusd zmm21, zmm4, zmm1",
            "vpdpbusd zmm22, zmm4, zmm2",
            "vpdpbusd zmm23, zmm4, zmm3",
            "vpbroadcastd zmm4, dword ptr [{x4} + 4*{step}]",
            "vpdpbusd zmm24, zmm4, zmm0",
            "vpdpbusd zmm25, zmm4, zmm1",
            "vpdpbusd zmm26, zmm4, zmm2",
            "vpdpbusd zmm27, zmm4, zmm3",
            $last,
            "vpdpbusd zmm28, zmm4, zmm0",
            "vpdpbusd zmm29, zmm4, zmm1",
            "vpdpbusd zmm30, zmm4, zmm2",
            "vpdpbusd zmm31, zmm4, zmm3",
            "inc {step}",
            "jnz 2b",
            w = inout(reg) $w.at => _,
            step = inout(reg) -($w.steps as isize) => _,
            panel = in(reg) $w.panel_bytes,
            panels3 = in(reg) 3 * $w.panel_bytes,
            initial = in(reg) $initial.as_ptr(),
            x0 = in(reg) $x[0],
            x1 = in(reg) $x[1],
            x2 = in(reg) $x[2],
            x3 = in(reg) $x[3],
            x4 = in(reg) $x[4],
            x5 = in(reg) $x[5],
            lateout("zmm8") $sums[0][0], lateout("zmm9") $sums[0][1],
            lateout("zmm10") $sums[0][2], lateout("zmm11") $sums[0][3],
            lateout("zmm12") $sums[1][0], lateout("zmm13") $sums[1][1],
            lateout("zmm14") $sums[1][2], lateout("zmm15") $sums[1][3],
            lateout("zmm16") $sums[2][0], lateout("zmm17") $sums[2][1],
            lateout("zmm18") $sums[2][2], lateout("zmm19") $sums[2][3],
            lateout("zmm20") $sums[3][0], lateout("zmm21") $sums[3][1],
            lateout("zmm22") $sums[3][2], lateout("zmm23") $sums[3][3],
            lateout("zmm24") $sums[4][0], lateout("zmm25") $sums[4][1],
            lateout("zmm26") $sums[4][2], lateout("zmm27") $sums[4][3],
            lateout("zmm28") $sums[5][0], lateout("zmm29") $sums[5][1],
            lateout("zmm30") $sums[5][2], lateout("zmm31") $sums[5][3],
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _,
            options(nostack, readonly),
        )
    };
}

/// See [`Dot::block`].
///
/// # Safety
/// As for that.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn whole_block(
    x: [*const i8; ROWS],
    initial: &[__m512i; PANELS],
    w: &WeightsAt,
) -> [[__m512i; PANELS]; ROWS] {
    let mut sums = [*initial; ROWS];
    if w.steps > 0 {
        // Addresses count from the rows' ends, so that one register is index and counter.
        let x = x.map(|x| x.wrapping_add(4 * w.steps));
        // SAFETY: reads what the caller promises: `steps` groups of inputs and weights. Writes only the
        // registers that are named.
        unsafe { whole_block!(x, initial, w, sums, "vpbroadcastd zmm4, dword ptr [{x5} + 4*{step}]") };
    }
    sums
}

/// See [`Dot::first_block`]: ones take the place of the last row.
///
/// # Safety
/// As for that.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn first_whole_block(x: [*const i8; ROWS], w: &WeightsAt) -> [[__m512i; PANELS]; ROWS] {
    let zeros = [Vnni::start(); PANELS];
    let mut sums = [zeros; ROWS];
    if w.steps > 0 {
        let mut x = x.map(|x| x.wrapping_add(4 * w.steps));
        let ones = [1i8; 4];
        x[ROWS - 1] = ones.as_ptr();
        // SAFETY: as above; the ones are four bytes.
        unsafe { whole_block!(x, zeros, w, sums, "vpbroadcastd zmm4, dword ptr [{x5}]") };
    }
    sums
}
