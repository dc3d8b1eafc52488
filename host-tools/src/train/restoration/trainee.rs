//! A network that restores pictures, in training: tasks take turns, and held-out windows are scored from time
//! to time.

use super::network::Network;
use super::pictures::Pictures;
use super::report::{Record, RestorerReport};
use super::step::Objective;
use super::training::Training;
use super::validation::HeldOut;
use crate::output;
use crate::train::curve::{palette, Axis, Chart, Series, Side};
use crate::train::gradients::Gradients;
use crate::train::history;
use crate::train::optimizer::{AdamW, Optimizer};
use crate::train::parameter::{elements_of, ParameterSpec};
use crate::train::random::epoch_order;
use crate::train::trainee::{Outcome, Pace, Trainee};
use anyhow::Result;
use plotters::style::RGBColor;
use serde_json::{json, Value};
use std::path::Path;

/// Name of the curves of loss and PSNR.
pub const CURVE_FILE: &str = "psnr.svg";
/// Folder of the sample pictures: degraded, restored and clean, side by side.
pub const SAMPLES_FOLDER: &str = "samples";

/// A network, its pictures and its settings, to be trained by [`train`](crate::train::train).
pub struct RestorerTraining<'a> {
    network: &'a dyn Network,
    pictures: &'a Pictures,
    training: &'a Training,
    /// Steps between validations.
    validate_every: u64,
    initial: Vec<Vec<f32>>,
    objective: Objective,
    held_out: HeldOut,
}

impl<'a> RestorerTraining<'a> {
    /// `network`, to be trained on `pictures` from `start`, or from its own starting values. It is scored
    /// every `validate_every` steps.
    ///
    /// # Errors
    /// A setting outside of its range, or pictures that a task cannot use.
    pub fn new(
        network: &'a dyn Network,
        start: Option<Vec<Vec<f32>>>,
        pictures: &'a mut Pictures,
        training: &'a Training,
        validate_every: u64,
    ) -> Result<Self> {
        training.validate()?;
        pictures.prepare(network.tasks())?;
        let initial = start.unwrap_or_else(|| network.initial_values(training.seed));
        let (objective, held_out) = (training.objective()?, HeldOut::new(network, pictures)?);
        Ok(RestorerTraining { network, pictures, training, validate_every, initial, objective, held_out })
    }

    /// Names of the tasks.
    fn tasks(&self) -> Vec<String> {
        self.network.tasks().iter().map(ToString::to_string).collect()
    }

    fn parameter_count(&self) -> usize {
        elements_of(self.network.parameters().iter().map(|p| &p.spec))
    }
}

