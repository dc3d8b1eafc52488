//! AVX-512: sixteen lanes are one register.

use core::arch::x86_64::*;
use core::ops::{Add, Div, Mul, Sub};

use half::f16;

use crate::kernels::vector::{Floats, Ints, LANES};

use crate::math::{exp2_of_fractions, GateTable, Lane, GATE_STEPS, GATE_ZERO, PIECE_STEPS};

/// Instructions of this table.
macro_rules! native {
    ($($body:tt)*) => {
        // SAFETY: inlined into functions that enable the features; memory is reached through references and
        // masks of their lengths only.
        unsafe { $($body)* }
    };
}

/// To the nearest number, ties to even, without an exception.
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Sixteen f32.
#[derive(Clone, Copy)]
pub(super) struct F32x16(__m512);

pub(super) use native;

/// Sixteen i32.
#[derive(Clone, Copy)]
pub(super) struct I32x16(pub(super) __m512i);

macro_rules! operator {
    ($trait:ident, $function:ident, $instruction:ident) => {
        impl $trait for F32x16 {
            type Output = Self;
            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                native!(Self($instruction(self.0, other.0)))
            }
        }
    };
}
operator!(Add, add, _mm512_add_ps);
operator!(Sub, sub, _mm512_sub_ps);
operator!(Mul, mul, _mm512_mul_ps);
operator!(Div, div, _mm512_div_ps);

