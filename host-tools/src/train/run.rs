//! The training loop.

use super::augment::{epoch_order, purpose, stream, Sampler};
use super::checkpoint::{self, Checkpoint, Which};
use super::data::{DataSource, Dataset};
use super::folder::{warn_of, RunFolder, Start, MODEL_FILE, REPORT_FILE, UNWRITTEN};
use super::history::{EpochRecord, Running};
use super::optimizer::{clip, learning_rate, AdamW, State};
use super::progress::{Plan, TrainProgress};
use super::recipe::{Augment, Recipe};
use super::step::{Classifier, Model, SHARD_IMAGES};
use super::{curve, report::TrainReport};
use crate::checkpoint::{FloatTensor, FloatVit};
use crate::interrupt::{self, Graceful};
use crate::output;
use crate::text::counted;
use anyhow::{bail, ensure, Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vitreous::format::Preprocess;

/// Name of the loss curve.
pub const CURVE_FILE: &str = "loss.svg";
/// What else is written.
const OTHER_FILES: [&str; 3] = [CURVE_FILE, "config.json", "labels.txt"];

/// What to train and where to put it.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The model's name.
    pub name: String,
    /// Model and training settings.
    pub recipe: Recipe,
    /// Output folder.
    pub out: PathBuf,
    /// What to do with a training that is in `out`.
    pub start: Start,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Write a checkpoint and stop after this many steps of the whole run.
    pub stop_after: Option<u64>,
}

/// AdamW's constants beside the recipe's weight decay: those of Touvron et al. (arXiv 2012.12877, table 9).
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// Trains a ViT and writes model.safetensors, config.json, labels.txt, the loss curve and the report to the
/// output folder.
///
/// Returns `None` if [`TrainOptions::stop_after`] or a signal ended the run early; the checkpoint is there
/// then.
pub fn train_vit(
    data: &Dataset,
    options: &TrainOptions,
    progress: &mut dyn TrainProgress,
) -> Result<Option<TrainReport>> {
    let mut run = Run::start(data, options)?;
    let _graceful = Graceful::begin();
    let started = Instant::now();
    let first_step = run.checkpoint.state.step;
    progress.begin(&run.plan());
    let finished = run.train(progress);
    progress.end();
    if !finished? {
        return Ok(None);
    }
    let seconds = started.elapsed().as_secs_f64();
    let images = run.images_after(run.total_steps()) - run.images_after(first_step);
    run.finish(first_step, seconds, images as f64 / seconds).context(UNWRITTEN).map(Some)
}

/// Loads the data that a source names and fills in the recipe that suits it.
pub fn load_data(source: &DataSource, shape: super::data::Shape) -> Result<(Dataset, Recipe)> {
    let data = Dataset::load(source, shape)?;
    let recipe = Recipe::for_data(&data);
    Ok((data, recipe))
}

struct Run<'a> {
    data: &'a Dataset,
    options: &'a TrainOptions,
    model: Model,
    preprocess: Preprocess,
    /// Identity of the run, compared on resume.
    identity: Value,
    checkpoint: Checkpoint,
    folder: RunFolder,
}

impl<'a> Run<'a> {
    fn start(data: &'a Dataset, options: &'a TrainOptions) -> Result<Self> {
        let recipe = &options.recipe;
        recipe.validate()?;
        ensure!(
            data.train.height == recipe.image && data.train.width == recipe.image,
            "{}: images are {}×{}, the model takes {}×{}",
            data.name,
            data.train.height,
            data.train.width,
            recipe.image,
            recipe.image
        );
        let model = Model::new(recipe.classifier(data.train.channels, data.labels.len())?);
        // The number of images per shard decides how gradients are summed.
        let identity =
            json!({ "recipe": recipe, "data_sha256": data.sha256(), "shard_images": SHARD_IMAGES });
        // Compared with what comes back from a file, so it goes through text once.
        let identity: Value = serde_json::from_str(&identity.to_string())?;
        let folder = RunFolder::open(&options.out, options.start, &OTHER_FILES)?;
        let checkpoint = if options.start == Start::Resume {
            checkpoint::read(&folder, &model.specs, &identity)?
        } else {
            let mut rng = stream(recipe.seed, purpose::WEIGHTS, 0, 0);
            let values = model.specs.iter().map(|spec| spec.initial(&mut rng)).collect();
            Checkpoint { state: State::new(values), history: Vec::new(), running: Running::default() }
        };
        let run = Run { data, options, model, preprocess: data.preprocess(), identity, checkpoint, folder };
        if options.start != Start::Resume {
            // A disk that is full, or a folder that nothing can be written to, shows before hours of work and
            // not after them.
            run.save_checkpoint(Which::First)?;
        }
        Ok(run)
    }

