//! Host side of Vitreous: importers, float reference, training, conversion, parity and reports.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod engine;
pub mod image_input;
pub mod quantize;
pub mod reference;
pub mod target;
pub mod vtr;
