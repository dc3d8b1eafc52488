//! Image Processing Transformer (Chen et al., arXiv 2012.00364): it restores images with an encoder and
//! a decoder that all tasks share, and a head, a query and a tail for each task.
//!
//! Whole images go through [`crate::pipeline::restore`] or [`crate::pipeline::Restore`]. This module
//! computes one window of an image:
//!
//! ```no_run
//! use vitreous::models::ipt::Ipt;
//! use vitreous::{Error, Model, Progress, Stage};
//!
//! /// Restores the window `rgb`, `(window, window, 3)`, and hands out its rows as they come.
//! fn window(file: &[u8], arena: &mut [u8], rgb: &[u8], mut row: impl FnMut(&[f32])) -> Result<(), Error> {
//!     let model = Model::parse(file)?;
//!     let ipt = Ipt::new(&model)?;
//!     let mut run = ipt.begin(0, arena)?;
//!     run.begin_window(|to| {
//!         to.iter_mut().zip(rgb).for_each(|(to, from)| *to = *from);
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
//! docs/numerics.md (section 7) defines the arithmetic, docs/format.md the file, docs/memory.md the memory.

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
