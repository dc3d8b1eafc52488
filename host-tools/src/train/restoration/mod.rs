//! Training of networks that restore pictures, on photographs that are degraded while it runs.
//!
//! [`train_restorer`] is deterministic like [`super::train_vit`]: settings, pictures, starting weights and
//! machine decide every bit of the result, however many threads run and however often the run was killed and
//! resumed.

mod contrast;
mod curve;
pub mod dncnn;
mod history;
pub mod ipt;
mod network;
mod output;
mod pictures;
pub mod progress;
mod report;
mod restore;
mod run;
mod step;
mod training;
mod validation;

pub use contrast::{contrastive_loss, Contrast};
pub use history::Record;
pub use network::{Network, Output, Parameter, Weights, UNIT};
pub use output::OutputArgs;
pub use pictures::{Pair, Pictures};
pub use report::RestorerReport;
pub use run::{train_restorer, TrainOptions, CURVE_FILE, SAMPLES_FOLDER};
pub use step::{Gradients, Objective};
pub use training::{Training, TrainingArgs};

#[cfg(test)]
mod tests;
