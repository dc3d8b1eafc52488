//! AVX2 with F16C: sixteen lanes are two registers. Bytes are widened to 16 bits, and VPMADDWD multiplies and
//! adds pairs of them exactly. VPMADDUBSW would take bytes, but saturates.

use core::arch::x86_64::*;
use core::ops::{Add, Div, Mul, Sub};

use half::f16;

use crate::kernels::spec;
use crate::kernels::vector::table::vector_table;
use crate::kernels::vector::{Dot, Floats, Ints, LANES};
use crate::math::{GateTable, Lane, GATE_STEPS, GATE_ZERO, MAGIC};

vector_table!(spec::AVX2, "avx2,f16c", F32x16, Widened, rows spec::AVX2_ROWS, panels 1);

/// Instructions of this table.
macro_rules! native {
    ($($body:tt)*) => {
        // SAFETY: inlined into functions that enable the features; memory is reached through references to
        // arrays only.
        unsafe { $($body)* }
    };
}

/// Sixteen f32.
#[derive(Clone, Copy)]
pub(super) struct F32x16([__m256; 2]);

/// Sixteen i32.
#[derive(Clone, Copy)]
pub(super) struct I32x16([__m256i; 2]);

macro_rules! operator {
    ($trait:ident, $function:ident, $instruction:ident) => {
        impl $trait for F32x16 {
            type Output = Self;
            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                native!(Self([$instruction(self.0[0], other.0[0]), $instruction(self.0[1], other.0[1])]))
            }
        }
    };
}
operator!(Add, add, _mm256_add_ps);
operator!(Sub, sub, _mm256_sub_ps);
operator!(Mul, mul, _mm256_mul_ps);
operator!(Div, div, _mm256_div_ps);

