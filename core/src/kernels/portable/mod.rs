//! Plain Rust, the oracle of every other table. No call can panic, since zipped iterators determine all
//! lengths.

mod attention;
mod linear;
mod rows;

#[cfg(any(test, table = "cortex-m-dsp", table = "soft-float"))]
pub(super) use linear::activate;
#[cfg(any(test, table = "cortex-m-dsp", table = "soft-float"))]
pub(super) use rows::layer_norm;
#[cfg(table = "cortex-m-dsp")]
pub(super) use rows::widen;
#[cfg(any(test, table = "cortex-m-dsp", table = "cortex-m-helium", table = "soft-float"))]
pub(super) use rows::{quantize_row, quantize_row_above};

use super::{spec, Kernels};
use crate::math::to_f16s;

/// The portable kernels; they read every weight layout.
pub static PORTABLE: Kernels = Kernels {
    spec: &spec::PORTABLE,
    linear_i8: |x, w, f, out, _| linear::linear_i8(x, w, f, out),
    linear_i8_residual: |x, w, residual, _| linear::linear_i8_residual(x, w, residual),
    linear_f16: linear::linear_f16,
    linear_f16_residual: linear::linear_f16_residual,
    quantize_rows: |x, shape, codes, scales| shape.quantize_each(x, codes, scales, rows::quantize_row),
    quantize_rows_above: |x, shape, floor, codes, scales, zero_points| {
        shape.quantize_each_above(x, codes, (scales, zero_points), |x, codes| {
            rows::quantize_row_above(x, floor, codes)
        })
    },
    layer_norm: rows::layer_norm,
    widen: rows::widen,
    narrow: to_f16s,
    peak: None,
    store_keys: attention::store_rows,
    store_values: attention::store_rows,
    attend: attention::attend,
};

/// No other table.
#[allow(dead_code, reason = "of machines that have no other table")]
pub(super) static SPECS: [&super::TableSpec; 0] = [];

/// No other table.
#[allow(dead_code, reason = "of machines that have no other table")]
pub(super) fn supported() -> impl Iterator<Item = &'static Kernels> {
    core::iter::empty()
}

/// What is known of the table for this build.
#[allow(dead_code, reason = "of machines that have no other table")]
pub(super) const DEFAULT: &super::TableSpec = &super::spec::PORTABLE;

/// The table for this build.
#[allow(dead_code, reason = "of machines that have no other table")]
pub(super) fn default() -> &'static Kernels {
    &PORTABLE
}
