//! Training of image classifiers: vision transformers, and a convolutional network to compare them with.

mod args;
mod augment;
mod classifier;
mod cnn;
pub mod data;
mod recipe;
mod report;
mod step;
mod step_timer;
mod trainee;
mod vit;

pub use args::{source, TrainVitArgs};
pub use augment::Augment;
pub use recipe::{CnnShape, Recipe};
pub use report::{EpochRecord, TrainReport};
pub use step_timer::StepTimer;
pub use trainee::{ClassifierTraining, CURVE_FILE};

#[cfg(test)]
mod tests;
