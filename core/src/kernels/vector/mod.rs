//! Kernels written once over sixteen lanes, for every instruction set that implements [`Floats`], [`Ints`]
//! and [`Dot`].
//!
//! The canonical sums of docs/numerics.md have sixteen lanes, so each function does the oracle's operations
//! in the oracle's order. Whether a register holds four, eight or sixteen lanes is the instruction set's
//! matter. All functions are inlined into an entry point that enables the instruction set's features.

#![allow(clippy::needless_range_loop, reason = "loops over constants, which are unrolled whole")]

mod attention;
mod gemm;
mod linear;
mod linear_f16;
mod norm;
mod output_op;
mod quantize;
mod rows;
pub(super) mod table;

pub(super) use attention::{
    attend, initial_sums, scores, softmax, store_keys, store_values, weighted_sums, Maxima, Steps,
};
pub(super) use gemm::{block, peak, peak_macs, FirstBlock, WeightsAt};
pub(super) use linear::{linear_i8, linear_i8_residual};
pub(super) use linear_f16::{linear_f16, linear_f16_residual};
pub(super) use norm::layer_norm;
pub(super) use quantize::{quantize_rows, quantize_rows_above};
pub(super) use rows::{narrow, widen};

use half::f16;

use crate::math::{exp2, GateTable, Lane};

/// Lanes of a [`Floats`].
pub(super) const LANES: usize = 16;
/// Bytes of one group of a panel: 16 outputs × 4 inputs.
const GROUP: usize = 64;

/// Sixteen f32. Functions named `…_first` load or store only the first lanes: as many as their slice has
/// elements, at most 16.
pub(super) trait Floats: Lane {
    /// Sixteen i32.
    type Ints: Ints;

    fn load(x: &[f32; LANES]) -> Self;
    /// The lanes behind the slice are 0.
    fn load_first(x: &[f32]) -> Self;
    fn store(self, out: &mut [f32; LANES]);
    fn store_first(self, out: &mut [f32]);
    fn load_f16(x: &[f16; LANES]) -> Self;
    /// The lanes behind the slice are 0.
    fn load_f16_first(x: &[f16]) -> Self;
    /// As [`crate::math::to_f16`], for numbers within ±65504.
    fn store_bounded_f16(self, out: &mut [f16; LANES]);
    fn store_bounded_f16_first(self, out: &mut [f16]);
    fn abs(self) -> Self;
    /// The first `count` lanes of `self`, the others of `rest`.
    fn first(self, count: usize, rest: Self) -> Self;
    /// The largest lane; none is a NaN.
    fn largest(self) -> f32;
    /// Whether it is faster to find the scales of sixteen rows at a time than one by one.
    const SCALES_IN_GROUPS: bool = false;
    /// Lane i is the largest lane of vector i. No lane is a NaN.
    #[inline(always)]
    fn largest_of_each(x: &[Self; LANES]) -> Self {
        let mut largest = [0.0; LANES];
        for (largest, x) in largest.iter_mut().zip(x) {
            *largest = x.largest();
        }
        Self::load(&largest)
    }
    /// The sum of the lanes by the canonical tree: halves of 8, 4, 2, 1.
    fn canonical_sum(self) -> f32;
    /// Lane i is the canonical sum of vector i, for the first `count` vectors.
    #[inline(always)]
    fn canonical_sum_of_each(x: &[Self; LANES], count: usize) -> Self {
        let mut sums = [0.0; LANES];
        for (sum, x) in sums.iter_mut().zip(x).take(count) {
            *sum = x.canonical_sum();
        }
        Self::load(&sums)
    }
    /// As [`crate::math::round_to_i32`].
    fn round(self) -> Self::Ints;
    /// Nearest f32, ties to even.
    fn from_ints(ints: Self::Ints) -> Self;
    /// `self + x·y`, rounded twice.
    #[inline(always)]
    fn add_product(self, x: f32, y: Self) -> Self {
        self + Self::splat(x) * y
    }
    /// Whether the gates take so many registers that they are better computed after the sums of a block have
    /// left theirs.
    const SEPARATE_GATES: bool = false;
    /// [`Lane::gate`] of each vector.
    #[inline(always)]
    fn gate_of_each<const N: usize>(mut x: [Self; N], table: &GateTable) -> [Self; N] {
        for i in 0..N {
            x[i] = x[i].gate(table);
        }
        x
    }
    /// [`crate::math::exp2`] of each vector; where the result would be subnormal, any subnormal number may
    /// come out.
    #[inline(always)]
    fn exp2_of_each<const N: usize>(mut x: [Self; N]) -> [Self; N] {
        for i in 0..N {
            x[i] = exp2(x[i]);
        }
        x
    }
}

