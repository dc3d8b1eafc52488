//! Host side of Vitreous: importers, float reference, training, conversion, parity and reports.
#![forbid(unsafe_code)]

pub mod quantize;
pub mod vtr;
pub mod checkpoint;
pub mod engine;
