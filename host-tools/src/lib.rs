//! Host side of Vitreous: importers, float reference, training, conversion, parity and reports.
#![forbid(unsafe_code)]

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod engine;
pub mod image_input;
pub mod inspect;
pub mod kernels;
pub mod parity;
pub mod pool;
pub mod quantize;
pub mod reference;
pub mod target;
pub mod train;
pub mod vtr;
