//! One training step on random images, to be timed.

use super::augment::{Augment, Sampler};
use super::classifier::Classifier;
use super::data::ImageSet;
use super::recipe::Recipe;
use super::step::Model;
use crate::train::random::{purpose, stream};
use anyhow::Result;
use rand::Rng;
use vitreous::format::{Crop, Filter, Preprocess};

/// A model with random weights and one batch of random images.
pub struct StepTimer {
    model: Model,
    values: Vec<Vec<f32>>,
    images: ImageSet,
    batch: usize,
}

impl StepTimer {
    /// The recipe's model and batch size.
    pub fn new(recipe: &Recipe, channels: usize, classes: usize) -> Result<Self> {
        let config = recipe.config(channels, classes)?;
        let model = Model::new(Classifier::Vit(config));
        let mut rng = stream(recipe.seed, purpose::WEIGHTS, 0, 0);
        let values = model.specs.iter().map(|spec| spec.initial(&mut rng)).collect();
        let (side, batch) = (recipe.image, recipe.batch);
        let pixels = (0..batch * side * side * channels).map(|_| rng.random()).collect();
        let labels = (0..batch).map(|i| (i % classes) as u16).collect();
        let images = ImageSet { height: side, width: side, channels, pixels, labels };
        Ok(StepTimer { model, values, images, batch })
    }

    /// Loss and all gradients of the batch; returns the loss.
    pub fn step(&self) -> Result<f64> {
        let preprocess = Preprocess {
            filter: Filter::Bilinear,
            crop: Crop::Squash,
            resize: 1,
            mean: [0.5; 4],
            std: [0.5; 4],
        };
        let classes = self.model.classifier.classes();
        let sampler = Sampler {
            images: &self.images,
            classes,
            preprocess: &preprocess,
            augment: Augment::NONE,
            seed: 0,
        };
        let indices: Vec<usize> = (0..self.batch).collect();
        Ok(self.model.gradients(&self.values, &sampler, &indices, 0, 0)?.loss)
    }
}