impl Trainee for RestorerTraining<'_> {
    type Report = RestorerReport;
    const FILES: &'static [&'static str] = &[CURVE_FILE, SAMPLES_FOLDER, "config.json"];
    const SHOWS_INTERIM: bool = true;
    const BAR: &'static str = "{bar:30} {pos}/{len} {msg} · {per_sec} · ETA {eta}";

    fn title(&self) -> String {
        format!(
            "{} ({} parameters), {} on {}: {} pictures, {} held out",
            self.network.describe(),
            self.parameter_count(),
            self.tasks().join(" "),
            self.pictures.name,
            self.pictures.train.len(),
            self.pictures.test.len()
        )
    }

    fn identity(&self) -> Value {
        // Where a run started is part of what it is: its sum stands for all values.
        let values = self.initial.iter().flatten().enumerate();
        let sum: f64 = values.map(|(i, v)| f64::from(*v) * (1 + i % 7) as f64).sum();
        json!({
            "network": self.network.describe(), "tasks": self.tasks(), "training": self.training,
            "pictures_sha256": self.pictures.sha256(), "shard_windows": self.objective.shard_windows(),
            "initial": format!("{sum:e}"),
            "validate_every": self.validate_every,
        })
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        self.network.parameters().iter().map(|p| p.spec.clone()).collect()
    }

    fn initial_values(&self) -> Vec<Vec<f32>> {
        self.initial.clone()
    }

    fn optimizer(&self) -> Optimizer {
        let training = self.training;
        Optimizer {
            steps: training.steps,
            warmup: training.warmup,
            lr: training.lr,
            lr_floor: training.lr_floor,
            clip: training.clip,
            adam: AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: training.weight_decay },
            average: training.ema,
        }
    }

    /// A task's own parameters are updated once a round.
    fn steps_per_update(&self, parameter: usize) -> u64 {
        match self.network.parameters()[parameter].task {
            Some(_) => self.network.tasks().len() as u64,
            None => 1,
        }
    }

    fn batch(&mut self, values: &[Vec<f32>], step: u64) -> Result<(Gradients, usize)> {
        let (network, training) = (self.network, self.training);
        let task = task_of_step(step, network.tasks().len(), training.seed);
        let kind = network.tasks()[task];
        let pair =
            |index| self.pictures.pair(kind, network.window(), training.sigmas, training.seed, step, index);
        let gradients = network.gradients(values, task, training.batch, &self.objective, pair)?;
        Ok((gradients, training.batch))
    }

    fn position(&self, steps: u64) -> u64 {
        steps
    }

    /// Steps done.
    fn record_at(&self, steps: u64) -> Option<u64> {
        (steps.is_multiple_of(self.validate_every) || steps == self.training.steps).then_some(steps)
    }

    fn score_count(&self) -> usize {
        self.network.tasks().len()
    }

    /// PSNR in dB on windows of the held-out pictures, task by task.
    fn scores(&self, values: &[Vec<f32>]) -> Result<Vec<f64>> {
        (0..self.score_count()).map(|task| self.held_out.score(self.network, values, task)).collect()
    }

    fn line(&self, record: &history::Record, pace: &Pace) -> String {
        let &history::Record { at: step, loss, gradient_norm, lr, ref scores } = record;
        let total = self.training.steps;
        let tasks = self.tasks();
        let scores: Vec<String> =
            tasks.iter().zip(scores).map(|(task, psnr)| format!("{task} {psnr:.2}")).collect();
        let trained = match step {
            0 => "not trained yet".to_owned(),
            _ => format!("loss {loss:.4}  norm {gradient_norm:.2}  lr {lr:.2e}"),
        };
        let mut line = format!("step {step:>6}/{total}  {trained}  dB: {}", scores.join(", "));
        if pace.steps > 0 {
            let rest = (total - step) as f64 / pace.steps_per_second() / 60.0;
            line += &format!("  {:.1} windows/s  ETA {rest:.0} min", pace.samples_per_second());
        }
        line
    }

    fn save(&self, dir: &Path, name: &str, values: &[Vec<f32>]) -> Result<()> {
        self.network.save(dir, name, values)
    }

    /// Curves of what was measured so far, and sample pictures.
    fn draw(&self, dir: &Path, name: &str, history: &[history::Record], values: &[Vec<f32>]) -> Result<()> {
        let history: Vec<Record> = history.iter().map(Record::from).collect();
        output::write(&dir.join(CURVE_FILE), chart(&history, &self.tasks(), name).svg()?)?;
        self.held_out.write_samples(self.network, values, &dir.join(SAMPLES_FOLDER))
    }

    fn report(&self, outcome: &Outcome) -> Result<RestorerReport> {
        Ok(RestorerReport {
            name: outcome.options.name.clone(),
            network: self.network.describe(),
            tasks: self.tasks(),
            pictures: self.pictures.name.clone(),
            pictures_sha256: self.pictures.sha256().to_owned(),
            train_pictures: self.pictures.train.len(),
            held_out_pictures: self.pictures.test.len(),
            parameters: self.parameter_count(),
            resumed_at: outcome.resumed_at,
            seconds: outcome.seconds,
            windows_per_second: outcome.samples_per_second,
            training: self.training.clone(),
            history: outcome.history.iter().map(Record::from).collect(),
        })
    }
}

/// Tasks take turns in rounds; each round has them in an order of its own.
fn task_of_step(step: u64, tasks: usize, seed: u64) -> usize {
    let (round, turn) = (step / tasks as u64, (step % tasks as u64) as usize);
    epoch_order(tasks, seed, round)[turn]
}

/// PSNR per task on held-out windows (left axis) and training loss (right axis, grey) over steps.
fn chart(history: &[Record], tasks: &[String], title: &str) -> Chart {
    let loss = Series {
        label: "training loss".to_owned(),
        colour: RGBColor(150, 150, 150),
        width: 1,
        side: Side::Right,
        // The first record is from before the first step.
        points: history.iter().skip(1).map(|r| (r.step as f64, r.loss)).collect(),
    };
    let psnr = tasks.iter().enumerate().map(|(index, task)| Series {
        label: task.clone(),
        colour: palette(index),
        width: 2,
        side: Side::Left,
        points: history.iter().map(|r| (r.step as f64, r.psnr[index])).collect(),
    });
    let scores = || history.iter().flat_map(|r| r.psnr.iter().copied());
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(0.0, f64::max));
    let low = if low.is_finite() { low } else { 0.0 };
    let highest_loss = history.iter().map(|r| r.loss).fold(1e-3, f64::max) * 1.05;
    Chart {
        title: title.to_owned(),
        size: (800, 420),
        counts: "step",
        end: history.last().map_or(1, |r| r.step).max(1) as f64,
        left: Axis { description: "held-out PSNR, dB", range: low - 0.5..high + 0.5 },
        right: Axis { description: "training loss", range: 0.0..highest_loss },
        series: std::iter::once(loss).chain(psnr).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curves_are_svg_and_also_drawn_for_one_record() {
        let record = Record { step: 0, loss: 0.0, gradient_norm: 0.0, lr: 0.0, psnr: vec![28.0, 24.0] };
        let text = chart(&[record], &["denoise10".to_owned(), "x2".to_owned()], "restorer").svg().unwrap();
        assert!(text.starts_with("<svg") && text.contains("denoise10") && text.contains("x2"));
    }
}
