//! Training of vision transformers on candle, with fused operators.
//!
//! [`train_vit`] is deterministic: recipe, data and machine decide every bit of the weights, however many
//! threads run and however often the run was killed and resumed.

pub mod args;
mod augment;
mod checkpoint;
mod cnn;
mod curve;
pub mod data;
mod folder;
mod history;
mod model;
pub mod ops;
mod optimizer;
pub mod progress;
mod recipe;
mod report;
pub mod restoration;
mod run;
mod step;
mod step_timer;
mod threads;

pub use args::TrainVitArgs;
pub use folder::{is_begun, Start, CHECKPOINT_FILE, PREVIOUS_FILE, REPORT_FILE};
pub use history::EpochRecord;
pub use recipe::{Augment, CnnShape, Recipe};
pub use report::TrainReport;
pub use run::{load_data, train_vit, TrainOptions, CURVE_FILE};
pub use step_timer::StepTimer;
pub use threads::with_threads;

#[cfg(test)]
mod tests;
