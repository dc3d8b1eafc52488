//! One training step and evaluation, split over images.

use super::augment::Sampler;
use super::classifier::Classifier;
use crate::reference::argmax;
use crate::train::gradients::{Gradients, Variables};
use crate::train::ops;
use crate::train::parameter::ParameterSpec;
use crate::train::random::{purpose, stream};
use crate::train::weights::Weights;
use anyhow::Result;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// Images of one shard. Shards run in parallel and their gradients are added in order, so the result depends
/// on this number but not on the number of threads.
pub const SHARD_IMAGES: usize = 16;
/// Images of one evaluation batch.
const EVALUATION_IMAGES: usize = 64;

/// A classifier with its parameter list.
pub struct Model {
    /// The hyperparameters.
    pub classifier: Classifier,
    /// Its parameters, in order.
    pub specs: Vec<ParameterSpec>,
}

impl Model {
    /// The model of these hyperparameters.
    pub fn new(classifier: Classifier) -> Self {
        Model { specs: classifier.parameters(), classifier }
    }

    /// Starting values of all parameters.
    pub fn initial_values(&self, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = stream(seed, purpose::WEIGHTS, 0, 0);
        self.specs.iter().map(|spec| spec.initial(&mut rng)).collect()
    }

    /// Mean loss of the images `indices`, and its gradients. The images stand one after the other in their
    /// epoch, the first one at `position`.
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
        Gradients::sum(shards?)
    }

    fn shard_gradients(
        &self,
        values: &[Vec<f32>],
        images: &[Vec<f32>],
        targets: &[Vec<f32>],
        scale: f32,
    ) -> Result<Gradients> {
        let variables = Variables::new(self.specs.iter().map(|spec| (spec, true)), values)?;
        let heads = self.classifier.logits(&variables.weights(), images)?;
        let targets =
            Tensor::from_vec(targets.concat(), (images.len(), self.classifier.classes()), &Device::Cpu)?;
        // With two classifiers each learns the label: their losses are averaged.
        let scale = scale / heads.len() as f32;
        let mut loss = ops::cross_entropy(&heads[0], &targets, scale)?;
        for head in &heads[1..] {
            loss = (loss + ops::cross_entropy(head, &targets, scale)?)?;
        }
        variables.gradients(&loss)
    }

    /// The class with the highest logit (averaged over classifiers) of every image, unchanged by
    /// augmentation.
    pub fn classify(&self, values: &[Vec<f32>], sampler: &Sampler) -> Result<Vec<usize>> {
        let weights = Weights::constant(self.specs.iter().zip(values))?;
        let indices: Vec<usize> = (0..sampler.images.len()).collect();
        let batches: Result<Vec<Vec<usize>>> = indices
            .par_chunks(EVALUATION_IMAGES)
            .map(|batch| {
                let images: Vec<Vec<f32>> = batch.iter().map(|&i| sampler.plain(i)).collect();
                let heads = self.classifier.logits(&weights, &images)?;
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
