//! Dot products of bytes by AVX-512 VNNI, and the block of the matrix product.

use core::arch::x86_64::*;

use super::avx512::{native, F32x16, I32x16};
use crate::kernels::spec;
use crate::kernels::vector::{block, Dot, WeightsAt, LANES};

/// The sum of each register's lanes, in the order of the registers: a transposition that adds.
#[inline(always)]
fn sum_each(x: [__m512i; LANES]) -> __m512i {
    native!(
        // In each quarter of a register: of two registers in turn, then of four.
        let (mut twos, mut fours) = ([x[0]; 8], [x[0]; 4]);
        for i in 0..8 {
            let (a, b) = (x[2 * i], x[2 * i + 1]);
            twos[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        }
        for i in 0..4 {
            let (a, b) = (twos[2 * i], twos[2 * i + 1]);
            fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        }
        // The quarters themselves.
        let [a, b, c, d] = fours;
        let ab = _mm512_add_epi32(
            _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b),
        );
        let cd = _mm512_add_epi32(
            _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d),
        );
        _mm512_add_epi32(
            _mm512_shuffle_i32x4::<0b10_00_10_00>(ab, cd),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(ab, cd),
        )
    )
}

/// VPDPBUSD takes unsigned bytes times signed ones: weights become unsigned by adding 128.
pub(in crate::kernels::x86) struct Vnni;

impl Dot for Vnni {
    type Floats = F32x16;
    type Sums = __m512i;
    type Weights = __m512i;
    type Inputs = __m512i;
    type PairSums = __m512i;
    const GROUPS: usize = 1;
    const OFFSET: i32 = 128;

