//! Vision transformers on microcontrollers: int8 and f16 inference from flash, without an operating system or
//! an allocator.
//!
//! The same model and the same image give the same bits on every machine, and [`models::vit::Vit::plan`] says
//! to the byte how much memory a run needs.
#![no_std]
#![deny(missing_docs)]
#![deny(unsafe_code)]

#[cfg(any(test, doctest))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("a .vtr file is read in place, which needs a little-endian machine");

mod arena;
mod blocks;
mod error;
mod fork;
pub mod format;
pub mod kernels;
pub mod math;
pub mod models;
mod ops;
pub mod pipeline;
mod profile;
pub mod quant;
mod run;
mod source;
pub mod tensor;
#[cfg(test)]
mod tests;

pub use arena::{Arena, Plan, Region, MAX_REGIONS};
pub use error::{Error, Fault};
pub use fork::{ForkJoin, Serial};
pub use format::Model;
pub use profile::{Progress, Stage};
pub use run::RunOptions;
pub use source::{PixelSink, PixelSource, SliceSink, SliceSource, SourceError};