/// Sixteen i32, wrapping.
pub(super) trait Ints: Copy {
    fn splat(value: i32) -> Self;
    fn load(x: &[i32; LANES]) -> Self;
    /// The lanes behind the slice are 0.
    fn load_first(x: &[i32]) -> Self;
    fn store(self, out: &mut [i32; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn sum(self) -> i32;
    /// Codes of −128 to 127.
    fn to_i8(self) -> [i8; LANES];
    /// The codes of each vector, one vector after the other.
    #[inline(always)]
    fn four_to_i8(codes: [Self; 4]) -> [i8; 4 * LANES] {
        let mut bytes = [0; 4 * LANES];
        for (bytes, codes) in bytes.as_chunks_mut().0.iter_mut().zip(codes) {
            *bytes = codes.to_i8();
        }
        bytes
    }
    /// Numbers of 0 to 32,767.
    fn store_i16(self, out: &mut [i16; LANES]);
    /// Joins the low 16 bits of both operands in each lane: `self` in the lower half, `high` in the upper
    /// one.
    fn pair(self, high: Self) -> Self;
}

/// Exact integer dot products of an instruction set.
pub(super) trait Dot {
    type Floats: Floats;
    /// Sums of 16 outputs; each may consist of several partial sums.
    type Sums: Copy;
    /// Weights of 16 outputs and 4·`GROUPS` inputs.
    type Weights: Copy;
    /// 4·`GROUPS` inputs of one row, for all outputs.
    type Inputs: Copy;
    /// Sums of 16 columns of values.
    type PairSums: Copy;
    /// Groups of 4 inputs at a time: 1, 2 or 4, so that every pitch is a multiple.
    const GROUPS: usize;

    /// The table's [`TableSpec::input_flip`].
    ///
    /// [`TableSpec::input_flip`]: crate::kernels::TableSpec::input_flip
    const INPUT_FLIP: i8 = 0;

    fn start() -> Self::Sums;
    /// The initial sums of a panel's outputs. They cancel what [`Self::INPUT_FLIP`] or [`Self::load_inputs`]
    /// adds to the inputs.
    ///
    /// # Safety
    /// `64·GROUPS·steps` bytes can be read there.
    #[inline(always)]
    unsafe fn initial_sums(_panel: *const i8, _steps: usize) -> Self::Sums {
        Self::start()
    }
    /// Initial sums from the integers that [`Self::initial_to_ints`] wrote. `None` if there are none.
    #[inline(always)]
    fn initial_from_ints(_initial: &[i32]) -> Option<Self::Sums> {
        (Self::INITIAL_INTS == 0).then(Self::start)
    }
    /// Writes initial sums as [`Self::INITIAL_INTS`] integers.
    #[inline(always)]
    fn initial_to_ints(_sums: Self::Sums, _initial: &mut [i32]) {}
    /// Number of integers that hold the initial sums of a panel; 0 if they are always zero.
    const INITIAL_INTS: usize = 0;
    /// # Safety
    /// 64·`GROUPS` bytes can be read there.
    unsafe fn load_weights(groups: *const i8) -> Self::Weights;
    /// # Safety
    /// 4·`GROUPS` bytes can be read there.
    unsafe fn load_inputs(x: *const i8) -> Self::Inputs;
    fn dot(sums: Self::Sums, weights: Self::Weights, x: Self::Inputs) -> Self::Sums;
    /// The sums of `MR` rows times `NV` panels, starting at `initial`.
    ///
    /// # Safety
    /// `4·GROUPS·steps` inputs can be read at each of `x`, `NV` panels of `64·GROUPS·steps` bytes at the
    /// weights.
    #[inline(always)]
    unsafe fn block<const MR: usize, const NV: usize>(
        x: [*const i8; MR],
        initial: &[Self::Sums; NV],
        weights: &WeightsAt,
    ) -> [[Self::Sums; NV]; MR]
    where
        Self: Sized,
    {
        // SAFETY: as the caller promises.
        unsafe { block::<Self, MR, NV>(x, initial, weights) }
    }
    /// The same for the first `MR − 1` rows of all, together with the initial sums. `None` where the initial
    /// sums are to be computed separately.
    ///
    /// # Safety
    /// As for [`Self::block`].
    #[inline(always)]
    unsafe fn first_block<const MR: usize, const NV: usize>(
        _x: [*const i8; MR],
        _weights: &WeightsAt,
    ) -> Option<FirstBlock<Self, MR, NV>>
    where
        Self: Sized,
    {
        None
    }
    fn finish(sums: Self::Sums) -> <Self::Floats as Floats>::Ints;

    fn start_pairs() -> Self::PairSums;
    /// Adds `x[0]·v[2j] + x[1]·v[2j+1]` to the sum of each column j.
    ///
    /// # Safety
    /// Two i16 can be read at `x`, 32 at `values`.
    unsafe fn dot_pairs(sums: Self::PairSums, x: *const i16, values: *const i16) -> Self::PairSums;
    fn finish_pairs(sums: Self::PairSums) -> <Self::Floats as Floats>::Ints;
}

/// Number of rows of `width` floats that go through a step together, before the next step begins: at most 16,
/// and no more than the first-level cache holds.
#[inline(always)]
fn rows_per_group(width: usize) -> usize {
    const MOST_FLOATS: usize = 4096;
    (MOST_FLOATS / width.max(1)).clamp(1, LANES)
}

/// The first sixteen floats of a slice; a shorter slice is padded with zeros.
#[inline(always)]
fn load<F: Floats>(x: &[f32]) -> F {
    match x.first_chunk() {
        Some(x) => F::load(x),
        None => F::load_first(x),
    }
}

/// Writes sixteen floats, or as many as fit the slice.
#[inline(always)]
fn store<F: Floats>(value: F, out: &mut [f32]) {
    match out.first_chunk_mut() {
        Some(out) => value.store(out),
        None => value.store_first(out),
    }
}

/// The first sixteen f16 of a slice, widened; a shorter slice is padded with zeros.
#[inline(always)]
fn load_f16<F: Floats>(x: &[f16]) -> F {
    match x.first_chunk() {
        Some(x) => F::load_f16(x),
        None => F::load_f16_first(x),
    }
}

/// Writes the nearest f16 of each lane. What is too large becomes ±65504, a NaN −65504.
#[inline(always)]
fn store_f16<F: Floats>(value: F, out: &mut [f16]) {
    let value = value.max(F::splat(-65504.0)).min(F::splat(65504.0));
    match out.first_chunk_mut() {
        Some(out) => value.store_bounded_f16(out),
        None => value.store_bounded_f16_first(out),
    }
}

/// The first sixteen integers of a slice; a shorter slice is padded with zeros.
#[inline(always)]
fn load_ints<I: Ints>(x: &[i32]) -> I {
    match x.first_chunk() {
        Some(x) => I::load(x),
        None => I::load_first(x),
    }
}

/// Writes sixteen integers, or as many as fit the slice.
#[inline(always)]
fn store_ints<I: Ints>(value: I, out: &mut [i32]) {
    match out.first_chunk_mut() {
        Some(out) => value.store(out),
        None => {
            let mut all = [0; LANES];
            value.store(&mut all);
            out.iter_mut().zip(all).for_each(|(out, value)| *out = value);
        }
    }
}