    #[inline(always)]
    fn start(value: i32) -> __m512i {
        native!(_mm512_set1_epi32(value))
    }
    #[inline(always)]
    fn sums(x: &[i8], pitch: usize) -> I32x16 {
        native!(
            let ones = _mm512_set1_epi8(1);
            let mut sums = [_mm512_setzero_si512(); LANES];
            for (sum, row) in sums.iter_mut().zip(x.chunks_exact(pitch)) {
                let (chunks, rest) = row.as_chunks::<64>();
                for chunk in chunks {
                    *sum = _mm512_dpbusd_epi32(*sum, ones, _mm512_loadu_si512(chunk.as_ptr().cast()));
                }
                if !rest.is_empty() {
                    let mask = (1u64 << rest.len()) - 1;
                    *sum = _mm512_dpbusd_epi32(*sum, ones, _mm512_maskz_loadu_epi8(mask, rest.as_ptr()));
                }
            }
            I32x16(sum_each(sums))
        )
    }
    #[inline(always)]
    unsafe fn load_weights(group: *const i8) -> __m512i {
        native!(_mm512_xor_si512(_mm512_loadu_si512(group.cast()), _mm512_set1_epi8(-128)))
    }
    #[inline(always)]
    unsafe fn load_inputs(x: *const i8) -> __m512i {
        native!(_mm512_set1_epi32(x.cast::<i32>().read_unaligned()))
    }
    #[inline(always)]
    fn dot(sums: __m512i, weights: __m512i, x: __m512i) -> __m512i {
        native!(_mm512_dpbusd_epi32(sums, weights, x))
    }
    #[inline(always)]
    unsafe fn block<const MR: usize, const NV: usize>(
        x: [*const i8; MR],
        begin: &[i32; MR],
        weights: &WeightsAt,
    ) -> [[__m512i; NV]; MR] {
        let (Some(rows), Some(starts)) = (x.first_chunk::<ROWS>(), begin.first_chunk::<ROWS>()) else {
            // SAFETY: as the caller promises.
            return unsafe { block::<Self, MR, NV>(x, begin, weights) };
        };
        if MR != ROWS || NV != PANELS {
            // SAFETY: as the caller promises.
            return unsafe { block::<Self, MR, NV>(x, begin, weights) };
        }
        // SAFETY: as the caller promises.
        let whole = unsafe { whole_block(*rows, starts, weights) };
        let mut sums = [[Self::start(0); NV]; MR];
        for r in 0..MR {
            for v in 0..NV {
                sums[r][v] = whole[r][v];
            }
        }
        sums
    }
    #[inline(always)]
    fn finish(sums: __m512i) -> I32x16 {
        I32x16(sums)
    }
    #[inline(always)]
    fn start_pairs() -> __m512i {
        Self::start(0)
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

/// Rows and panels of the block that fills the registers.
const ROWS: usize = spec::AVX512_ROWS;
const PANELS: usize = 4;

/// See [`Dot::block`]: 6 rows times 4 panels, sums in 24 registers, which the compiler would move about.
///
/// # Safety
/// As for [`Dot::block`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn whole_block(x: [*const i8; ROWS], begin: &[i32; ROWS], w: &WeightsAt) -> [[__m512i; PANELS]; ROWS] {
    let mut sums = [[Vnni::start(0); PANELS]; ROWS];
    if w.steps == 0 {
        return sums;
    }
    // Counted from the rows' ends on, so that one register is index and counter.
    let [x0, x1, x2, x3, x4, x5] = x.map(|x| x.wrapping_add(4 * w.steps));
    // SAFETY: reads what the caller promises: `steps` groups of inputs and weights. Writes only the registers that are named.
    unsafe {
        core::arch::asm!(
            "vpbroadcastd zmm8, dword ptr [{begin} + 0]",
            "vmovdqa64 zmm9, zmm8",
            "vmovdqa64 zmm10, zmm8",
            "vmovdqa64 zmm11, zmm8",
            "vpbroadcastd zmm12, dword ptr [{begin} + 4]",
            "vmovdqa64 zmm13, zmm12",
            "vmovdqa64 zmm14, zmm12",
            "vmovdqa64 zmm15, zmm12",
            "vpbroadcastd zmm16, dword ptr [{begin} + 8]",
            "vmovdqa64 zmm17, zmm16",
            "vmovdqa64 zmm18, zmm16",
            "vmovdqa64 zmm19, zmm16",
            "vpbroadcastd zmm20, dword ptr [{begin} + 12]",
            "vmovdqa64 zmm21, zmm20",
            "vmovdqa64 zmm22, zmm20",
            "vmovdqa64 zmm23, zmm20",
            "vpbroadcastd zmm24, dword ptr [{begin} + 16]",
            "vmovdqa64 zmm25, zmm24",
            "vmovdqa64 zmm26, zmm24",
            "vmovdqa64 zmm27, zmm24",
            "vpbroadcastd zmm28, dword ptr [{begin} + 20]",
            "vmovdqa64 zmm29, zmm28",
            "vmovdqa64 zmm30, zmm28",
            "vmovdqa64 zmm31, zmm28",
            "vpbroadcastd zmm4, {offset:e}",
            "2:",
            "vpxord zmm0, zmm4, zmmword ptr [{w}]",
            "vpxord zmm1, zmm4, zmmword ptr [{w} + {panel}]",
            "vpxord zmm2, zmm4, zmmword ptr [{w} + 2*{panel}]",
            "vpxord zmm3, zmm4, zmmword ptr [{w} + {panels3}]",
            "add {w}, 64",
            "vpbroadcastd zmm5, dword ptr [{x0} + 4*{step}]",
            "vpdpbusd zmm8, zmm0, zmm5",
            "vpdpbusd zmm9, zmm1, zmm5",
            "vpdpbusd zmm10, zmm2, zmm5",
            "vpdpbusd zmm11, zmm3, zmm5",
            "vpbroadcastd zmm5, dword ptr [{x1} + 4*{step}]",
            "vpdpbusd zmm12, zmm0, zmm5",
            "vpdpbusd zmm13, zmm1, zmm5",
            "vpdpbusd zmm14, zmm2, zmm5",
            "vpdpbusd zmm15, zmm3, zmm5",
            "vpbroadcastd zmm5, dword ptr [{x2} + 4*{step}]",
            "vpdpbusd zmm16, zmm0, zmm5",
            "vpdpbusd zmm17, zmm1, zmm5",
            "vpdpbusd zmm18, zmm2, zmm5",
            "vpdpbusd zmm19, zmm3, zmm5",
            "vpbroadcastd zmm5, dword ptr [{x3} + 4*{step}]",
            "vpdpbusd zmm20, zmm0, zmm5",
            "vpdpbusd zmm21, zmm1, zmm5",
            "vpdpbusd zmm22, zmm2, zmm5",
            "vpdpbusd zmm23, zmm3, zmm5",
            "vpbroadcastd zmm5, dword ptr [{x4} + 4*{step}]",
            "vpdpbusd zmm24, zmm0, zmm5",
            "vpdpbusd zmm25, zmm1, zmm5",
            "vpdpbusd zmm26, zmm2, zmm5",
            "vpdpbusd zmm27, zmm3, zmm5",
            "vpbroadcastd zmm5, dword ptr [{x5} + 4*{step}]",
            "vpdpbusd zmm28, zmm0, zmm5",
            "vpdpbusd zmm29, zmm1, zmm5",
            "vpdpbusd zmm30, zmm2, zmm5",
            "vpdpbusd zmm31, zmm3, zmm5",
            "inc {step}",
            "jnz 2b",
            w = inout(reg) w.at => _,
            step = inout(reg) -(w.steps as isize) => _,
            panel = in(reg) w.panel_bytes,
            panels3 = in(reg) 3 * w.panel_bytes,
            begin = in(reg) begin.as_ptr(),
            offset = in(reg) 0x8080_8080u32,
            x0 = in(reg) x0,
            x1 = in(reg) x1,
            x2 = in(reg) x2,
            x3 = in(reg) x3,
            x4 = in(reg) x4,
            x5 = in(reg) x5,
            lateout("zmm8") sums[0][0], lateout("zmm9") sums[0][1], lateout("zmm10") sums[0][2], lateout("zmm11") sums[0][3],
            lateout("zmm12") sums[1][0], lateout("zmm13") sums[1][1], lateout("zmm14") sums[1][2], lateout("zmm15") sums[1][3],
            lateout("zmm16") sums[2][0], lateout("zmm17") sums[2][1], lateout("zmm18") sums[2][2], lateout("zmm19") sums[2][3],
            lateout("zmm20") sums[3][0], lateout("zmm21") sums[3][1], lateout("zmm22") sums[3][2], lateout("zmm23") sums[3][3],
            lateout("zmm24") sums[4][0], lateout("zmm25") sums[4][1], lateout("zmm26") sums[4][2], lateout("zmm27") sums[4][3],
            lateout("zmm28") sums[5][0], lateout("zmm29") sums[5][1], lateout("zmm30") sums[5][2], lateout("zmm31") sums[5][3],
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
            options(nostack, readonly),
        );
    }
    sums
}
