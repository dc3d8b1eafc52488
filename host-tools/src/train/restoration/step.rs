//! One training step and evaluation, split over windows.

use super::contrast::{contrastive_loss, Contrast};
use super::network::{Network, Parameter, UNIT};
use super::pictures::Pair;
use crate::checkpoint::ipt::RGB_MEAN;
use crate::degrade::Picture;
use crate::train::gradients::{Gradients, Variables};
use crate::train::ops::{self, PixelLoss};
use crate::train::weights::Weights;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use rayon::prelude::*;
use vitreous::models::ipt::COLOURS;

/// Windows of one shard. Shards run in parallel and their gradients are added in order, so the result depends
/// on this number but not on the number of threads.
const SHARD_WINDOWS: usize = 2;
/// The same for the contrastive loss, which compares windows of a shard with each other.
const CONTRAST_SHARD_WINDOWS: usize = 8;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Loss between restored and clean pixels.
    pub pixels: PixelLoss,
    /// The contrastive loss beside it, or none.
    pub contrast: Option<Contrast>,
}

impl Objective {
    /// Windows that are worked on together.
    pub fn shard_windows(&self) -> usize {
        if self.contrast.is_some() {
            CONTRAST_SHARD_WINDOWS
        } else {
            SHARD_WINDOWS
        }
    }
}

impl dyn Network + '_ {
    /// Mean loss of a batch for `task` and its gradients. `pair` makes the pair of an index.
    pub fn gradients(
        &self,
        values: &[Vec<f32>],
        task: usize,
        batch: usize,
        objective: &Objective,
        pair: impl Fn(u64) -> Result<Pair> + Sync,
    ) -> Result<Gradients> {
        let indices: Vec<u64> = (0..batch as u64).collect();
        let shards: Result<Vec<Gradients>> = indices
            .par_chunks(objective.shard_windows())
            .map(|indices| {
                let pairs: Result<Vec<Pair>> = indices.iter().map(|&i| pair(i)).collect();
                self.shard_gradients(values, task, &pairs?, indices.len() as f32 / batch as f32, objective)
            })
            .collect();
        Gradients::sum(shards?)
    }

    fn uses(&self, task: usize) -> impl Fn(&Parameter) -> bool {
        move |parameter| parameter.task.is_none_or(|t| t == task)
    }

    /// `share` is the shard's part of the batch.
    fn shard_gradients(
        &self,
        values: &[Vec<f32>],
        task: usize,
        pairs: &[Pair],
        share: f32,
        objective: &Objective,
    ) -> Result<Gradients> {
        let uses = self.uses(task);
        let variables = Variables::new(self.parameters().iter().map(|p| (&p.spec, uses(p))), values)?;
        let degraded: Vec<&Picture> = pairs.iter().map(|p| &p.degraded).collect();
        let clean: Vec<&Picture> = pairs.iter().map(|p| &p.clean).collect();
        let (input, target) = (centred(&degraded)?, centred(&clean)?);
        let output = self.forward(&variables.weights(), &input, task)?;
        let scale = share / target.elem_count() as f32;
        let mut loss = ops::pixel_loss(&output.pixels, &target, objective.pixels, scale)?;
        if let (Some(contrast), Some(features)) = (objective.contrast, &output.features) {
            let tokens = features.dim(0)? / pairs.len();
            let term = contrastive_loss(features, pairs.len(), tokens, &contrast)?;
            loss = (loss + (term * f64::from(contrast.weight * share))?)?;
        }
        variables.gradients(&loss)
    }

    /// The parameters of `task` as constants.
    pub fn constants(&self, values: &[Vec<f32>], task: usize) -> Result<Weights<'_>> {
        let uses = self.uses(task);
        let wanted = self.parameters().iter().zip(values).filter(|(p, _)| uses(p));
        Ok(Weights::constant(wanted.map(|(p, value)| (&p.spec, value)))?)
    }

    /// Restored windows, in grey levels and not rounded: one (height, width, 3) per picture.
    pub fn restore_windows(
        &self,
        weights: &Weights,
        task: usize,
        windows: &[&Picture],
    ) -> Result<Vec<Vec<f32>>> {
        let out = self.forward(weights, &centred(windows)?, task)?.pixels;
        let values = out.flatten_all()?.to_vec1::<f32>()?;
        let each = values.len() / windows.len().max(1);
        let grey = |(i, v): (usize, &f32)| v * UNIT + 255.0 * RGB_MEAN[i % COLOURS];
        Ok(values.chunks_exact(each).map(|v| v.iter().enumerate().map(grey).collect()).collect())
    }
}

/// 8-bit pictures of one size as a (batch, height, width, 3) map in trained units, the mean subtracted.
fn centred(pictures: &[&Picture]) -> Result<Tensor> {
    let first = pictures.first().context("a batch without windows")?;
    let mut values = Vec::with_capacity(pictures.len() * first.data.len());
    for picture in pictures {
        for pixel in picture.data.chunks_exact(COLOURS) {
            let centre = |(&v, mean): (&u8, &f32)| (f32::from(v) - 255.0 * mean) / UNIT;
            values.extend(pixel.iter().zip(&RGB_MEAN).map(centre));
        }
    }
    let shape = (pictures.len(), first.height, first.width, COLOURS);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}
