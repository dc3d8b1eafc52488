//! Cortex-M55 and -M85: vectors of 128 bits (Helium, MVE), in assembly, since stable Rust has no intrinsics
//! for them.
//!
//! MVE's float arithmetic flushes subnormal numbers, rounds to nearest even and makes every NaN the default
//! NaN, whatever the settings of the scalar FPU. By docs/numerics.md no result depends on that. Where one
//! operand is a NaN, VMAXNM and VMINNM return the other one. The contract's max(x, bound) does the same,
//! since the bound is never a NaN here.

mod attention;
mod linear;
mod linear_f16;
mod rows;

use super::portable::PORTABLE;
use super::{spec, Kernels, TableSpec};

/// The table.
static TABLE: Kernels = Kernels {
    spec: &spec::CORTEX_M_HELIUM,
    linear_i8: |x, w, f, out, _| linear::linear_i8(x, w, f, out),
    linear_i8_residual: |x, w, residual, _| linear::linear_i8_residual(x, w, residual),
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
pub(super) static SPECS: [&TableSpec; 1] = [&spec::CORTEX_M_HELIUM];

/// The tables that this processor can run.
pub(super) fn supported() -> impl Iterator<Item = &'static Kernels> {
    core::iter::once(&TABLE)
}

/// What is known of the table for this build.
pub(super) const DEFAULT: &TableSpec = &spec::CORTEX_M_HELIUM;

/// The table for this build.
pub(super) fn default() -> &'static Kernels {
    &TABLE
}
