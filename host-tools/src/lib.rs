//! Host side of Vitreous: importers, float reference, training, conversion, parity and reports.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "crate::console does not panic")]

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod console;
pub mod converted;
pub mod degrade;
pub mod engine;
pub mod evaluate;
pub mod image_input;
pub mod inspect;
pub mod interrupt;
pub mod kernels;
pub mod machine;
pub mod metrics;
pub mod model_file;
pub mod output;
mod page;
pub mod parity;
pub mod pool;
pub mod quantize;
pub mod reference;
pub mod restorer;
pub mod saturation;
pub mod study;
pub mod synthetic;
mod table;
pub mod taps;
pub mod target;
pub mod text;
pub mod train;
mod verdict;
pub mod vtr;
pub mod workspace;
