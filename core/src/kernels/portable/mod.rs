//! Plain Rust, the oracle of every other table. Written so that no call can panic: lengths come from zipped iterators.

mod attention;
mod linear;
mod rows;

use super::Kernels;
use crate::tensor::PanelLayout;

/// The portable kernels; they read every weight layout.
pub static PORTABLE: Kernels = Kernels {
    name: "portable",
    layout: PanelLayout::ROW_MAJOR,
    supports: |layout| layout.is_valid(),
    linear_i8: linear::linear_i8,
    linear_i8_residual: linear::linear_i8_residual,
    linear_f16: linear::linear_f16,
    linear_f16_residual: linear::linear_f16_residual,
    quantize_row: rows::quantize_row,
    quantize_row_above: rows::quantize_row_above,
    layer_norm: rows::layer_norm,
    norm_rows: 1,
    peak: None,
    attention_memory: attention::attention_memory,
    store_keys: attention::store_rows,
    store_values: attention::store_rows,
    attend: attention::attend,
};