impl Lane for F32x16 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        native!(Self([_mm256_set1_ps(value); 2]))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        native!(Self([_mm256_max_ps(self.0[0], other.0[0]), _mm256_max_ps(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        native!(Self([_mm256_min_ps(self.0[0], other.0[0]), _mm256_min_ps(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn exp2_of_magic(self) -> Self {
        native!(
            let bias = _mm256_set1_epi32(127 << 23);
            let low = _mm256_slli_epi32::<23>(_mm256_castps_si256(self.0[0]));
            let high = _mm256_slli_epi32::<23>(_mm256_castps_si256(self.0[1]));
            Self([
                _mm256_castsi256_ps(_mm256_add_epi32(low, bias)),
                _mm256_castsi256_ps(_mm256_add_epi32(high, bias)),
            ])
        )
    }
    #[inline(always)]
    fn gate(self, table: &GateTable) -> Self {
        Self([gate_half(self.0[0], table), gate_half(self.0[1], table)])
    }
}

/// [`Lane::gate`] of eight lanes. (A closure would not get the instruction set.)
#[inline(always)]
fn gate_half(x: __m256, table: &GateTable) -> __m256 {
    // A pointer to the whole table, not to its entries: loading the last entry also reads bytes behind it.
    let base = core::ptr::from_ref(table).cast::<i32>();
    let (least, most) = (-(GATE_ZERO as f32), GATE_ZERO as f32 - 1.0);
    native!(
        let x = _mm256_mul_ps(x, _mm256_set1_ps(GATE_STEPS));
        let x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(least)), _mm256_set1_ps(most));
        let entry = _mm256_add_epi32(_mm256_cvttps_epi32(x), _mm256_set1_epi32(GATE_ZERO as i32));
        let found = _mm256_and_si256(_mm256_i32gather_epi32::<2>(base, entry), _mm256_set1_epi32(0xffff));
        let halves = _mm_packus_epi32(_mm256_castsi256_si128(found), _mm256_extracti128_si256::<1>(found));
        _mm256_cvtph_ps(halves)
    )
}

/// A slice of at most sixteen elements with zeros behind it.
#[inline(always)]
fn pad<T: Copy + Default>(x: &[T]) -> [T; LANES] {
    let mut padded = [T::default(); LANES];
    padded.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
    padded
}

/// Copies as many of the sixteen elements as the slice takes.
#[inline(always)]
fn cut<T: Copy>(x: [T; LANES], out: &mut [T]) {
    out.iter_mut().zip(x).for_each(|(to, from)| *to = from);
}

impl Floats for F32x16 {
    type Ints = I32x16;

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        native!(Self([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))]))
    }
    #[inline(always)]
    fn load_first(x: &[f32]) -> Self {
        Self::load(&pad(x))
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        native!(
            _mm256_storeu_ps(out.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), self.0[1]);
        );
    }
    #[inline(always)]
    fn store_first(self, out: &mut [f32]) {
        let mut all = [0.0; LANES];
        self.store(&mut all);
        cut(all, out);
    }
    #[inline(always)]
    fn load_f16(x: &[f16; LANES]) -> Self {
        let x = x.as_ptr().cast::<__m128i>();
        native!(Self([_mm256_cvtph_ps(_mm_loadu_si128(x)), _mm256_cvtph_ps(_mm_loadu_si128(x.add(1)))]))
    }
    #[inline(always)]
    fn load_f16_first(x: &[f16]) -> Self {
        Self::load_f16(&pad(x))
    }
    #[inline(always)]
    fn store_bounded_f16(self, out: &mut [f16; LANES]) {
        let out = out.as_mut_ptr().cast::<__m128i>();
        native!(
            _mm_storeu_si128(out, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0[0]));
            _mm_storeu_si128(out.add(1), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0[1]));
        );
    }
    #[inline(always)]
    fn store_bounded_f16_first(self, out: &mut [f16]) {
        let mut all = [f16::ZERO; LANES];
        self.store_bounded_f16(&mut all);
        cut(all, out);
    }
    #[inline(always)]
    fn abs(self) -> Self {
        native!(
            let sign = _mm256_set1_ps(-0.0);
            Self([_mm256_andnot_ps(sign, self.0[0]), _mm256_andnot_ps(sign, self.0[1])])
        )
    }
    #[inline(always)]
    fn first(self, count: usize, rest: Self) -> Self {
        if count >= LANES {
            return self;
        }
        let (mut all, mut head) = ([0.0; LANES], [0.0; LANES]);
        rest.store(&mut all);
        self.store(&mut head);
        all.iter_mut().zip(head).take(count).for_each(|(to, from)| *to = from);
        Self::load(&all)
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        native!(
            let c = _mm256_max_ps(self.0[0], self.0[1]);
            let d = _mm_max_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps::<1>(c));
            let e = _mm_max_ps(d, _mm_movehl_ps(d, d));
            _mm_cvtss_f32(_mm_max_ss(e, _mm_movehdup_ps(e)))
        )
    }
    #[inline(always)]
    fn canonical_sum(self) -> f32 {
        native!(
            let c = _mm256_add_ps(self.0[0], self.0[1]);
            let d = _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps::<1>(c));
            let e = _mm_add_ps(d, _mm_movehl_ps(d, d));
            _mm_cvtss_f32(_mm_add_ss(e, _mm_movehdup_ps(e)))
        )
    }
    #[inline(always)]
    fn round(self) -> I32x16 {
        let magic = Self::splat(MAGIC);
        let sum = self + magic;
        native!(
            let magic = _mm256_castps_si256(magic.0[0]);
            I32x16([
                _mm256_sub_epi32(_mm256_castps_si256(sum.0[0]), magic),
                _mm256_sub_epi32(_mm256_castps_si256(sum.0[1]), magic),
            ])
        )
    }
    #[inline(always)]
    fn from_ints(ints: I32x16) -> Self {
        native!(Self([_mm256_cvtepi32_ps(ints.0[0]), _mm256_cvtepi32_ps(ints.0[1])]))
    }
}

impl I32x16 {
    /// Sixteen i16. The instruction saturates, so the numbers must fit.
    #[inline(always)]
    fn narrow(self) -> __m256i {
        native!(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(self.0[0], self.0[1])))
    }
}

