//! Cores without FPU and without SIMD: RV32IM, Cortex-M0+, -M3 and -M23, and any other by force (`--cfg
//! vitreous_kernels="soft-float"`).
//!
//! This is plain Rust, except for two inner loops on RISC-V. Integer products take four rows and four columns
//! at a time, and one multiplication makes two products. Float arithmetic is made of integer operations
//! (`float.rs`), inlined and without the special cases that sound models never meet. Where such a case does
//! occur, the row or element is computed with the compiler's own floats, as in `portable`.

mod attention;
mod epilogue;
mod float;
mod linear;
mod linear_f16;
mod norm;
mod product;
mod rows;
mod softmax;

#[cfg(table = "soft-float")]
use super::TableSpec;
use super::{spec, Kernels};

/// The table.
pub(super) static TABLE: Kernels = Kernels {
    spec: &spec::SOFT_FLOAT,
    linear_i8: linear::linear_i8,
    linear_i8_residual: linear::linear_i8_residual,
    linear_f16: linear_f16::linear_f16,
    linear_f16_residual: linear_f16::linear_f16_residual,
    quantize_rows: |x, shape, codes, scales| shape.quantize_each(x, codes, scales, rows::quantize_row),
    quantize_rows_above: |x, shape, floor, codes, scales, zero_points| {
        shape.quantize_each_above(x, codes, (scales, zero_points), |x, codes| {
            rows::quantize_row_above(x, floor, codes)
        })
    },
    layer_norm: norm::layer_norm,
    widen: super::PORTABLE.widen,
    narrow: super::PORTABLE.narrow,
    peak: None,
    store_keys: attention::store_keys,
    store_values: attention::store_values,
    attend: attention::attend,
};

/// All tables of this processor.
#[cfg(table = "soft-float")]
pub(super) static SPECS: [&TableSpec; 1] = [&spec::SOFT_FLOAT];

/// The tables that this processor can run.
#[cfg(table = "soft-float")]
pub(super) fn supported() -> impl Iterator<Item = &'static Kernels> {
    core::iter::once(&TABLE)
}

/// What is known of the table for this build.
#[cfg(table = "soft-float")]
pub(super) const DEFAULT: &TableSpec = &spec::SOFT_FLOAT;

/// The table for this build.
#[cfg(table = "soft-float")]
pub(super) fn default() -> &'static Kernels {
    &TABLE
}
