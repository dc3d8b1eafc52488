//! Sixteen lanes as four NEON registers.
//!
//! Multiplications and additions stay separate instructions, since FMLA rounds only once. FMAX and FMIN
//! return a NaN where one operand is a NaN, so the larger and the smaller of two numbers come from a
//! comparison.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::{Add, Div, Mul, Sub};

use half::f16;

use crate::kernels::vector::{Floats, Ints, LANES};
use crate::math::{GateTable, Lane, GATE_ENTRIES, GATE_STEPS, GATE_ZERO, MAGIC};

/// Instructions that every processor of this architecture has.
macro_rules! native {
    ($($body:tt)*) => {
        // SAFETY: the architecture's baseline has them; memory is reached through references to arrays only.
        unsafe { $($body)* }
    };
}
pub(super) use native;

/// Sixteen f32.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct F32x16([float32x4_t; 4]);

/// Sixteen i32.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct I32x16(pub(super) [int32x4_t; 4]);

/// Applies a function to each of the four registers.
macro_rules! each {
    ($function:expr, $a:expr) => {
        [$function($a[0]), $function($a[1]), $function($a[2]), $function($a[3])]
    };
    ($function:expr, $a:expr, $b:expr) => {
        [$function($a[0], $b[0]), $function($a[1], $b[1]), $function($a[2], $b[2]), $function($a[3], $b[3])]
    };
}

macro_rules! operator {
    ($trait:ident, $function:ident, $instruction:ident) => {
        impl $trait for F32x16 {
            type Output = Self;
            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                native!(Self(each!($instruction, self.0, other.0)))
            }
        }
    };
}
operator!(Add, add, vaddq_f32);
operator!(Sub, sub, vsubq_f32);
operator!(Mul, mul, vmulq_f32);
operator!(Div, div, vdivq_f32);

impl Lane for F32x16 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        native!(Self([vdupq_n_f32(value); 4]))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        native!(Self(each!(|a, b| vbslq_f32(vcgtq_f32(a, b), a, b), self.0, other.0)))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        native!(Self(each!(|a, b| vbslq_f32(vcltq_f32(a, b), a, b), self.0, other.0)))
    }
    #[inline(always)]
    fn exp2_of_magic(self) -> Self {
        native!(
            let bias = vdupq_n_s32(127 << 23);
            Self(each!(
                |x| vreinterpretq_f32_s32(vaddq_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(x)), bias)),
                self.0
            ))
        )
    }
    #[inline(always)]
    fn gate(self, table: &GateTable) -> Self {
        // FCVTZS rounds towards zero, saturates, and makes 0 of a NaN, as Rust's conversion does.
        let entries = native!(I32x16(each!(
            |x| {
                let steps = vcvtq_s32_f32(vmulq_f32(x, vdupq_n_f32(GATE_STEPS)));
                let (low, high) = (vdupq_n_s32(-(GATE_ZERO as i32)), vdupq_n_s32(GATE_ZERO as i32 - 1));
                vaddq_s32(vminq_s32(vmaxq_s32(steps, low), high), vdupq_n_s32(GATE_ZERO as i32))
            },
            self.0
        )));
        let mut at = [0; LANES];
        entries.store(&mut at);
        // All indices are below the number of entries already; the remainder tells the compiler.
        Self::load_f16(&at.map(|entry| table.entries()[entry as usize % GATE_ENTRIES]))
    }
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

/// Eight f16, widened. (The compiler's own functions for it are newer than the oldest compiler that the crate
/// supports.)
#[inline(always)]
fn widen(x: uint16x8_t) -> [float32x4_t; 2] {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: instructions of the baseline, on registers alone.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) low, in(vreg) x, options(pure, nomem, nostack,
            preserves_flags));
        asm!("fcvtl2 {0:v}.4s, {1:v}.8h", out(vreg) high, in(vreg) x, options(pure, nomem, nostack,
            preserves_flags));
    }
    [low, high]
}

/// The nearest f16 of eight numbers, ties to even.
#[inline(always)]
fn narrow(low: float32x4_t, high: float32x4_t) -> uint16x8_t {
    let mut both: uint16x8_t;
    // SAFETY: instructions of the baseline, on registers alone.
    unsafe {
        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) both, in(vreg) low, options(pure, nomem, nostack,
            preserves_flags));
        asm!("fcvtn2 {0:v}.8h, {1:v}.4s", inout(vreg) both, in(vreg) high, options(pure, nomem, nostack,
            preserves_flags));
    }
    both
}

