//! The training loop.

use super::super::augment::{purpose, stream};
use super::super::checkpoint;
use super::super::history::Running;
use super::super::model::ParameterSpec;
use super::super::optimizer::{clip, learning_rate, AdamW, State};
use super::folder;
use super::history::Record;
use super::init::initial_values;
use super::parameters::parameters;
use super::pictures::Pictures;
use super::progress::{Plan, Progress};
use super::recipe::Recipe;
use super::report::IptReport;
use super::step::{Model, Objective, SHARD_WINDOWS};
use crate::degrade::{degrade, Picture};
use anyhow::{bail, ensure, Context, Result};
use rayon::prelude::*;
use serde_json::{json, Value};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Name of the checkpoint in the output folder, which goes away when the run is complete.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// Windows of a held-out picture that are scored.
const WINDOWS_PER_PICTURE: usize = 3;
/// Held-out windows of one forward pass.
const HELD_BATCH: usize = 8;
/// Adam's constants.
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.99;
const EPS: f32 = 1e-8;

/// What to train and where to put it.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The model's name.
    pub name: String,
    /// Model and training settings.
    pub recipe: Recipe,
    /// Folder of a trained model to start from.
    pub init: Option<PathBuf>,
    /// Output folder.
    pub out: PathBuf,
    /// Go on from the checkpoint in `out`.
    pub resume: bool,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Steps between validations.
    pub validate_every: u64,
    /// Write a checkpoint and stop after this many steps of the whole run.
    pub stop_after: Option<u64>,
}

/// Trains an IPT and writes model.safetensors, config.json, curves, samples and the report to the output folder.
///
/// Returns `None` if [`TrainOptions::stop_after`] ended the run early; the checkpoint is there then.
pub fn train_ipt(
    pictures: &mut Pictures,
    options: &TrainOptions,
    progress: &mut dyn Progress,
) -> Result<Option<IptReport>> {
    let mut run = Run::start(pictures, options)?;
    let started = Instant::now();
    let first = run.state.step;
    progress.begin(&run.plan());
    let finished = run.train(progress);
    progress.end();
    if !finished? {
        return Ok(None);
    }
    let seconds = started.elapsed().as_secs_f64();
    let windows = (run.state.step - first) * options.recipe.batch as u64;
    run.finish(seconds, windows as f64 / seconds).map(Some)
}

/// A held-out window and what the task gets of it.
struct Held {
    clean: Picture,
    degraded: Picture,
}

struct Run<'a> {
    pictures: &'a Pictures,
    options: &'a TrainOptions,
    model: Model,
    objective: Objective,
    /// Per task.
    held: Vec<Vec<Held>>,
    /// Identity of the run, compared on resume.
    identity: Value,
    state: State,
    history: Vec<Record>,
    running: Running,
}

impl<'a> Run<'a> {
    fn start(pictures: &'a mut Pictures, options: &'a TrainOptions) -> Result<Self> {
        let recipe = &options.recipe;
        recipe.validate()?;
        let config = recipe.config()?;
        pictures.prepare(&config.tasks)?;
        let pictures: &Pictures = pictures;
        let model = Model { parameters: parameters(&config), config };
        let initial = match &options.init {
            Some(dir) => {
                let (source, values) = folder::load(dir)?;
                folder::adopt(&model, &source, &values, recipe.seed)?
            }
            None => initial_values(&model.config, &model.parameters, recipe.seed),
        };
        // Where a run started is part of what it is: its sum stands for all values.
        let sum: f64 =
            initial.iter().flatten().enumerate().map(|(i, v)| f64::from(*v) * (1 + i % 7) as f64).sum();
        let identity = json!({
            "recipe": recipe, "pictures_sha256": pictures.sha256(), "shard_windows": SHARD_WINDOWS,
            "initial": options.init.as_ref().map(|_| format!("{sum:e}")),
            "validate_every": options.validate_every,
        });
        // Compared with what comes back from a file, so it goes through text once.
        let identity: Value = serde_json::from_str(&identity.to_string())?;
        let out = &options.out;
        std::fs::create_dir_all(out).with_context(|| format!("{}: cannot create", out.display()))?;
        let path = out.join(CHECKPOINT_FILE);
        let tasks = model.config.tasks.len();
        let (state, history, running) = if options.resume {
            let specs = model.parameters.iter().map(|p| &p.spec);
            let (state, [history, running]) =
                checkpoint::read_state(&path, specs, ["history", "running"], &identity)?;
            let history = history.chunks_exact(Record::fields(tasks)).map(Record::from_slice).collect();
            let running = Running::from_slice(&running);
            (state, history, running.with_context(|| format!("{}: damaged checkpoint", path.display()))?)
        } else {
            ensure!(
                !path.exists(),
                "{}: a checkpoint of an unfinished run; give --resume, or delete it to start again",
                path.display()
            );
            (State::new(initial), Vec::new(), Running::default())
        };
        let held = held_out(&model, pictures)?;
        let objective = recipe.objective()?;
        Ok(Run { pictures, options, model, objective, held, identity, state, history, running })
    }

