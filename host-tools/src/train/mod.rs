//! Training of vision transformers on candle, with fused operators.
//!
//! [`train`] is deterministic: settings, data, starting weights and machine decide every bit of the result,
//! however many threads run and however often the run was killed and resumed. What is particular to a family
//! of models is a [`Trainee`]: [`ClassifierTraining`] and [`restoration::RestorerTraining`].

pub mod args;
mod checkpoint;
mod classification;
mod curve;
mod digest;
mod folder;
mod gradients;
mod history;
pub mod ops;
mod optimizer;
mod options;
mod parameter;
pub mod progress;
mod random;
mod report;
pub mod restoration;
mod run;
mod threads;
mod trainee;
mod weights;

pub use classification::{
    data, source, Augment, ClassifierTraining, CnnShape, EpochRecord, Recipe, StepTimer, TrainReport,
    TrainVitArgs, CURVE_FILE,
};
pub use folder::{is_begun, Start, CHECKPOINT_FILE, PREVIOUS_FILE, REPORT_FILE};
pub use gradients::Gradients;
pub use history::Record;
pub use optimizer::{AdamW, Optimizer};
pub use options::RunOptions;
pub use parameter::ParameterSpec;
pub use run::train;
pub use threads::with_threads;
pub use trainee::{Outcome, Pace, Trainee};
