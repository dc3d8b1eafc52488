//! Training of networks that restore pictures, on photographs that are degraded while it runs.
//!
//! [`RestorerTraining`] is what the training loop asks; a network is a [`Network`].

mod args;
mod contrast;
pub mod dncnn;
pub mod ipt;
mod network;
mod pictures;
mod report;
mod restore;
mod step;
mod trainee;
mod training;
mod validation;

pub use args::RestorerArgs;
pub use contrast::{contrastive_loss, Contrast};
pub use network::{Network, Output, Parameter, UNIT};
pub use pictures::{Pair, Pictures};
pub use report::{Record, RestorerReport};
pub use step::Objective;
pub use trainee::{RestorerTraining, CURVE_FILE, SAMPLES_FOLDER};
pub use training::{Training, TrainingArgs};

#[cfg(test)]
mod tests;