    fn plan(&self) -> Plan {
        let recipe = &self.options.recipe;
        let parameters: usize = self.model.parameters.iter().map(|p| p.spec.elements()).sum();
        let title = format!(
            "{}: IPT window {} patch {} features {}, {}+{} layers ({parameters} parameters), {} on {}: {} pictures, {} held out",
            self.options.name,
            recipe.window,
            recipe.patch,
            recipe.features,
            recipe.encoder_layers,
            recipe.decoder_layers,
            recipe.tasks.join(" "),
            self.pictures.name,
            self.pictures.train.len(),
            self.pictures.test.len()
        );
        Plan {
            title,
            tasks: recipe.tasks.clone(),
            steps: recipe.steps,
            done: self.state.step,
            batch: recipe.batch,
        }
    }

    /// Runs to the end; false if `stop_after` came first.
    fn train(&mut self, progress: &mut dyn Progress) -> Result<bool> {
        let mut saved = Instant::now();
        if self.state.step == 0 {
            self.validate(progress)?;
        }
        while self.state.step < self.options.recipe.steps {
            if self.options.stop_after.is_some_and(|stop| self.state.step >= stop) {
                self.save_checkpoint()?;
                folder::save(&self.options.out, &self.options.name, &self.model, &self.state.average)?;
                return Ok(false);
            }
            self.step(progress)?;
            let step = self.state.step;
            if step.is_multiple_of(self.options.validate_every) || step == self.options.recipe.steps {
                self.validate(progress)?;
            }
            if saved.elapsed() >= self.options.checkpoint_every {
                self.save_checkpoint()?;
                folder::save(&self.options.out, &self.options.name, &self.model, &self.state.average)?;
                saved = Instant::now();
            }
        }
        Ok(true)
    }

    fn learning_rate(&self, step: u64) -> f64 {
        let recipe = &self.options.recipe;
        learning_rate(step, recipe.steps, recipe.warmup, recipe.lr, recipe.lr_floor)
    }

    fn step(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let recipe = &self.options.recipe;
        let step = self.state.step;
        let tasks = self.model.config.tasks.len();
        let task = task_of_step(step, tasks, recipe.seed);
        let kind = self.model.config.tasks[task];
        let pair = |index| self.pictures.pair(kind, recipe.window, recipe.sigmas, recipe.seed, step, index);
        let mut result =
            self.model.gradients(&self.state.values, task, recipe.batch, &self.objective, pair)?;
        let norm = clip(&mut result.grads, recipe.clip);
        if !result.loss.is_finite() || !norm.is_finite() {
            bail!(
                "training diverged at step {step} (loss {}, gradient norm {norm}); lower --lr (now {}) or set --clip",
                result.loss,
                recipe.lr
            );
        }
        let lr = self.learning_rate(step);
        let adam = AdamW { beta1: BETA1, beta2: BETA2, eps: EPS, weight_decay: recipe.weight_decay };
        let specs: Vec<ParameterSpec> = self.model.parameters.iter().map(|p| p.spec.clone()).collect();
        // A task's own parameters are updated once a round.
        let count = |task: Option<usize>| if task.is_some() { step / tasks as u64 + 1 } else { step + 1 };
        let updates: Vec<u64> = self.model.parameters.iter().map(|p| count(p.task)).collect();
        self.state.update_each(&specs, &result.grads, &updates, lr as f32, &adam, recipe.ema);
        self.running.add(result.loss, recipe.batch, norm);
        progress.step(self.running.mean_loss(), lr);
        Ok(())
    }

    fn validate(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let running = std::mem::take(&mut self.running);
        let psnr: Result<Vec<f64>> = (0..self.held.len()).map(|task| self.score(task)).collect();
        let record = Record {
            step: self.state.step,
            loss: running.mean_loss(),
            gradient_norm: running.gradient_norm / running.steps.max(1.0),
            lr: self.learning_rate(self.state.step.saturating_sub(1)),
            psnr: psnr?,
        };
        progress.validated(&record);
        self.history.push(record);
        Ok(())
    }