impl Ints for I32x16 {
    #[inline(always)]
    fn splat(value: i32) -> Self {
        native!(Self([_mm256_set1_epi32(value); 2]))
    }
    #[inline(always)]
    fn load(x: &[i32; LANES]) -> Self {
        let x = x.as_ptr().cast::<__m256i>();
        native!(Self([_mm256_loadu_si256(x), _mm256_loadu_si256(x.add(1))]))
    }
    #[inline(always)]
    fn load_first(x: &[i32]) -> Self {
        Self::load(&pad(x))
    }
    #[inline(always)]
    fn store(self, out: &mut [i32; LANES]) {
        let out = out.as_mut_ptr().cast::<__m256i>();
        native!(
            _mm256_storeu_si256(out, self.0[0]);
            _mm256_storeu_si256(out.add(1), self.0[1]);
        );
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        native!(Self([_mm256_add_epi32(self.0[0], other.0[0]), _mm256_add_epi32(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        native!(Self([_mm256_sub_epi32(self.0[0], other.0[0]), _mm256_sub_epi32(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        native!(Self([_mm256_mullo_epi32(self.0[0], other.0[0]), _mm256_mullo_epi32(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn sum(self) -> i32 {
        let mut all = [0; LANES];
        self.store(&mut all);
        all.iter().fold(0i32, |sum, x| sum.wrapping_add(*x))
    }
    #[inline(always)]
    fn to_i8(self) -> [i8; LANES] {
        native!(
            let narrow = self.narrow();
            let high = _mm256_extracti128_si256::<1>(narrow);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(narrow), high);
            core::mem::transmute::<__m128i, [i8; LANES]>(bytes)
        )
    }
    #[inline(always)]
    fn store_i16(self, out: &mut [i16; LANES]) {
        native!(_mm256_storeu_si256(out.as_mut_ptr().cast(), self.narrow()));
    }
    #[inline(always)]
    fn pair(self, high: Self) -> Self {
        native!(Self([
            _mm256_blend_epi16::<0b1010_1010>(self.0[0], _mm256_slli_epi32::<16>(high.0[0])),
            _mm256_blend_epi16::<0b1010_1010>(self.0[1], _mm256_slli_epi32::<16>(high.0[1]))
        ]))
    }
}

/// Products of 16-bit numbers. Each output has two partial sums: one for the first and one for the second
/// pair of each group's inputs.
pub(super) struct Widened;

impl Dot for Widened {
    type Floats = F32x16;
    type Sums = [__m256i; 4];
    type Weights = [__m256i; 4];
    type Inputs = __m256i;
    type PairSums = [__m256i; 2];
    const GROUPS: usize = 1;

    #[inline(always)]
    fn start() -> Self::Sums {
        native!([_mm256_setzero_si256(); 4])
    }
    #[inline(always)]
    unsafe fn load_weights(group: *const i8) -> Self::Weights {
        let group = group.cast::<__m128i>();
        native!([
            _mm256_cvtepi8_epi16(_mm_loadu_si128(group)),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(group.add(1))),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(group.add(2))),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(group.add(3)))
        ])
    }
    #[inline(always)]
    unsafe fn load_inputs(x: *const i8) -> __m256i {
        native!(_mm256_cvtepi8_epi16(_mm_set1_epi32(x.cast::<i32>().read_unaligned())))
    }
    #[inline(always)]
    fn dot(mut sums: Self::Sums, weights: Self::Weights, x: __m256i) -> Self::Sums {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = native!(_mm256_add_epi32(*sum, _mm256_madd_epi16(weights, x)));
        }
        sums
    }
    #[inline(always)]
    fn finish(sums: Self::Sums) -> I32x16 {
        let [a, b, c, d] = sums;
        native!(I32x16([
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b)),
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(c, d))
        ]))
    }
    #[inline(always)]
    fn start_pairs() -> Self::PairSums {
        native!([_mm256_setzero_si256(); 2])
    }
    #[inline(always)]
    unsafe fn dot_pairs(sums: Self::PairSums, x: *const i16, values: *const i16) -> Self::PairSums {
        let values = values.cast::<__m256i>();
        native!(
            let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_loadu_si256(values), x)),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_loadu_si256(values.add(1)), x)),
            ]
        )
    }
    #[inline(always)]
    fn finish_pairs(sums: Self::PairSums) -> I32x16 {
        I32x16(sums)
    }
}
