//! The kernel tables: the only code that differs from machine to machine. All tables compute the same bits.
//!
//! `portable` is the oracle: it is plain Rust, and every other table must equal it bit for bit, at every
//! shape. This module is the only one of the engine with unsafe code, because the other tables use
//! instructions that safe Rust can't reach.

#![allow(unsafe_code, reason = "instructions that the safe subset does not reach")]
#![allow(
    clippy::indexing_slicing,
    reason = "constants index arrays of constant length, which are unrolled whole"
)]

#[cfg(all(target_arch = "aarch64", target_feature = "neon", not(table = "soft-float")))]
mod aarch64;
mod choice;
#[cfg(table = "cortex-m-dsp")]
mod cortex_m_dsp;
#[cfg(table = "cortex-m-helium")]
mod cortex_m_helium;
mod portable;
#[cfg(any(test, table = "soft-float"))]
mod soft_float;
pub mod spec;
#[cfg(test)]
mod tests;
#[cfg(all(
    any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")),
    not(table = "soft-float")
))]
mod vector;
#[cfg(all(target_arch = "x86_64", not(table = "soft-float")))]
mod x86;

pub use portable::PORTABLE;
pub use spec::{AttentionMemory, TableSpec};

// The module with this machine's own tables: its `default`, `DEFAULT`, `supported` and `SPECS`.
#[cfg(all(target_arch = "aarch64", target_feature = "neon", not(table = "soft-float")))]
use aarch64 as native;
#[cfg(table = "cortex-m-dsp")]
use cortex_m_dsp as native;
#[cfg(table = "cortex-m-helium")]
use cortex_m_helium as native;
#[cfg(not(any(
    table = "cortex-m-dsp",
    table = "cortex-m-helium",
    table = "soft-float",
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon")
)))]
use portable as native;
#[cfg(table = "soft-float")]
use soft_float as native;
#[cfg(all(target_arch = "x86_64", not(table = "soft-float")))]
use x86 as native;

use half::f16;

use crate::tensor::{rows, rows_mut, LinearF16, LinearI8, NormWeights, PanelLayout, RowsI8};

/// Nonlinearity of the MLP's hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Activation {
    /// GELU with the Gauss error function: `x/2 · (1 + erf(x/√2))` (Hendrycks and Gimpel, arXiv 1606.08415,
    /// §2).
    GeluErf,
    /// GELU's tanh form: `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))` (ibid.).
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// A lower bound of the function's values, which the quantization of the hidden layer maps to its lowest
    /// code. GELU's minimum is −0.1700; with the steps of its table it is −0.1710.
    pub const fn floor(self) -> f32 {
        match self {
            Activation::GeluErf | Activation::GeluTanh => -0.172,
            Activation::Relu => 0.0,
        }
    }
}

/// What follows a linear layer before its result is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Epilogue {
    /// Nothing.
    None,
    /// The MLP's nonlinearity.
    Activation(Activation),
}

