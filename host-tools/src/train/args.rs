//! What every `vitreous train` takes on the command line.

use super::folder::Start;
use super::options::{set, RunOptions};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Output and pace.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Output folder
    #[arg(short, long, alias = "output", value_name = "FOLDER")]
    pub out: PathBuf,
    /// The model's name [default: the output folder's]
    #[arg(long, value_parser = crate::vtr::parse_name)]
    pub name: Option<String>,
    /// Go on from the checkpoint in the output folder
    #[arg(long)]
    pub resume: bool,
    /// Start again in the place of the training that is in the output folder
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,
    /// Seconds between checkpoints
    #[arg(long, default_value_t = 60)]
    pub checkpoint_seconds: u64,
    /// Write a checkpoint and stop after this many steps; --resume goes on
    #[arg(long)]
    pub stop_after: Option<u64>,
    /// Threads [default: all cores]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// No progress output
    #[arg(long)]
    pub quiet: bool,
}

impl RunArgs {
    /// The options of a run. `fallback_name` is the model's name if neither it nor the folder's is known.
    pub fn options(&self, fallback_name: &str) -> RunOptions {
        let folder = || self.out.file_name().map(|n| n.to_string_lossy().into_owned());
        RunOptions {
            name: self.name.clone().or_else(folder).unwrap_or_else(|| fallback_name.to_owned()),
            out: self.out.clone(),
            start: Start::asked(self.resume, self.overwrite),
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            stop_after: self.stop_after,
        }
    }
}

/// What keeps weights small and steady.
#[derive(Args, Clone, Debug, Default)]
pub struct DecayArgs {
    /// Decoupled weight decay
    #[arg(long)]
    pub weight_decay: Option<f32>,
    /// Largest gradient norm, 0 for none
    #[arg(long)]
    pub clip: Option<f64>,
    /// Decay of the weights' moving average, 0 for none
    #[arg(long)]
    pub ema: Option<f32>,
}

impl DecayArgs {
    /// Puts what was given in the place of defaults.
    pub fn over(&self, weight_decay: &mut f32, clip: &mut f64, ema: &mut f32) {
        set(weight_decay, self.weight_decay);
        set(clip, self.clip);
        set(ema, self.ema);
    }
}
