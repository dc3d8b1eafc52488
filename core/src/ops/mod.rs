//! Operators, written once on the kernel table.

mod attention;
mod conv;
mod linear;

#[allow(unused_imports, reason = "the form for models that keep keys and values as rows")]
pub(crate) use attention::{attend_row, AttentionScratch, HeadCache};
pub(crate) use conv::{conv_row, Conv, ConvScratch, Inputs};
pub(crate) use linear::{
    apply, apply_residual, quantize_rows, quantize_rows_above, Operand, QuantizedScratch,
};
