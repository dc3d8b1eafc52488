//! Training of Image Processing Transformers: the paper's multi-task strategy on degraded photographs.
//!
//! [`train_ipt`] is deterministic like [`super::train_vit`]: recipe, pictures, starting weights and machine decide every bit.

pub mod args;
mod contrast;
mod folder;
mod history;
mod init;
mod model;
mod parameters;
mod pictures;
pub mod progress;
mod recipe;
mod report;
mod restore;
mod run;
mod step;

pub use args::TrainIptArgs;
pub use contrast::{contrastive_loss, Contrast};
pub use folder::{load, save};
pub use history::Record;
pub use pictures::{Pair, Pictures};
pub use recipe::Recipe;
pub use report::{IptReport, REPORT_FILE};
pub use run::{psnr, train_ipt, TrainOptions, CHECKPOINT_FILE};
pub use step::Model;

#[cfg(test)]
mod tests;
