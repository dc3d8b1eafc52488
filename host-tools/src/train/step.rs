//! One training step and evaluation, split over images.

use super::augment::Sampler;
use super::cnn::CnnConfig;
use super::model::{parameters, ParameterSpec, Weights};
use super::ops;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;
use std::fmt;
use vitreous::models::vit::VitConfig;

/// Images of one shard. Shards run in parallel and their gradients are added in order, so the result depends
/// on this number but not on the number of threads.
pub const SHARD_IMAGES: usize = 16;
/// Images of one evaluation batch.
const EVALUATION_IMAGES: usize = 64;

/// What classifies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Classifier {
    /// A vision transformer.
    Vit(VitConfig),
    /// A convolutional network.
    Cnn(CnnConfig),
}

impl fmt::Display for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Classifier::Vit(c) => write!(
                f,
                "ViT {}×{} patch {} dim {} depth {} heads {}",
                c.image_height, c.image_width, c.patch_height, c.dim, c.depth, c.heads
            ),
            Classifier::Cnn(c) => {
                write!(f, "CNN {}×{} width {} stages {}", c.image, c.image, c.width, c.depth())
            }
        }
    }
}

/// A classifier with its parameter list.
pub struct Model {
    /// The hyperparameters.
    pub classifier: Classifier,
    /// Its parameters, in order.
    pub specs: Vec<ParameterSpec>,
}

/// Loss and gradients of a batch.
pub struct Gradients {
    /// Mean loss.
    pub loss: f64,
    /// In the order of the parameter list.
    pub grads: Vec<Vec<f32>>,
}

impl Model {
    /// The model of these hyperparameters.
    pub fn new(classifier: Classifier) -> Self {
        let specs = match &classifier {
            Classifier::Vit(config) => parameters(config),
            Classifier::Cnn(config) => config.parameters(),
        };
        Model { classifier, specs }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match &self.classifier {
            Classifier::Vit(config) => config.classes,
            Classifier::Cnn(config) => config.classes,
        }
    }

    /// Logits of every head, each (batch, classes), of normalised images (height, width, channels).
    fn logits(&self, tensors: &[Tensor], images: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        Ok(match &self.classifier {
            Classifier::Vit(c) => Weights::new(c, &self.specs, tensors).forward(&patches(c, images)?)?,
            Classifier::Cnn(c) => vec![c.logits(&self.specs, tensors, images)?],
        })
    }

    /// Mean loss of the images `indices`, which stand at `position` and following of their epoch, and its
    /// gradients.
    pub fn gradients(
        &self,
        values: &[Vec<f32>],
        sampler: &Sampler,
        indices: &[usize],
        epoch: u64,
        position: usize,
    ) -> Result<Gradients> {
        let scale = 1.0 / indices.len() as f32;
        let shards: Result<Vec<Gradients>> = indices
            .par_chunks(SHARD_IMAGES)
            .enumerate()
            .map(|(shard, indices)| {
                let first = position + shard * SHARD_IMAGES;
                let samples =
                    indices.iter().enumerate().map(|(i, &index)| sampler.sample(index, epoch, first + i));
                let (images, targets): (Vec<_>, Vec<_>) = samples.unzip();
                self.shard_gradients(values, &images, &targets, scale)
            })
            .collect();
        let mut shards = shards?.into_iter();
        let mut sum = shards.next().context("a batch without images")?;
        for shard in shards {
            sum.loss += shard.loss;
            for (total, part) in sum.grads.iter_mut().zip(&shard.grads) {
                total.iter_mut().zip(part).for_each(|(t, &p)| *t += p);
            }
        }
        Ok(sum)
    }

    fn shard_gradients(
        &self,
        values: &[Vec<f32>],
        images: &[Vec<f32>],
        targets: &[Vec<f32>],
        scale: f32,
    ) -> Result<Gradients> {
        let variables: Result<Vec<Var>, _> = self
            .specs
            .iter()
            .zip(values)
            .map(|(spec, value)| Var::from_slice(value, spec.shape.as_slice(), &Device::Cpu))
            .collect();
        let variables = variables?;
        let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
        let heads = self.logits(&tensors, images)?;
        let targets = Tensor::from_vec(targets.concat(), (images.len(), self.classes()), &Device::Cpu)?;
        // With two classifiers each learns the label: their losses are averaged.
        let scale = scale / heads.len() as f32;
        let mut loss = ops::cross_entropy(&heads[0], &targets, scale)?;
        for head in &heads[1..] {
            loss = (loss + ops::cross_entropy(head, &targets, scale)?)?;
        }
        let store = loss.backward()?;
        let gradient = |(variable, spec): (&Var, &ParameterSpec)| {
            let grad = store.get(variable).with_context(|| format!("{}: no gradient", spec.name))?;
            Ok(grad.flatten_all()?.to_vec1::<f32>()?)
        };
        let grads: Result<Vec<Vec<f32>>> = variables.iter().zip(&self.specs).map(gradient).collect();
        Ok(Gradients { loss: loss.to_scalar::<f32>()? as f64, grads: grads? })
    }

    /// The class with the highest logit (averaged over classifiers) of every image, unchanged by
    /// augmentation.
    pub fn classify(&self, values: &[Vec<f32>], sampler: &Sampler) -> Result<Vec<usize>> {
        let tensors: Result<Vec<Tensor>, _> = self
            .specs
            .iter()
            .zip(values)
            .map(|(spec, value)| Tensor::from_slice(value, spec.shape.as_slice(), &Device::Cpu))
            .collect();
        let tensors = tensors?;
        let indices: Vec<usize> = (0..sampler.images.len()).collect();
        let batches: Result<Vec<Vec<usize>>> = indices
            .par_chunks(EVALUATION_IMAGES)
            .map(|batch| {
                let images: Vec<Vec<f32>> = batch.iter().map(|&i| sampler.plain(i)).collect();
                let heads = self.logits(&tensors, &images)?;
                let mut logits = heads[0].clone();
                for head in &heads[1..] {
                    logits = (logits + head)?;
                }
                Ok(logits.to_vec2::<f32>()?.iter().map(|row| argmax(row)).collect())
            })
            .collect();
        Ok(batches?.concat())
    }

    /// Number of images of `sampler` that are classified as labelled.
    pub fn count_correct(&self, values: &[Vec<f32>], sampler: &Sampler) -> Result<usize> {
        let predicted = self.classify(values, sampler)?;
        Ok(predicted.iter().zip(&sampler.images.labels).filter(|(p, l)| **p == **l as usize).count())
    }
}

/// Cuts normalised images (height, width, channels) into rows of (batch·patches, channels·patch area); a row
/// is ordered as timm's convolution weight: channel, then patch row, then patch column.
fn patches(c: &VitConfig, images: &[Vec<f32>]) -> Result<Tensor> {
    let (ph, pw) = (c.patch_height, c.patch_width);
    let mut rows = Vec::with_capacity(images.len() * c.patches() * c.patch_bytes());
    for image in images {
        for top in (0..c.image_height).step_by(ph) {
            for left in (0..c.image_width).step_by(pw) {
                for channel in 0..c.channels {
                    for y in top..top + ph {
                        let row =
                            (left..left + pw).map(|x| image[(y * c.image_width + x) * c.channels + channel]);
                        rows.extend(row);
                    }
                }
            }
        }
    }
    Ok(Tensor::from_vec(rows, (images.len() * c.patches(), c.patch_bytes()), &Device::Cpu)?)
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}
