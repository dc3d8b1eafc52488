//! The training loop.

use super::super::checkpoint::{self, Which};
use super::super::folder::{warn_of, RunFolder, Start, UNWRITTEN};
use super::super::history::Running;
use super::super::model::ParameterSpec;
use super::super::optimizer::{clip, learning_rate, AdamW, State};
use super::curve;
use super::history::Record;
use super::network::Network;
use super::pictures::Pictures;
use super::progress::{Plan, Progress};
use super::report::RestorerReport;
use super::step::Objective;
use super::training::Training;
use super::validation::HeldOut;
use crate::interrupt::{self, Graceful};
use crate::output;
use anyhow::{bail, Context, Result};
use serde_json::{json, Value};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Name of the curves of loss and PSNR.
pub const CURVE_FILE: &str = "psnr.svg";
/// Folder of the sample pictures: degraded, restored and clean, side by side.
pub const SAMPLES_FOLDER: &str = "samples";
/// What is written beside checkpoint, model and report.
const OTHER_FILES: [&str; 3] = [CURVE_FILE, SAMPLES_FOLDER, "config.json"];
/// Adam's constants.
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.99;
const EPS: f32 = 1e-8;

/// What to train and where to put it.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The model's name.
    pub name: String,
    /// Optimizer, schedule and losses.
    pub training: Training,
    /// Output folder.
    pub out: PathBuf,
    /// What to do with a training that is in `out`.
    pub start: Start,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Steps between validations.
    pub validate_every: u64,
    /// Write a checkpoint and stop after this many steps of the whole run.
    pub stop_after: Option<u64>,
}

/// Trains `network` from `start`, or from its own starting values, and writes model.safetensors, config.json,
/// curves, samples and the report to the output folder.
///
/// Returns `None` if [`TrainOptions::stop_after`] or a signal ended the run early; the checkpoint is there
/// then.
pub fn train_restorer(
    network: &dyn Network,
    start: Option<Vec<Vec<f32>>>,
    pictures: &mut Pictures,
    options: &TrainOptions,
    progress: &mut dyn Progress,
) -> Result<Option<RestorerReport>> {
    let mut run = Run::start(network, start, pictures, options)?;
    let _graceful = Graceful::begin();
    let started = Instant::now();
    let first = run.state.step;
    progress.begin(&run.plan());
    let finished = run.train(progress);
    progress.end();
    if !finished? {
        return Ok(None);
    }
    let seconds = started.elapsed().as_secs_f64();
    let windows = (run.state.step - first) * options.training.batch as u64;
    run.finish(first, seconds, windows as f64 / seconds).context(UNWRITTEN).map(Some)
}

struct Run<'a> {
    pictures: &'a Pictures,
    options: &'a TrainOptions,
    network: &'a dyn Network,
    objective: Objective,
    held: HeldOut,
    /// Identity of the run, compared on resume.
    identity: Value,
    state: State,
    history: Vec<Record>,
    running: Running,
    folder: RunFolder,
}

impl<'a> Run<'a> {
    fn start(
        network: &'a dyn Network,
        start: Option<Vec<Vec<f32>>>,
        pictures: &'a mut Pictures,
        options: &'a TrainOptions,
    ) -> Result<Self> {
        let training = &options.training;
        training.validate()?;
        pictures.prepare(network.tasks())?;
        let pictures: &Pictures = pictures;
        let initial = start.unwrap_or_else(|| network.initial_values(training.seed));
        let objective = training.objective()?;
        // Where a run started is part of what it is: its sum stands for all values.
        let sum: f64 =
            initial.iter().flatten().enumerate().map(|(i, v)| f64::from(*v) * (1 + i % 7) as f64).sum();
        let identity = json!({
            "network": network.describe(), "tasks": names(network), "training": training,
            "pictures_sha256": pictures.sha256(), "shard_windows": objective.shard_windows(),
            "initial": format!("{sum:e}"),
            "validate_every": options.validate_every,
        });
        // Compared with what comes back from a file, so it goes through text once.
        let identity: Value = serde_json::from_str(&identity.to_string())?;
        let folder = RunFolder::open(&options.out, options.start, &OTHER_FILES)?;
        let tasks = network.tasks().len();
        let (state, history, running) = if options.start == Start::Resume {
            let specs = network.parameters().iter().map(|p| &p.spec);
            let (state, [history, running]) =
                checkpoint::read_state(&folder, specs, ["history", "running"], &identity)?;
            let history = history.chunks_exact(Record::fields(tasks)).map(Record::from_slice).collect();
            let running = Running::from_slice(&running);
            (state, history, running.context("the checkpoint has no sums of the current part")?)
        } else {
            (State::new(initial), Vec::new(), Running::default())
        };
        let held = HeldOut::new(network, pictures)?;
        let run =
            Run { pictures, options, network, objective, held, identity, state, history, running, folder };
        if options.start != Start::Resume {
            // A disk that is full, or a folder that nothing can be written to, shows before hours of work and
            // not after them.
            run.save_checkpoint(Which::First)?;
        }
        Ok(run)
    }

    fn plan(&self) -> Plan {
        let training = &self.options.training;
        let parameters: usize = self.network.parameters().iter().map(|p| p.spec.elements()).sum();
        let tasks = names(self.network);
        let title = format!(
            "{}: {} ({parameters} parameters), {} on {}: {} pictures, {} held out",
            self.options.name,
            self.network.describe(),
            tasks.join(" "),
            self.pictures.name,
            self.pictures.train.len(),
            self.pictures.test.len()
        );
        Plan { title, tasks, steps: training.steps, done: self.state.step, batch: training.batch }
    }