    fn sampler(&self, test: bool) -> Sampler<'_> {
        let recipe = &self.options.recipe;
        Sampler {
            images: if test { &self.data.test } else { &self.data.train },
            classes: self.data.labels.len(),
            preprocess: &self.preprocess,
            augment: if test { Augment::NONE } else { recipe.augment },
            seed: recipe.seed,
        }
    }

    fn steps_per_epoch(&self) -> u64 {
        self.data.train.len().div_ceil(self.options.recipe.batch) as u64
    }

    fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * self.options.recipe.epochs
    }

    /// Training images seen once `steps` are done.
    fn images_after(&self, steps: u64) -> u64 {
        let (epochs, rest) = (steps / self.steps_per_epoch(), steps % self.steps_per_epoch());
        epochs * self.data.train.len() as u64 + rest * self.options.recipe.batch as u64
    }

    fn parameters(&self) -> usize {
        self.model.specs.iter().map(|s| s.elements()).sum()
    }

    fn plan(&self) -> Plan {
        let recipe = &self.options.recipe;
        let title = format!(
            "{}: {} ({} parameters) on {}: {}, {} held out",
            self.options.name,
            self.model.classifier,
            self.parameters(),
            self.data.name,
            counted(self.data.train.len(), "image"),
            self.data.test.len()
        );
        let resumed_images = self.images_after(self.checkpoint.state.step);
        Plan { title, images: self.data.train.len() as u64, epochs: recipe.epochs, resumed_images }
    }

    /// Runs to the end; false if `stop_after` or a signal came first.
    fn train(&mut self, progress: &mut dyn TrainProgress) -> Result<bool> {
        let mut saved = Instant::now();
        let mut order: Option<(u64, Vec<usize>)> = None;
        while self.checkpoint.state.step < self.total_steps() {
            let step = self.checkpoint.state.step;
            if self.options.stop_after.is_some_and(|stop| step >= stop) || interrupt::requested().is_some() {
                self.save_checkpoint(Which::Later)?;
                return Ok(false);
            }
            let epoch = step / self.steps_per_epoch();
            if order.as_ref().is_none_or(|(of, _)| *of != epoch) {
                order = Some((epoch, epoch_order(self.data.train.len(), self.options.recipe.seed, epoch)));
            }
            let order = order.as_ref().map_or(&[][..], |(_, order)| order);
            self.step(step, epoch, order, progress)?;
            if (step + 1).is_multiple_of(self.steps_per_epoch()) {
                self.end_epoch(epoch, progress)?;
            }
            if saved.elapsed() >= self.options.checkpoint_every {
                warn_of(self.save_checkpoint(Which::Later));
                saved = Instant::now();
            }
        }
        Ok(true)
    }

    fn learning_rate(&self, step: u64) -> f64 {
        let recipe = &self.options.recipe;
        let warmup = (recipe.warmup_epochs * self.steps_per_epoch() as f64).round() as u64;
        learning_rate(step, self.total_steps(), warmup, recipe.lr, recipe.lr_floor)
    }

    fn step(
        &mut self,
        step: u64,
        epoch: u64,
        order: &[usize],
        progress: &mut dyn TrainProgress,
    ) -> Result<()> {
        let recipe = &self.options.recipe;
        let position = (step % self.steps_per_epoch()) as usize * recipe.batch;
        let batch = &order[position..order.len().min(position + recipe.batch)];
        let values = &self.checkpoint.state.values;
        let mut result = self.model.gradients(values, &self.sampler(false), batch, epoch, position)?;
        let norm = clip(&mut result.grads, recipe.clip);
        if !result.loss.is_finite() || !norm.is_finite() {
            bail!(
                "training diverged at step {step} (loss {}, gradient norm {norm}); lower --lr (now {}) or \
                 set --clip",
                result.loss,
                recipe.lr
            );
        }
        let lr = self.learning_rate(step);
        let adam = AdamW { beta1: BETA1, beta2: BETA2, eps: EPS, weight_decay: recipe.weight_decay };
        self.checkpoint.state.update(&self.model.specs, &result.grads, lr as f32, &adam, recipe.ema);
        self.checkpoint.running.add(result.loss, batch.len(), norm);
        progress.step(batch.len() as u64, self.checkpoint.running.mean_loss(), lr);
        Ok(())
    }

    fn end_epoch(&mut self, epoch: u64, progress: &mut dyn TrainProgress) -> Result<()> {
        let correct = self.model.count_correct(&self.checkpoint.state.average, &self.sampler(true))?;
        let running = std::mem::take(&mut self.checkpoint.running);
        let record = EpochRecord {
            epoch: epoch + 1,
            loss: running.mean_loss(),
            gradient_norm: running.gradient_norm / running.steps.max(1.0),
            lr: self.learning_rate(self.checkpoint.state.step - 1),
            test_accuracy: correct as f64 / self.data.test.len() as f64,
        };
        progress.epoch(&record);
        self.checkpoint.history.push(record);
        Ok(())
    }

    fn save_checkpoint(&self, which: Which) -> Result<()> {
        checkpoint::write(&self.folder, &self.checkpoint, &self.model.specs, &self.identity, which)
    }

    /// A transformer becomes a model that `convert` takes; a convolutional network its tensors alone.
    fn save(&self, out: &Path, values: &[Vec<f32>]) -> Result<()> {
        let pairs = self.model.specs.iter().zip(values);
        let Classifier::Vit(config) = self.model.classifier else {
            let views: Result<Vec<_>, _> = pairs
                .map(|(spec, data)| {
                    let view = TensorView::new(Dtype::F32, spec.shape.clone(), bytemuck::cast_slice(data));
                    view.map(|view| (spec.name.clone(), view))
                })
                .collect();
            output::write(&out.join(MODEL_FILE), safetensors::serialize(views?, None)?)?;
            return Ok(());
        };
        let tensor = |(spec, data): (&super::model::ParameterSpec, &Vec<f32>)| {
            (spec.name.clone(), FloatTensor { shape: spec.shape.clone(), data: data.clone() })
        };
        let (name, labels) = (self.options.name.clone(), self.data.labels.clone());
        FloatVit::new(name, config, self.preprocess, labels, pairs.map(tensor).collect())?.save(out)?;
        Ok(())
    }

    /// Writes model, curve and report, then removes the checkpoint.
    fn finish(&self, resumed_at: u64, seconds: f64, images_per_second: f64) -> Result<TrainReport> {
        let out = &self.options.out;
        let values = &self.checkpoint.state.average;
        self.save(out, values)?;
        let report = TrainReport {
            name: self.options.name.clone(),
            data: self.data.name.clone(),
            data_sha256: self.data.sha256(),
            train_images: self.data.train.len(),
            test_images: self.data.test.len(),
            classes: self.data.labels.len(),
            parameters: self.parameters(),
            steps: self.checkpoint.state.step,
            resumed_at,
            seconds,
            images_per_second,
            train_correct: self.model.count_correct(values, &self.sampler(false))?,
            test_correct: self.model.count_correct(values, &self.sampler(true))?,
            recipe: self.options.recipe.clone(),
            history: self.checkpoint.history.clone(),
        };
        let text = serde_json::to_string_pretty(&report)? + "\n";
        output::write(&out.join(REPORT_FILE), text)?;
        let drawing = curve::svg(&report.history, &format!("{} on {}", report.name, report.data))?;
        output::write(&out.join(CURVE_FILE), drawing)?;
        self.folder.complete()?;
        Ok(report)
    }
}