impl Lane for F32x16 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        native!(Self(_mm512_set1_ps(value)))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        native!(Self(_mm512_max_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        native!(Self(_mm512_min_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn exp2_of_magic(self) -> Self {
        native!(Self(_mm512_castsi512_ps(_mm512_add_epi32(
            _mm512_slli_epi32::<23>(_mm512_castps_si512(self.0)),
            _mm512_set1_epi32(127 << 23)
        ))))
    }
    #[inline(always)]
    fn gate(self, table: &GateTable) -> Self {
        let [gate] = F32x16::gate_of_each([self], table);
        gate
    }
}

/// One coefficient of the polynomial that each lane's piece selects.
#[inline(always)]
fn coefficient(of_pieces: &[f32; 2 * LANES], piece: I32x16) -> F32x16 {
    let (low, high) = (of_pieces.as_ptr(), of_pieces[LANES..].as_ptr());
    native!(F32x16(_mm512_permutex2var_ps(_mm512_loadu_ps(low), piece.0, _mm512_loadu_ps(high))))
}

/// Mask of the first `count` lanes.
#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

impl Floats for F32x16 {
    type Ints = I32x16;

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        native!(Self(_mm512_loadu_ps(x.as_ptr())))
    }
    #[inline(always)]
    fn load_first(x: &[f32]) -> Self {
        native!(Self(_mm512_maskz_loadu_ps(mask(x.len()), x.as_ptr())))
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        native!(_mm512_storeu_ps(out.as_mut_ptr(), self.0));
    }
    #[inline(always)]
    fn store_first(self, out: &mut [f32]) {
        native!(_mm512_mask_storeu_ps(out.as_mut_ptr(), mask(out.len()), self.0));
    }
    #[inline(always)]
    fn load_f16(x: &[f16; LANES]) -> Self {
        native!(Self(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast()))))
    }
    #[inline(always)]
    fn load_f16_first(x: &[f16]) -> Self {
        native!(Self(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(x.len()), x.as_ptr().cast()))))
    }
    #[inline(always)]
    fn store_bounded_f16(self, out: &mut [f16; LANES]) {
        native!(_mm256_storeu_si256(out.as_mut_ptr().cast(), self.to_f16()));
    }
    #[inline(always)]
    fn store_bounded_f16_first(self, out: &mut [f16]) {
        native!(_mm256_mask_storeu_epi16(out.as_mut_ptr().cast(), mask(out.len()), self.to_f16()));
    }
    #[inline(always)]
    fn abs(self) -> Self {
        native!(Self(_mm512_abs_ps(self.0)))
    }
    #[inline(always)]
    fn first(self, count: usize, rest: Self) -> Self {
        native!(Self(_mm512_mask_blend_ps(mask(count), rest.0, self.0)))
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        native!(_mm512_reduce_max_ps(self.0))
    }
    const SCALES_IN_GROUPS: bool = true;
    #[inline(always)]
    fn largest_of_each(x: &[Self; LANES]) -> Self {
        native!(
            // A transposition that takes the larger numbers on its way. First within the quarters of each
            // register: two registers become one, then four become one.
            let (mut twos, mut fours) = ([x[0].0; 8], [x[0].0; 4]);
            for i in 0..8 {
                let (a, b) = (x[2 * i].0, x[2 * i + 1].0);
                twos[i] = _mm512_max_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            }
            for i in 0..4 {
                let (a, b) = (_mm512_castps_pd(twos[2 * i]), _mm512_castps_pd(twos[2 * i + 1]));
                let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
                fours[i] = _mm512_max_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
            }
            // Then across the quarters.
            let [a, b, c, d] = fours;
            let ab = _mm512_max_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
            );
            let cd = _mm512_max_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d),
            );
            Self(_mm512_max_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            ))
        )
    }
    #[inline(always)]
    fn canonical_sum(self) -> f32 {
        native!(
            let low = _mm512_castps512_ps256(self.0);
            let high = _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b11_10_11_10>(self.0, self.0));
            let c = _mm256_add_ps(low, high);
            let d = _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps::<1>(c));
            let e = _mm_add_ps(d, _mm_movehl_ps(d, d));
            _mm_cvtss_f32(_mm_add_ss(e, _mm_movehdup_ps(e)))
        )
    }
    #[inline(always)]
    fn canonical_sum_of_each(x: &[Self; LANES], _: usize) -> Self {
        native!(
            // Each step adds halves: first the halves of two vectors, then the quarters of four, the pairs of
            // eight, the lanes of sixteen.
            let (mut eights, mut fours, mut twos) = ([x[0].0; 8], [x[0].0; 4], [x[0].0; 2]);
            for (i, sum) in eights.iter_mut().enumerate() {
                // The last two steps transpose four by four; this order of the vectors undoes it.
                let [a, b] = [2 * i, 2 * i + 1].map(|i| x[4 * (i % 4) + i / 4].0);
                let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
                *sum = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b));
            }
            for i in 0..4 {
                let (a, b) = (eights[2 * i], eights[2 * i + 1]);
                let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                fours[i] = _mm512_add_ps(even, _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
            }
            for i in 0..2 {
                let (a, b) = (_mm512_castps_pd(fours[2 * i]), _mm512_castps_pd(fours[2 * i + 1]));
                let low = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                twos[i] = _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
            }
            let even = _mm512_shuffle_ps::<0b10_00_10_00>(twos[0], twos[1]);
            Self(_mm512_add_ps(even, _mm512_shuffle_ps::<0b11_01_11_01>(twos[0], twos[1])))
        )
    }
    #[inline(always)]
    fn round(self) -> I32x16 {
        native!(I32x16(_mm512_cvtps_epi32(self.0)))
    }
    #[inline(always)]
    fn from_ints(ints: I32x16) -> Self {
        native!(Self(_mm512_cvtepi32_ps(ints.0)))
    }
    const SEPARATE_GATES: bool = true;
    #[inline(always)]
    fn gate_of_each<const N: usize>(x: [Self; N], table: &GateTable) -> [Self; N] {
        // Computing is faster than looking up: a gather takes twice as long, a table in sixteen registers a
        // third more. Each step runs for all vectors before the next, as in `exp2_of_each`.
        let (mut entry, mut piece, mut u, mut gate) = ([I32x16::splat(0); N], [I32x16::splat(0); N], x, x);
        for i in 0..N {
            let steps = x[i] * Self::splat(GATE_STEPS);
            let steps = steps.max(Self::splat(-(GATE_ZERO as f32))).min(Self::splat(GATE_ZERO as f32 - 1.0));
            native!(
                entry[i] = I32x16(_mm512_cvttps_epi32(steps.0));
                piece[i] = I32x16(_mm512_srli_epi32::<{ PIECE_STEPS.ilog2() }>(entry[i].0));
                let within = _mm512_and_si512(entry[i].0, _mm512_set1_epi32(PIECE_STEPS as i32 - 1));
                u[i] = Self(_mm512_cvtepi32_ps(within));
            );
        }
        let [lower @ .., highest] = table.pieces();
        for i in 0..N {
            gate[i] = coefficient(highest, piece[i]);
        }
        for coefficients in lower.iter().rev() {
            for i in 0..N {
                native!(
                    gate[i] = Self(_mm512_fmadd_ps(gate[i].0, u[i].0, coefficient(coefficients, piece[i]).0))
                );
            }
        }
        for i in 0..N {
            native!(
                // The entries of −512 and of 0 are not on the polynomial: they are 0 and ½, the bits of ½
                // that the number itself lacks.
                let special = _mm512_testn_epi32_mask(entry[i].0, _mm512_set1_epi32(GATE_ZERO as i32 - 1));
                let half = _mm512_set1_epi32(0.5f32.to_bits() as i32);
                let bits = _mm512_castps_si512(gate[i].0);
                let bits = _mm512_mask_andnot_epi32(bits, special, entry[i].0, half);
                gate[i] = Self(_mm512_cvtph_ps(Self(_mm512_castsi512_ps(bits)).to_f16()));
            );
        }
        gate
    }
    #[inline(always)]
    fn exp2_of_each<const N: usize>(x: [Self; N]) -> [Self; N] {
        // Each step runs for all vectors before the next: one vector after the other takes a quarter longer.
        let (mut whole, mut fraction) = (x, x);
        for i in 0..N {
            let x = x[i].max(Self::splat(-126.0));
            native!(whole[i] = Self(_mm512_roundscale_ps::<NEAREST>(x.0)));
            fraction[i] = x - whole[i];
        }
        let mut power = exp2_of_fractions(fraction);
        for i in 0..N {
            native!(power[i] = Self(_mm512_scalef_ps(power[i].0, whole[i].0)));
        }
        power
    }
}

