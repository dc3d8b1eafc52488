//! Cortex-M4, -M7 and -M33: two 16-bit multiplications at a time (SMLAD), and an FPU that converts f16.
//!
//! The inner loops and their epilogues are assembly (`*.s`), since every register counts there. The code
//! around them is Rust; it checks every length before a loop gets a pointer. The loops are made for the
//! finite numbers of a sound model. Infinities and NaNs set the FPU's sticky flag of invalid operations; then
//! plain Rust computes the row again.
//!
//! All code relies on FPSCR as it is at reset: rounding to nearest even, IEEE half precision, no flushing to
//! zero.

mod attention;
mod linear;
mod linear_f16;
mod rows;

use core::arch::global_asm;

use super::{portable, spec, Kernels, TableSpec};

/// The table.
static TABLE: Kernels = Kernels {
    spec: &spec::CORTEX_M_DSP,
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
    layer_norm: rows::layer_norm,
    widen: rows::widen,
    narrow: rows::narrow,
    peak: None,
    store_keys: attention::store_keys,
    store_values: attention::store_values,
    attend: attention::attend,
};

/// All tables of this processor.
pub(super) static SPECS: [&TableSpec; 1] = [&spec::CORTEX_M_DSP];

/// The tables that this processor can run.
pub(super) fn supported() -> impl Iterator<Item = &'static Kernels> {
    core::iter::once(&TABLE)
}

/// What is known of the table for this build.
pub(super) const DEFAULT: &TableSpec = &spec::CORTEX_M_DSP;

/// The table for this build.
pub(super) fn default() -> &'static Kernels {
    &TABLE
}

/// 1 if the core issues two instructions at a time, but none beside a load of two registers.
#[cfg(dual_issue)]
macro_rules! dual_issue {
    () => {
        ".equ VITREOUS_DUAL_ISSUE, 1\n"
    };
}
#[cfg(not(dual_issue))]
macro_rules! dual_issue {
    () => {
        ".equ VITREOUS_DUAL_ISSUE, 0\n"
    };
}
/// Global assembly does not know `-C target-cpu`.
#[cfg(armv8_m)]
macro_rules! cpu {
    () => {
        ".cpu cortex-m33\n"
    };
}
#[cfg(not(armv8_m))]
macro_rules! cpu {
    () => {
        ".cpu cortex-m4\n"
    };
}
/// 1 if the FPU has VMAXNM.
#[cfg(armv8_fpu)]
macro_rules! fpu {
    () => {
        ".fpu fpv5-sp-d16\n.equ VITREOUS_ARMV8_FPU, 1\n"
    };
}
#[cfg(not(armv8_fpu))]
macro_rules! fpu {
    () => {
        ".fpu fpv4-sp-d16\n.equ VITREOUS_ARMV8_FPU, 0\n"
    };
}

// The files share macros, so they are assembled as one piece.
global_asm!(
    ".syntax unified",
    cpu!(),
    fpu!(),
    dual_issue!(),
    include_str!("product.s"),
    include_str!("epilogues.s"),
    include_str!("rows.s"),
    include_str!("softmax.s"),
    include_str!("linear_f16.s"),
    options(raw),
);
