//! Operators, written once on the kernel table.

mod conv;
mod linear;

pub(crate) use conv::{conv_row, Conv, ConvNeeds, ConvSlots, Inputs, Source, Target};
pub(crate) use linear::{
    apply, apply_residual, quantize_rows, quantize_rows_above, Operand, QuantizedScratch,
};
