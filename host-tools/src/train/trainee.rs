//! What the training loop asks of a family of models.

use super::gradients::Gradients;
use super::history::Record;
use super::optimizer::Optimizer;
use super::options::RunOptions;
use super::parameter::ParameterSpec;
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// A model with its data and settings, to be trained by [`train`](super::train).
///
/// Every result depends on its arguments and on the trainee's [identity](Self::identity) alone, so that a run
/// that was stopped and resumed ends with the same bits. `values` are those of all parameters, in order.
pub trait Trainee {
    /// What a finished run reports; as JSON it is the file `training.json`.
    type Report: Serialize;
    /// What is written beside checkpoint, model and report.
    const FILES: &'static [&'static str];
    /// Whether model and curves are also written while the run goes on: the model with each checkpoint, the
    /// curves with each record.
    const SHOWS_INTERIM: bool;
    /// The progress bar, as [`Plan::template`](super::progress::Plan::template).
    const BAR: &'static str;

    /// Model and data in one line.
    fn title(&self) -> String;
    /// Everything that decides the trained weights. A checkpoint of another identity is refused.
    fn identity(&self) -> Value;
    /// The parameters, in order.
    fn parameters(&self) -> Vec<ParameterSpec>;
    /// Starting values of the parameters.
    fn initial_values(&self) -> Vec<Vec<f32>>;
    /// The optimizer and its schedule.
    fn optimizer(&self) -> Optimizer;

    /// One in so many steps has a gradient for the parameter of this index.
    fn steps_per_update(&self, _parameter: usize) -> u64 {
        1
    }

    /// Loss and gradients of the batch of step `step` (from 0), and the number of its samples.
    fn batch(&mut self, values: &[Vec<f32>], step: u64) -> Result<(Gradients, usize)>;
    /// Where the progress bar is after `steps` steps.
    fn position(&self, steps: u64) -> u64;

    /// What the progress bar says before the loss.
    fn place(&self, _steps: u64) -> String {
        String::new()
    }

    /// What [`Record::at`] is after `steps` steps, or `None` if nothing is to be recorded then.
    fn record_at(&self, steps: u64) -> Option<u64>;
    /// Number of scores of a record.
    fn score_count(&self) -> usize;
    /// Scores on held-out data.
    fn scores(&self, values: &[Vec<f32>]) -> Result<Vec<f64>>;
    /// A record for people, in one line.
    fn line(&self, record: &Record, pace: &Pace) -> String;

    /// Writes the model to `dir`.
    fn save(&self, dir: &Path, name: &str, values: &[Vec<f32>]) -> Result<()>;
    /// Writes the curves of `history`, and what else shows how good the model is, to `dir`.
    fn draw(&self, dir: &Path, name: &str, history: &[Record], values: &[Vec<f32>]) -> Result<()>;
    /// The report of a finished run.
    fn report(&self, outcome: &Outcome) -> Result<Self::Report>;
}

/// How far this call has come, whatever earlier parts of the run did.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When it began.
    pub started: Instant,
    /// Its steps.
    pub steps: u64,
    /// Its samples.
    pub samples: u64,
}

impl Pace {
    /// Steps per second of wall time.
    pub fn steps_per_second(&self) -> f64 {
        self.steps as f64 / self.seconds()
    }

    /// Samples per second of wall time.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds()
    }

    /// Wall time, above 0.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64().max(1e-9)
    }
}

/// What a finished run knows for its report.
pub struct Outcome<'a> {
    /// Name and folder.
    pub options: &'a RunOptions,
    /// Values that were saved.
    pub values: &'a [Vec<f32>],
    /// Everything that was recorded.
    pub history: &'a [Record],
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps that earlier parts of the run had done.
    pub resumed_at: u64,
    /// Wall time of this call.
    pub seconds: f64,
    /// Samples per second of it.
    pub samples_per_second: f64,
}
