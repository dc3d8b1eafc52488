//! What every training on pictures takes on the command line.

use super::network::Network;
use super::pictures::Pictures;
use super::report::RestorerReport;
use super::trainee::RestorerTraining;
use super::training::Training;
use crate::output::Plan;
use crate::train::args::RunArgs;
use crate::train::progress::on_terminal;
use crate::train::run::train;
use anyhow::{ensure, Result};
use clap::Args;
use std::path::PathBuf;

/// Data, output and pace.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("stop_after", |arg| {
    arg.help("Write checkpoint and model and stop after this many steps; --resume goes on")
}))]
pub struct RestorerArgs {
    /// Folder of clean photographs of any size, searched with its subfolders
    #[arg(long)]
    pub data: PathBuf,
    /// The run itself.
    #[command(flatten)]
    pub run: RunArgs,
    /// Steps between scores and sample pictures of held-out photographs
    // Help shows it behind --checkpoint-seconds.
    #[arg(long, default_value_t = 500, display_order = 5)]
    pub validate_every: u64,
}

impl RestorerArgs {
    /// Loads the pictures and trains `network` on them, from `start` or from its own starting values.
    pub fn train(
        &self,
        network: &dyn Network,
        start: Option<Vec<Vec<f32>>>,
        fallback_name: &str,
        training: &Training,
    ) -> Result<Option<RestorerReport>> {
        ensure!(self.validate_every > 0, "--validate-every 0: expected at least 1");
        training.validate()?;
        Plan::new().reads_data([&self.data]).writes_into([&self.run.out]).check()?;
        let mut pictures = Pictures::load(&self.data, training.held_out, training.fraction, training.seed)?;
        let mut trainee =
            RestorerTraining::new(network, start, &mut pictures, training, self.validate_every)?;
        train(&mut trainee, &self.run.options(fallback_name), &mut *on_terminal(self.run.quiet))
    }
}
