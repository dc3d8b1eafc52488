//! Vision transformers on microcontrollers: int8 and f16 inference from flash, without an operating system or
//! an allocator.
//!
//! The same model and the same image give the same bits on every machine, and [`models::vit::Vit::plan`] says
//! to the byte how much memory a run needs.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
// No file can make the engine panic: what could is refused outside of the kernels, which allow what they need.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

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

pub use arena::{Arena, Plan, Region, MAX_REGIONS};
pub use error::{Error, Fault};
pub use fork::{ForkJoin, Serial};
pub use format::Model;
pub use profile::{Progress, Stage};
pub use run::RunOptions;
pub use source::{PixelSink, PixelSource, SliceSink, SliceSource, SourceError};