    /// Runs to the end; false if `stop_after` or a signal came first.
    fn train(&mut self, progress: &mut dyn Progress) -> Result<bool> {
        let mut saved = Instant::now();
        if self.state.step == 0 {
            self.validate(progress)?;
        }
        while self.state.step < self.options.training.steps {
            let is_asked = self.options.stop_after.is_some_and(|stop| self.state.step >= stop);
            if is_asked || interrupt::requested().is_some() {
                self.save_checkpoint(Which::Later)?;
                self.network.save(&self.options.out, &self.options.name, &self.state.average)?;
                return Ok(false);
            }
            self.step(progress)?;
            let step = self.state.step;
            if step.is_multiple_of(self.options.validate_every) || step == self.options.training.steps {
                self.validate(progress)?;
            }
            if saved.elapsed() >= self.options.checkpoint_every {
                warn_of(self.save_checkpoint(Which::Later));
                warn_of(self.network.save(&self.options.out, &self.options.name, &self.state.average));
                saved = Instant::now();
            }
        }
        Ok(true)
    }

    fn learning_rate(&self, step: u64) -> f64 {
        let training = &self.options.training;
        learning_rate(step, training.steps, training.warmup, training.lr, training.lr_floor)
    }

    fn step(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let training = &self.options.training;
        let step = self.state.step;
        let tasks = self.network.tasks().len();
        let task = task_of_step(step, tasks, training.seed);
        let kind = self.network.tasks()[task];
        let pair = |index| {
            self.pictures.pair(kind, self.network.window(), training.sigmas, training.seed, step, index)
        };
        let mut result =
            self.network.gradients(&self.state.values, task, training.batch, &self.objective, pair)?;
        let norm = clip(&mut result.grads, training.clip);
        if !result.loss.is_finite() || !norm.is_finite() {
            bail!(
                "training diverged at step {step} (loss {}, gradient norm {norm}); lower --lr (now {}) or \
                 set --clip",
                result.loss,
                training.lr
            );
        }
        let lr = self.learning_rate(step);
        let adam = AdamW { beta1: BETA1, beta2: BETA2, eps: EPS, weight_decay: training.weight_decay };
        let specs: Vec<ParameterSpec> = self.network.parameters().iter().map(|p| p.spec.clone()).collect();
        // A task's own parameters are updated once a round.
        let count = |task: Option<usize>| if task.is_some() { step / tasks as u64 + 1 } else { step + 1 };
        let updates: Vec<u64> = self.network.parameters().iter().map(|p| count(p.task)).collect();
        self.state.update_each(&specs, &result.grads, &updates, lr as f32, &adam, training.ema);
        self.running.add(result.loss, training.batch, norm);
        progress.step(self.running.mean_loss(), lr);
        Ok(())
    }

    fn validate(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let running = std::mem::take(&mut self.running);
        let values = &self.state.average;
        let tasks = 0..self.network.tasks().len();
        let psnr: Result<Vec<f64>> = tasks.map(|task| self.held.score(self.network, values, task)).collect();
        let record = Record {
            step: self.state.step,
            loss: running.mean_loss(),
            gradient_norm: running.gradient_norm / running.steps.max(1.0),
            lr: self.learning_rate(self.state.step.saturating_sub(1)),
            psnr: psnr?,
        };
        progress.validated(&record);
        self.history.push(record);
        warn_of(self.draw());
        Ok(())
    }

    /// Curves of what was measured so far, and sample pictures of the weights as they are.
    fn draw(&self) -> Result<()> {
        let (out, tasks) = (&self.options.out, names(self.network));
        let drawing = curve::svg(&self.history, &tasks, &self.options.name)?;
        output::write(&out.join(CURVE_FILE), drawing)?;
        self.held.write_samples(self.network, &self.state.average, &out.join(SAMPLES_FOLDER))
    }

    fn save_checkpoint(&self, which: Which) -> Result<()> {
        let history: Vec<f64> = self.history.iter().flat_map(Record::to_vec).collect();
        let running = self.running.to_array().to_vec();
        let fields = Record::fields(self.network.tasks().len());
        let tables = [("history", fields, history), ("running", running.len(), running)];
        let specs = self.network.parameters().iter().map(|p| &p.spec);
        checkpoint::write_state(&self.folder, &self.state, &tables, specs, &self.identity, which)
    }

    /// Writes model, curves and report, then removes the checkpoint.
    fn finish(&self, resumed_at: u64, seconds: f64, windows_per_second: f64) -> Result<RestorerReport> {
        let out = &self.options.out;
        self.network.save(out, &self.options.name, &self.state.average)?;
        let report = RestorerReport {
            name: self.options.name.clone(),
            network: self.network.describe(),
            tasks: names(self.network),
            pictures: self.pictures.name.clone(),
            pictures_sha256: self.pictures.sha256().to_owned(),
            train_pictures: self.pictures.train.len(),
            held_out_pictures: self.pictures.test.len(),
            parameters: self.network.parameters().iter().map(|p| p.spec.elements()).sum(),
            resumed_at,
            seconds,
            windows_per_second,
            training: self.options.training.clone(),
            history: self.history.clone(),
        };
        report.write(out)?;
        // The samples and curves of the last validation may have met a full disk.
        self.draw()?;
        self.folder.complete()?;
        Ok(report)
    }
}

/// Tasks take turns in rounds; each round has them in an order of its own.
fn task_of_step(step: u64, tasks: usize, seed: u64) -> usize {
    let (round, turn) = (step / tasks as u64, (step % tasks as u64) as usize);
    super::super::augment::epoch_order(tasks, seed, round)[turn]
}

/// Names of the network's tasks.
fn names(network: &dyn Network) -> Vec<String> {
    network.tasks().iter().map(ToString::to_string).collect()
}