impl F32x16 {
    #[inline(always)]
    fn to_f16(self) -> __m256i {
        native!(_mm512_cvtps_ph::<NEAREST>(self.0))
    }
}

impl Ints for I32x16 {
    #[inline(always)]
    fn splat(value: i32) -> Self {
        native!(Self(_mm512_set1_epi32(value)))
    }
    #[inline(always)]
    fn load(x: &[i32; LANES]) -> Self {
        native!(Self(_mm512_loadu_si512(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_first(x: &[i32]) -> Self {
        native!(Self(_mm512_maskz_loadu_epi32(mask(x.len()), x.as_ptr())))
    }
    #[inline(always)]
    fn store(self, out: &mut [i32; LANES]) {
        native!(_mm512_storeu_si512(out.as_mut_ptr().cast(), self.0));
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        native!(Self(_mm512_add_epi32(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        native!(Self(_mm512_sub_epi32(self.0, other.0)))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        native!(Self(_mm512_mullo_epi32(self.0, other.0)))
    }
    #[inline(always)]
    fn sum(self) -> i32 {
        native!(_mm512_reduce_add_epi32(self.0))
    }
    #[inline(always)]
    fn to_i8(self) -> [i8; LANES] {
        native!(core::mem::transmute::<__m128i, [i8; LANES]>(_mm512_cvtepi32_epi8(self.0)))
    }
    #[inline(always)]
    fn four_to_i8(codes: [Self; 4]) -> [i8; 4 * LANES] {
        let [a, b, c, d] = codes;
        native!(
            // Packing leaves four codes of each vector in every quarter; the permutation sorts them.
            let bytes = _mm512_packs_epi16(_mm512_packs_epi32(a.0, b.0), _mm512_packs_epi32(c.0, d.0));
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            core::mem::transmute::<__m512i, [i8; 4 * LANES]>(_mm512_permutexvar_epi32(order, bytes))
        )
    }
    #[inline(always)]
    fn store_i16(self, out: &mut [i16; LANES]) {
        native!(_mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(self.0)));
    }
    #[inline(always)]
    fn pair(self, high: Self) -> Self {
        native!(Self(_mm512_or_si512(
            _mm512_and_si512(self.0, _mm512_set1_epi32(0xffff)),
            _mm512_slli_epi32::<16>(high.0)
        )))
    }
}
