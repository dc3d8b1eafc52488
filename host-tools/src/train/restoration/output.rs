//! Where a training run on pictures writes, and how often.

use super::super::folder::Start;
use super::network::Network;
use super::pictures::Pictures;
use super::progress::{Progress, Terminal};
use super::report::RestorerReport;
use super::run::{train_restorer, TrainOptions};
use super::training::Training;
use crate::output::Plan;
use anyhow::{ensure, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Data, output and pace on the command line.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Folder of clean photographs of any size, searched with its subfolders
    #[arg(long)]
    pub data: PathBuf,
    /// Output folder
    #[arg(short, long, alias = "output", value_name = "FOLDER")]
    pub out: PathBuf,
    /// The model's name [default: the output folder's]
    #[arg(long, value_parser = crate::cli::parse_name)]
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
    /// Steps between scores and sample pictures of held-out photographs
    #[arg(long, default_value_t = 500)]
    pub validate_every: u64,
    /// Write checkpoint and model and stop after this many steps; --resume goes on
    #[arg(long)]
    pub stop_after: Option<u64>,
    /// Threads [default: all cores]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// No progress output
    #[arg(long)]
    pub quiet: bool,
}

impl OutputArgs {
    /// Loads the pictures and trains `network` on them, from `start` or from its own starting values.
    pub fn train(
        &self,
        network: &dyn Network,
        start: Option<Vec<Vec<f32>>>,
        fallback_name: &str,
        training: Training,
    ) -> Result<Option<RestorerReport>> {
        let options = self.options(fallback_name, training)?;
        let t = &options.training;
        t.validate()?;
        Plan::new().reads_data([&self.data]).writes_into([&self.out]).check()?;
        let mut pictures = Pictures::load(&self.data, t.held_out, t.fraction, t.seed)?;
        let mut terminal = Terminal::default();
        let mut silent = ();
        let progress: &mut dyn Progress = if self.quiet { &mut silent } else { &mut terminal };
        train_restorer(network, start, &mut pictures, &options, progress)
    }

    /// The options of a run with these settings.
    pub fn options(&self, fallback_name: &str, training: Training) -> Result<TrainOptions> {
        ensure!(self.validate_every > 0, "--validate-every 0: expected at least 1");
        let folder = || self.out.file_name().map(|n| n.to_string_lossy().into_owned());
        Ok(TrainOptions {
            name: self.name.clone().or_else(folder).unwrap_or_else(|| fallback_name.to_owned()),
            training,
            out: self.out.clone(),
            start: Start::asked(self.resume, self.overwrite),
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            validate_every: self.validate_every,
            stop_after: self.stop_after,
        })
    }
}
