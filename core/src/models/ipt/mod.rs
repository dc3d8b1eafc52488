//! Image Processing Transformer (Chen et al., arXiv 2012.00364): restoration of images by a shared encoder
//! and decoder with a head, a query and a tail per task.
//!
//! Whole images go through [`crate::pipeline::restore`] or [`crate::pipeline::Restore`]. This module is one
//! window of them:
//!
//! ```no_run
//! use vitreous::models::ipt::Ipt;
//! use vitreous::{Error, Model, Progress, Stage};
//!
//! /// Restores one window, `(window, window, 3)`, and hands out its rows as they come.
//! fn window(
//!     file: &[u8],
//!     arena: &mut [u8],
//!     pixels: &[u8],
//!     mut row: impl FnMut(&[f32]),
//! ) -> Result<(), Error> {
//!     let model = Model::parse(file)?;
//!     let ipt = Ipt::new(&model)?;
//!     let mut run = ipt.begin(0, arena)?;
//!     run.begin_window(|to| {
//!         to.iter_mut().zip(pixels).for_each(|(to, from)| *to = *from);
//!         Ok(())
//!     })?;
//!     loop {
//!         let progress = run.step()?;
//!         if matches!(progress, Progress::Running(Stage::Tail) | Progress::Done) {
//!             row(run.row()?);
//!         }
//!         if progress == Progress::Done {
//!             return Ok(());
//!         }
//!     }
//! }
//! ```
//!
//! The arithmetic is fixed by docs/numerics.md (section 7), the file by docs/format.md, the memory by
//! docs/memory.md.

mod config;
mod forward;
mod plan;
mod run;
mod section;
mod weights;

pub use crate::blocks::LayerPrecision;
pub use crate::run::{DEFAULT_TILE_ROWS, MAX_TILE_ROWS};
pub use config::{IptConfig, Task, TaskKind, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, MAX_TASKS, OUTER_KERNEL};
pub use run::IptRun;
pub use section::{BodyPrecision, IptSection, TaskPrecision};
pub use weights::Ipt;
