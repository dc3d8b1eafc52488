//! Command line of `vitreous train dncnn`.

use super::super::args::RestorerArgs;
use super::super::report::RestorerReport;
use super::super::training::{Training, TrainingArgs};
use super::model::{DnCnn, DnCnnConfig};
use crate::checkpoint::ipt::parse_task;
use crate::train::threads::with_threads;
use anyhow::{anyhow, Result};
use clap::Args;

/// Train a DnCNN, a convolutional network to compare with, on a folder of photographs.
#[derive(Args, Clone, Debug)]
pub struct TrainDnCnnArgs {
    /// Where the training is kept.
    #[command(flatten)]
    pub restorer: RestorerArgs,
    /// What to repair: denoise1 to denoise255 (σ), derain, jpeg1 to jpeg100 (quality)
    #[arg(long, default_value = "denoise30")]
    pub task: String,
    /// Convolutions
    #[arg(long, default_value_t = 8)]
    pub depth: usize,
    /// Feature maps
    #[arg(long, default_value_t = 48)]
    pub width: usize,
    /// Side of the training windows in pixels
    #[arg(long, default_value_t = 32)]
    pub window: usize,
    /// How it is trained.
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// How a DnCNN is trained where nothing else is said.
pub fn training() -> Training {
    Training { lr: 1e-3, ..Training::default() }
}

impl TrainDnCnnArgs {
    /// Trains as the options say. `None` if `--stop-after` ended the run early.
    pub fn run(&self) -> Result<Option<RestorerReport>> {
        let task = parse_task(&self.task).map_err(|e| anyhow!("--task: {e}"))?;
        let config = DnCnnConfig { depth: self.depth, width: self.width, window: self.window, task };
        let network = DnCnn::new(config)?;
        let training = self.training.over(training());
        with_threads(self.restorer.run.threads, || self.restorer.train(&network, None, "dncnn", &training))
    }
}
