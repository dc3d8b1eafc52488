//! A classifier in training: an epoch goes once through all images, and ends with a score.

use super::augment::{Augment, Sampler};
use super::classifier::Classifier;
use super::data::Dataset;
use super::recipe::Recipe;
use super::report::{EpochRecord, TrainReport};
use super::step::{Model, SHARD_IMAGES};
use crate::checkpoint::{FloatTensor, FloatVit};
use crate::output;
use crate::text::counted;
use crate::train::curve::{Axis, Chart, Series, Side};
use crate::train::folder::MODEL_FILE;
use crate::train::gradients::Gradients;
use crate::train::history::Record;
use crate::train::optimizer::{AdamW, Optimizer};
use crate::train::parameter::{elements_of, ParameterSpec};
use crate::train::random::epoch_order;
use crate::train::trainee::{Outcome, Pace, Trainee};
use anyhow::{ensure, Result};
use plotters::style::RGBColor;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{json, Value};
use std::path::Path;
use vitreous::format::Preprocess;

/// Name of the loss curve.
pub const CURVE_FILE: &str = "loss.svg";

/// A classifier, its data and its recipe, to be trained by [`train`](crate::train::train).
pub struct ClassifierTraining<'a> {
    data: &'a Dataset,
    recipe: &'a Recipe,
    model: Model,
    preprocess: Preprocess,
    /// An epoch and the order of its images.
    order: Option<(u64, Vec<usize>)>,
}

impl<'a> ClassifierTraining<'a> {
    /// The recipe's model, to be trained on `data`.
    ///
    /// # Errors
    /// A setting outside of its range, or images of another size than the model's.
    pub fn new(data: &'a Dataset, recipe: &'a Recipe) -> Result<Self> {
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
        Ok(ClassifierTraining { data, recipe, model, preprocess: data.preprocess(), order: None })
    }

    /// The training images, changed as the recipe says.
    fn training(&self) -> Sampler<'_> {
        Sampler {
            images: &self.data.train,
            classes: self.data.labels.len(),
            preprocess: &self.preprocess,
            augment: self.recipe.augment,
            seed: self.recipe.seed,
        }
    }

    /// The held-out images.
    fn held_out(&self) -> Sampler<'_> {
        Sampler { images: &self.data.test, augment: Augment::NONE, ..self.training() }
    }

    fn steps_per_epoch(&self) -> u64 {
        self.data.train.len().div_ceil(self.recipe.batch) as u64
    }

    /// Makes the images' order in `epoch`, if it is not there yet.
    fn shuffle(&mut self, epoch: u64) {
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, epoch_order(self.data.train.len(), self.recipe.seed, epoch)));
        }
    }
}