/// The functions of one instruction set. Each is safe to call with any views and any numbers. It never reads
/// or writes outside of the views, and never panics. Where views disagree about a shape, the shorter view
/// counts, or nothing is computed; the output then has no meaning. The models always pass views that agree.
///
/// Each function checks the lengths once, at its beginning, and relies on them afterwards. It multiplies and
/// adds lengths so that they do not wrap: [`usize::saturating_mul`] gives `usize::MAX`, which is longer than
/// every slice.
pub struct Kernels {
    /// Name, weight layout, memory.
    pub spec: &'static TableSpec,
    /// `out[r,n] = f((acc − x_zero[r]·sums[n])·w_scale[n]·x_scale[r] + bias[n])`: rows `(rows, pitch)`, out
    /// `(rows, outputs)`. The last argument is scratch, as long as [`TableSpec::linear_scratch`] says.
    pub linear_i8: fn(&RowsI8, &LinearI8, Epilogue, &mut [f32], &mut [i32]),
    /// The same sum without `f`, added to the residual stream: `residual[r,n] = f16(f32(residual[r,n]) + …)`.
    pub linear_i8_residual: fn(&RowsI8, &LinearI8, &mut [f16], &mut [i32]),
    /// `out[r,n] = f(Σ_k w[n,k]·x[r,k] + bias[n])`, ascending k: x `(rows, inputs)`, out `(rows, outputs)`.
    pub linear_f16: fn(&[f32], &LinearF16, Epilogue, &mut [f32]),
    /// The same sum without `f`, added to the residual stream.
    pub linear_f16_residual: fn(&[f32], &LinearF16, &mut [f16]),
    /// Quantizes rows to int8, each with its own scale: floats `(rows, width)`, codes `(rows, pitch)` with
    /// zeros behind the width, scales `(rows)`. Returns the number of rows.
    pub quantize_rows: fn(&[f32], RowShape, &mut [i8], &mut [f32]) -> usize,
    /// Quantizes with zero points, for rows without elements below a given `floor` ≤ 0.
    pub quantize_rows_above: QuantizeAboveKernel,
    /// Layer norm of f16 rows of γ's length (Ba et al., arXiv 1607.06450, §3), sums in the canonical order of
    /// docs/numerics.md.
    pub layer_norm: fn(&[f16], &NormWeights, &mut [f32]),
    /// Converts f16 to f32, as many elements as both slices have.
    pub widen: fn(&[f16], &mut [f32]),
    /// Converts f32 to f16 by [`crate::math::to_f16`], as many elements as both slices have.
    pub narrow: fn(&[f32], &mut [f16]),
    /// A loop of multiply-accumulates in registers only, which measures what the machine could do at best.
    pub peak: Option<Peak>,
    /// Quantizes keys into the cache.
    pub store_keys: StoreKernel,
    /// Quantizes values into the cache.
    pub store_values: StoreKernel,
    /// Scaled dot-product attention of a tile of queries in one head: out `(queries, head_dim)`.
    pub attend: fn(&Attention, &mut AttentionScratch, &mut [f32]),
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Kernels {{ name: {} }}", self.spec.name)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Kernels {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Kernels {{ name: {=str} }}", self.spec.name);
    }
}

/// Signature of the quantization with zero points. Arguments: rows of floats, their shape, their lower bound;
/// then the outputs: codes, scales, zero points. Returns the number of rows.
pub type QuantizeAboveKernel = fn(&[f32], RowShape, f32, &mut [i8], &mut [f32], &mut [i32]) -> usize;

/// Lengths of a row before and after quantization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RowShape {
    /// Floats of a row.
    pub width: usize,
    /// Codes of a row, at least `width`; those behind the width are zero.
    pub pitch: usize,
}

impl RowShape {
    /// Quantizes one row after the other, for tables without a faster way. `quantize` returns the row's
    /// scale.
    #[inline(always)]
    fn quantize_each(
        self,
        x: &[f32],
        codes: &mut [i8],
        scales: &mut [f32],
        quantize: impl Fn(&[f32], &mut [i8]) -> f32,
    ) -> usize {
        let mut count = 0;
        for ((x, codes), scale) in rows(x, self.width).zip(rows_mut(codes, self.pitch)).zip(scales) {
            *scale = quantize(x, codes);
            count += 1;
        }
        count
    }

    /// The same with zero points: `quantize` returns the row's scale and zero point.
    #[inline(always)]
    fn quantize_each_above(
        self,
        x: &[f32],
        codes: &mut [i8],
        (scales, zero_points): (&mut [f32], &mut [i32]),
        quantize: impl Fn(&[f32], &mut [i8]) -> (f32, i32),
    ) -> usize {
        let mut count = 0;
        let cells = rows_mut(codes, self.pitch).zip(scales.iter_mut().zip(zero_points));
        for (x, (codes, (scale, zero_point))) in rows(x, self.width).zip(cells) {
            (*scale, *zero_point) = quantize(x, codes);
            count += 1;
        }
        count
    }
}