impl Floats for F32x16 {
    type Ints = I32x16;

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        let x = x.as_ptr();
        native!(Self([vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))]))
    }
    #[inline(always)]
    fn load_first(x: &[f32]) -> Self {
        Self::load(&pad(x))
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        let out = out.as_mut_ptr();
        native!(
            vst1q_f32(out, self.0[0]);
            vst1q_f32(out.add(4), self.0[1]);
            vst1q_f32(out.add(8), self.0[2]);
            vst1q_f32(out.add(12), self.0[3]);
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
        let x = x.as_ptr().cast::<u16>();
        let ([a, b], [c, d]) = native!((widen(vld1q_u16(x)), widen(vld1q_u16(x.add(8)))));
        Self([a, b, c, d])
    }
    #[inline(always)]
    fn load_f16_first(x: &[f16]) -> Self {
        Self::load_f16(&pad(x))
    }
    #[inline(always)]
    fn store_bounded_f16(self, out: &mut [f16; LANES]) {
        let out = out.as_mut_ptr().cast::<u16>();
        native!(
            vst1q_u16(out, narrow(self.0[0], self.0[1]));
            vst1q_u16(out.add(8), narrow(self.0[2], self.0[3]));
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
        native!(Self(each!(vabsq_f32, self.0)))
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
        let [a, b, c, d] = self.0;
        native!(vmaxvq_f32(vmaxq_f32(vmaxq_f32(a, b), vmaxq_f32(c, d))))
    }
    #[inline(always)]
    fn canonical_sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        native!(
            let quarters = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let pairs = vadd_f32(vget_low_f32(quarters), vget_high_f32(quarters));
            vpadds_f32(pairs)
        )
    }
    #[inline(always)]
    fn round(self) -> I32x16 {
        native!(
            let (magic, bits) = (vdupq_n_f32(MAGIC), vdupq_n_s32(MAGIC.to_bits() as i32));
            I32x16(each!(|x| vsubq_s32(vreinterpretq_s32_f32(vaddq_f32(x, magic)), bits), self.0))
        )
    }
    #[inline(always)]
    fn from_ints(ints: I32x16) -> Self {
        native!(Self(each!(vcvtq_f32_s32, ints.0)))
    }
    /// Written as assembly, since the compiler would compute all products of a block first and run out of
    /// registers.
    #[inline(always)]
    fn add_product(mut self, x: f32, y: Self) -> Self {
        for (sums, y) in self.0.as_chunks_mut::<2>().0.iter_mut().zip(y.0.as_chunks::<2>().0) {
            // SAFETY: instructions of the baseline, on registers alone.
            unsafe {
                asm!(
                    "fmul {t:v}.4s, {a:v}.4s, {x:v}.s[0]",
                    "fmul {u:v}.4s, {b:v}.4s, {x:v}.s[0]",
                    "fadd {c:v}.4s, {c:v}.4s, {t:v}.4s",
                    "fadd {d:v}.4s, {d:v}.4s, {u:v}.4s",
                    a = in(vreg) y[0], b = in(vreg) y[1], x = in(vreg) x,
                    c = inout(vreg) sums[0], d = inout(vreg) sums[1], t = out(vreg) _, u = out(vreg) _,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        self
    }
}

impl I32x16 {
    /// The low halves, eight to a register.
    #[inline(always)]
    fn low_halves(self) -> [int16x8_t; 2] {
        let [a, b, c, d] = self.0;
        native!([vmovn_high_s32(vmovn_s32(a), b), vmovn_high_s32(vmovn_s32(c), d)])
    }
}

impl Ints for I32x16 {
    #[inline(always)]
    fn splat(value: i32) -> Self {
        native!(Self([vdupq_n_s32(value); 4]))
    }
    #[inline(always)]
    fn load(x: &[i32; LANES]) -> Self {
        let x = x.as_ptr();
        native!(Self([vld1q_s32(x), vld1q_s32(x.add(4)), vld1q_s32(x.add(8)), vld1q_s32(x.add(12))]))
    }
    #[inline(always)]
    fn load_first(x: &[i32]) -> Self {
        Self::load(&pad(x))
    }
    #[inline(always)]
    fn store(self, out: &mut [i32; LANES]) {
        let out = out.as_mut_ptr();
        native!(
            vst1q_s32(out, self.0[0]);
            vst1q_s32(out.add(4), self.0[1]);
            vst1q_s32(out.add(8), self.0[2]);
            vst1q_s32(out.add(12), self.0[3]);
        );
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        native!(Self(each!(vaddq_s32, self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        native!(Self(each!(vsubq_s32, self.0, other.0)))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        native!(Self(each!(vmulq_s32, self.0, other.0)))
    }
    #[inline(always)]
    fn sum(self) -> i32 {
        let [a, b, c, d] = self.0;
        native!(vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d))))
    }
    #[inline(always)]
    fn to_i8(self) -> [i8; LANES] {
        let [low, high] = self.low_halves();
        let mut codes = [0; LANES];
        native!(vst1q_s8(codes.as_mut_ptr(), vmovn_high_s16(vmovn_s16(low), high)));
        codes
    }
    #[inline(always)]
    fn store_i16(self, out: &mut [i16; LANES]) {
        let [low, high] = self.low_halves();
        native!(
            vst1q_s16(out.as_mut_ptr(), low);
            vst1q_s16(out.as_mut_ptr().add(8), high);
        );
    }
    #[inline(always)]
    fn pair(self, high: Self) -> Self {
        native!(Self(each!(|low, high| vsliq_n_s32::<16>(low, high), self.0, high.0)))
    }
}
