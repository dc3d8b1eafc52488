//! The command line.

mod architecture;
mod bench;
mod convert;
mod defaults;
mod digits;
mod eval;
mod firmware;
mod inspect;
mod load;
mod parity;
mod predictions;
mod progress;
mod restore;
mod run;
mod samples;
mod study;
mod target_cost;
mod train;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;

use crate::console;
pub(crate) use crate::vtr::parse_name;

/// Most threads that may be asked for: more than this serve nobody, and starting them takes minutes.
const MAX_THREADS: usize = 256;

/// `--threads`: 0 takes all cores.
fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if threads <= MAX_THREADS => Ok(threads),
        _ => Err(format!("a number from 0 (all cores) to {MAX_THREADS} is wanted")),
    }
}

/// A limit of a figure: NaN would be met by everything.
fn parse_limit(text: &str) -> Result<f64, String> {
    let finite = text.parse().ok().filter(|limit: &f64| limit.is_finite());
    finite.ok_or_else(|| format!("`{text}` is no finite number"))
}

/// The same in percent.
fn parse_percent(text: &str) -> Result<f64, String> {
    let percent = parse_limit(text)?;
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        Err(format!("{percent} % is none of a whole: 0 to 100 is wanted"))
    }
}

/// A number of which 0 makes no sense.
fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a number from 1 on is wanted".into()),
    }
}

/// Vision transformers on microcontrollers: train, convert, inspect, run, prove.
#[derive(Parser, Debug)]
#[command(name = "vitreous", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON document on standard output instead of tables (progress and warnings stay on standard
    /// error).
    #[arg(long, global = true)]
    json: bool,
    /// Kernels of this machine's runs, if not the fastest: a name that `vitreous inspect --cpu` lists.
    /// VITREOUS_KERNELS does the same.
    #[arg(long, global = true, value_name = "NAME")]
    kernels: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Train a model from data.
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Train many models to answer a question.
    #[command(subcommand)]
    Study(crate::study::StudyCommand),
    /// Write the held-out part of the built-in handwritten digits as image files in class folders.
    Digits(digits::DigitsArgs),
    /// Quantize float weights (safetensors of timm, transformers, torchvision, or of `train`) into a .vtr
    /// file.
    Convert(convert::ConvertArgs),
    /// Show layers, flash, multiplications and the memory plan of a .vtr file.
    Inspect(inspect::InspectArgs),
    /// Classify image files, on this machine or on an emulated target.
    Run(run::RunArgs),
    /// What the stages of a .vtr file cost: time on this machine, or instructions on a target.
    Bench(bench::BenchArgs),
    /// Compare a .vtr file with the float weights that it was made from, on images, on this machine and on
    /// targets.
    Parity(parity::ParityArgs),
    /// Restore image files with an IPT: a .vtr file, or float weights.
    Restore(restore::RestoreArgs),
    /// Score an IPT on clean images that are degraded: PSNR and SSIM, beside the float weights, with
    /// pictures.
    Eval(eval::EvalArgs),
}

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// Help that was asked for, or what is wrong with the arguments.
    pub fn parsed() -> Result<Self, clap::Error> {
        let command = defaults::shown(Cli::command());
        Cli::from_arg_matches(&command.try_get_matches()?)
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, with file, tensor and the way out.
    pub fn execute(self) -> Result<()> {
        if let Some(name) = &self.kernels {
            crate::kernels::choose(name)?;
        }
        match self.command {
            Command::Train(args) => args.execute(self.json),
            Command::Study(command) => study::execute(&command, self.json),
            Command::Digits(args) => args.execute(self.json),
            Command::Convert(args) => args.execute(self.json),
            Command::Inspect(args) => args.execute(self.json),
            Command::Run(args) => args.execute(self.json),
            Command::Bench(args) => args.execute(self.json),
            Command::Parity(args) => args.execute(self.json),
            Command::Restore(args) => args.execute(self.json),
            Command::Eval(args) => args.execute(self.json),
        }
    }
}

/// Prints a report: as JSON, or as `text` makes it.
fn print<T: Serialize>(json: bool, report: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    if json {
        console::print(&crate::text::json(&serde_json::to_string_pretty(report)?))
    } else {
        console::print(&text(report))
    }
}