/// A loop of nothing but the table's fastest int8 instruction.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Multiply-accumulates of an iteration.
    pub macs: usize,
    /// Runs a number of iterations. The result keeps the compiler from removing them.
    pub run: fn(usize) -> i32,
}

/// Signature of the kernels that quantize keys or values. Arguments: floats `(rows, head_dim)`, head_dim, the
/// token of the first row; then the outputs: the head's cache of all keys or all values, in the table's own
/// order, and the scales of these rows. Tokens must come in ascending order.
pub type StoreKernel = fn(&[f32], usize, usize, &mut [i8], &mut [f32]);

/// Whether a cache can hold a row of the token `first`. Every token takes at least one byte of it, so that
/// counting tokens from `first` on cannot overflow.
#[inline(always)]
#[allow(dead_code, reason = "of machines that have no other table")]
fn can_store(head_dim: usize, first: usize, cache: &[i8]) -> bool {
    head_dim > 0 && first < cache.len()
}

/// A tile of queries, with the keys and values of their head in the table's own order.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Attention<'a> {
    /// `(queries, head_dim)`, quantized.
    pub queries: RowsI8<'a>,
    /// Width of the head.
    pub head_dim: usize,
    /// log2(e)/√head_dim, which makes the exponential of the softmax a power of 2.
    pub factor: f32,
    /// All keys of the head, as [`Kernels::store_keys`] wrote them.
    pub keys: &'a [i8],
    /// Scale of each token's key.
    pub key_scales: &'a [f32],
    /// All values of the head, as [`Kernels::store_values`] wrote them.
    pub values: &'a [i8],
    /// Scale of each token's value, divided by the largest of these scales.
    pub relative_scales: &'a [f32],
    /// The largest of the values' scales.
    pub value_scale: f32,
}

impl Attention<'_> {
    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.key_scales.len()
    }

    /// The largest softmax weight. It has 15 bits, and fewer from 513 tokens on, so that the weighted sum of
    /// int8 values fits an i32.
    pub fn weight_max(&self) -> f32 {
        weight_max(self.tokens())
    }
}

/// The largest softmax weight for a number of tokens.
pub(crate) fn weight_max(tokens: usize) -> f32 {
    (i32::MAX as usize / 128 / tokens.max(1)).min(i16::MAX as usize) as f32
}

/// Memory that [`Kernels::attend`] works in; [`TableSpec::attention_memory`] gives the lengths.
#[derive(Debug)]
pub struct AttentionScratch<'a> {
    /// Scores.
    pub scores: &'a mut [f32],
    /// Softmax weights.
    pub weights: &'a mut [i16],
    /// Weighted sums.
    pub sums: &'a mut [i32],
}

/// The table for this build.
pub fn default_kernels() -> &'static Kernels {
    native::default()
}

/// Name, weight layout and memory of the table for this build.
pub const fn default_spec() -> &'static TableSpec {
    native::DEFAULT
}

/// Whether the table for this build reads int8 weights in panels of `nr` outputs by `kr` inputs. The Rust
/// file that `vitreous convert --emit-rust` writes asks while it is compiled, so that firmware with a model
/// for another core is never built.
pub const fn reads(nr: u8, kr: u8) -> bool {
    native::DEFAULT.reads(PanelLayout { nr, kr })
}

/// What `vitreous convert --for` takes to write a file that every table of this build reads.
pub(crate) fn convert_for() -> &'static str {
    // All but the default one read the layout of vectors.
    let is_x86 = cfg!(all(target_arch = "x86_64", not(table = "soft-float")));
    if is_x86 {
        spec::AVX2.convert_for()
    } else {
        native::DEFAULT.convert_for()
    }
}

/// The tables that this machine can run: the fastest first, `portable` last.
pub fn supported_kernels() -> impl Iterator<Item = &'static Kernels> {
    native::supported().chain([&PORTABLE])
}

/// Names of all tables of this architecture, including those that this machine can't run.
pub fn kernel_names() -> impl Iterator<Item = &'static str> {
    native::SPECS.iter().map(|spec| spec.name).chain([spec::PORTABLE.name])
}