    /// PSNR over all held-out windows of a task together.
    fn score(&self, task: usize) -> Result<f64> {
        let weights = self.model.constants(&self.state.average, task)?;
        let errors: Result<Vec<f64>> = self.held[task]
            .par_chunks(HELD_BATCH)
            .map(|held| {
                let degraded: Vec<&Picture> = held.iter().map(|h| &h.degraded).collect();
                let restored = self.model.restore_windows(&weights, task, &degraded)?;
                let error = |(restored, held): (&Vec<f32>, &Held)| -> f64 {
                    let pixels = restored.iter().zip(&held.clean.data);
                    pixels
                        .map(|(&r, &c)| {
                            f64::from(r.round_ties_even().clamp(0.0, 255.0) - f32::from(c)).powi(2)
                        })
                        .sum()
                };
                Ok(restored.iter().zip(held).map(error).sum())
            })
            .collect();
        let count: usize = self.held[task].iter().map(|h| h.clean.data.len()).sum();
        Ok(psnr(errors?.iter().sum::<f64>() / count.max(1) as f64))
    }

    fn save_checkpoint(&self) -> Result<()> {
        let path = self.options.out.join(CHECKPOINT_FILE);
        let history: Vec<f64> = self.history.iter().flat_map(Record::to_vec).collect();
        let running = self.running.to_array().to_vec();
        let fields = Record::fields(self.model.config.tasks.len());
        let tables = [("history", fields, history), ("running", running.len(), running)];
        let specs = self.model.parameters.iter().map(|p| &p.spec);
        checkpoint::write_state(&path, &self.state, &tables, specs, &self.identity)
    }

    /// Writes model, curves and report, then removes the checkpoint.
    fn finish(&self, seconds: f64, windows_per_second: f64) -> Result<IptReport> {
        let out = &self.options.out;
        folder::save(out, &self.options.name, &self.model, &self.state.average)?;
        let report = IptReport {
            name: self.options.name.clone(),
            pictures: self.pictures.name.clone(),
            pictures_sha256: self.pictures.sha256().to_owned(),
            train_pictures: self.pictures.train.len(),
            held_out_pictures: self.pictures.test.len(),
            parameters: self.model.parameters.iter().map(|p| p.spec.elements()).sum(),
            seconds,
            windows_per_second,
            recipe: self.options.recipe.clone(),
            history: self.history.clone(),
        };
        report.write(out)?;
        let path = out.join(CHECKPOINT_FILE);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("{}: cannot remove", path.display()))?;
        }
        Ok(report)
    }
}

/// PSNR in dB of a mean squared error in grey levels.
pub fn psnr(mean_square_error: f64) -> f64 {
    10.0 * (255.0 * 255.0 / mean_square_error.max(1e-10)).log10()
}

/// Tasks take turns in rounds; each round has them in an order of its own.
fn task_of_step(step: u64, tasks: usize, seed: u64) -> usize {
    let (round, turn) = (step / tasks as u64, (step % tasks as u64) as usize);
    super::super::augment::epoch_order(tasks, seed, round)[turn]
}

/// Evenly spread windows of the held-out pictures with each task's degradation.
fn held_out(model: &Model, pictures: &Pictures) -> Result<Vec<Vec<Held>>> {
    let window = model.config.window;
    let of_task = |(index, task): (usize, &vitreous::models::ipt::Task)| -> Result<Vec<Held>> {
        let side = window * task.scale;
        let mut all = Vec::new();
        for (number, picture) in pictures.test.iter().enumerate() {
            for part in 1..=WINDOWS_PER_PICTURE {
                let mut rng = stream(
                    0,
                    purpose::VALIDATION,
                    index as u64,
                    (number * WINDOWS_PER_PICTURE + part) as u64,
                );
                let place = |length: usize| length.saturating_sub(side) * part / (WINDOWS_PER_PICTURE + 1);
                let (left, top) = (place(picture.width) as isize, place(picture.height) as isize);
                let clean = picture.crop(left, top, side, side);
                all.push(Held { degraded: degrade(*task, &clean, &mut rng)?, clean });
            }
        }
        Ok(all)
    };
    model.config.tasks.iter().enumerate().map(of_task).collect()
}