impl Trainee for ClassifierTraining<'_> {
    type Report = TrainReport;
    const FILES: &'static [&'static str] = &[CURVE_FILE, "config.json", "labels.txt"];
    const SHOWS_INTERIM: bool = false;
    const BAR: &'static str = "{bar:30} {percent:>3}% {msg} · {images_per_sec} · ETA {eta}";

    fn title(&self) -> String {
        format!(
            "{} ({} parameters) on {}: {}, {} held out",
            self.model.classifier,
            elements_of(&self.model.specs),
            self.data.name,
            counted(self.data.train.len(), "image"),
            self.data.test.len()
        )
    }

    fn identity(&self) -> Value {
        // The number of images per shard decides how gradients are summed.
        json!({ "recipe": self.recipe, "data_sha256": self.data.sha256(), "shard_images": SHARD_IMAGES })
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        self.model.specs.clone()
    }

    fn initial_values(&self) -> Vec<Vec<f32>> {
        self.model.initial_values(self.recipe.seed)
    }

    fn optimizer(&self) -> Optimizer {
        let recipe = self.recipe;
        Optimizer {
            steps: self.steps_per_epoch() * recipe.epochs,
            warmup: (recipe.warmup_epochs * self.steps_per_epoch() as f64).round() as u64,
            lr: recipe.lr,
            lr_floor: recipe.lr_floor,
            clip: recipe.clip,
            // Those of Touvron et al. (arXiv 2012.12877, table 9).
            adam: AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: recipe.weight_decay },
            average: recipe.ema,
        }
    }

    fn batch(&mut self, values: &[Vec<f32>], step: u64) -> Result<(Gradients, usize)> {
        let epoch = step / self.steps_per_epoch();
        self.shuffle(epoch);
        let order = self.order.as_ref().map_or(&[][..], |(_, order)| order);
        let position = (step % self.steps_per_epoch()) as usize * self.recipe.batch;
        let batch = &order[position..order.len().min(position + self.recipe.batch)];
        let gradients = self.model.gradients(values, &self.training(), batch, epoch, position)?;
        Ok((gradients, batch.len()))
    }

    /// Training images seen: the last step of an epoch may have fewer.
    fn position(&self, steps: u64) -> u64 {
        let (epochs, rest) = (steps / self.steps_per_epoch(), steps % self.steps_per_epoch());
        epochs * self.data.train.len() as u64 + rest * self.recipe.batch as u64
    }

    fn place(&self, steps: u64) -> String {
        let epochs = self.recipe.epochs;
        format!("epoch {}/{epochs} · ", (steps / self.steps_per_epoch() + 1).min(epochs))
    }

    /// Epochs done.
    fn record_at(&self, steps: u64) -> Option<u64> {
        let is_end = steps > 0 && steps.is_multiple_of(self.steps_per_epoch());
        is_end.then(|| steps / self.steps_per_epoch())
    }

    fn score_count(&self) -> usize {
        1
    }

    /// Accuracy on the held-out images, 0 to 1.
    fn scores(&self, values: &[Vec<f32>]) -> Result<Vec<f64>> {
        let correct = self.model.count_correct(values, &self.held_out())?;
        Ok(vec![correct as f64 / self.data.test.len() as f64])
    }

    fn line(&self, record: &Record, pace: &Pace) -> String {
        let record = EpochRecord::from(record);
        format!(
            "epoch {:>3}/{}  loss {:.4}  lr {:.2e}  held-out accuracy {:.2} %  {:.0} img/s",
            record.epoch,
            self.recipe.epochs,
            record.loss,
            record.lr,
            100.0 * record.test_accuracy,
            pace.samples_per_second()
        )
    }

    /// A transformer becomes a model that `convert` takes; a convolutional network its tensors alone.
    fn save(&self, dir: &Path, name: &str, values: &[Vec<f32>]) -> Result<()> {
        let pairs = self.model.specs.iter().zip(values);
        let Classifier::Vit(config) = self.model.classifier else {
            let views: Result<Vec<_>, _> = pairs
                .map(|(spec, data)| {
                    let view = TensorView::new(Dtype::F32, spec.shape.clone(), bytemuck::cast_slice(data));
                    view.map(|view| (spec.name.clone(), view))
                })
                .collect();
            return Ok(output::write(&dir.join(MODEL_FILE), safetensors::serialize(views?, None)?)?);
        };
        let tensor = |(spec, data): (&ParameterSpec, &Vec<f32>)| {
            (spec.name.clone(), FloatTensor { shape: spec.shape.clone(), data: data.clone() })
        };
        let (name, labels) = (name.to_owned(), self.data.labels.clone());
        FloatVit::new(name, config, self.preprocess, labels, pairs.map(tensor).collect())?.save(dir)?;
        Ok(())
    }

    fn draw(&self, dir: &Path, name: &str, history: &[Record], _values: &[Vec<f32>]) -> Result<()> {
        let history: Vec<EpochRecord> = history.iter().map(EpochRecord::from).collect();
        let drawing = chart(&history, format!("{name} on {}", self.data.name)).svg()?;
        Ok(output::write(&dir.join(CURVE_FILE), drawing)?)
    }

    fn report(&self, outcome: &Outcome) -> Result<TrainReport> {
        Ok(TrainReport {
            name: outcome.options.name.clone(),
            data: self.data.name.clone(),
            data_sha256: self.data.sha256(),
            train_images: self.data.train.len(),
            test_images: self.data.test.len(),
            classes: self.data.labels.len(),
            parameters: elements_of(&self.model.specs),
            steps: outcome.steps,
            resumed_at: outcome.resumed_at,
            seconds: outcome.seconds,
            images_per_second: outcome.samples_per_second,
            train_correct: self.model.count_correct(outcome.values, &self.training())?,
            test_correct: self.model.count_correct(outcome.values, &self.held_out())?,
            recipe: self.recipe.clone(),
            history: outcome.history.iter().map(EpochRecord::from).collect(),
        })
    }
}

/// Training loss (left axis) and held-out accuracy in percent (right axis) over epochs.
fn chart(history: &[EpochRecord], title: String) -> Chart {
    let loss = Series {
        label: "training loss".to_owned(),
        colour: RGBColor(31, 119, 180),
        width: 2,
        side: Side::Left,
        points: history.iter().map(|r| (r.epoch as f64, r.loss)).collect(),
    };
    let accuracy = Series {
        label: "held-out accuracy".to_owned(),
        colour: RGBColor(214, 39, 40),
        width: 2,
        side: Side::Right,
        points: history.iter().map(|r| (r.epoch as f64, 100.0 * r.test_accuracy)).collect(),
    };
    let highest = history.iter().map(|r| r.loss).fold(1e-3, f64::max) * 1.05;
    Chart {
        title,
        size: (800, 400),
        counts: "epoch",
        end: history.last().map_or(1, |r| r.epoch).max(1) as f64,
        left: Axis { description: "training loss", range: 0.0..highest },
        right: Axis { description: "held-out accuracy, %", range: 0.0..100.0 },
        series: vec![loss, accuracy],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_svg_and_also_drawn_for_one_epoch() {
        let record = EpochRecord { epoch: 1, loss: 2.0, gradient_norm: 1.0, lr: 1e-3, test_accuracy: 0.5 };
        let text = chart(&[record], "digits".to_owned()).svg().unwrap();
        assert!(text.starts_with("<svg") && text.contains("training loss"));
    }
}
