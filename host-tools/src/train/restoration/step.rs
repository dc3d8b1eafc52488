//! One training step and evaluation, split over windows.

use super::super::ops::{self, PixelLoss};
use super::contrast::{contrastive_loss, Contrast};
use super::network::{Network, Parameter, Weights, UNIT};
use super::pictures::Pair;
use crate::checkpoint::ipt::RGB_MEAN;
use crate::degrade::Picture;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;
use vitreous::models::ipt::COLOURS;

/// Windows of one shard. Shards run in parallel and their gradients are added in order, so the result depends
/// on this number but not on the number of threads.
const SHARD_WINDOWS: usize = 2;
/// The same where windows are compared with each other, which needs several.
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

/// Loss and gradients of a batch.
pub struct Gradients {
    /// Mean loss, in trained units.
    pub loss: f64,
    /// In the order of the parameter list; empty for parameters of other tasks.
    pub grads: Vec<Vec<f32>>,
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
        let mut shards = shards?.into_iter();
        let mut sum = shards.next().context("a batch without windows")?;
        for shard in shards {
            sum.loss += shard.loss;
            for (total, part) in sum.grads.iter_mut().zip(&shard.grads) {
                total.iter_mut().zip(part).for_each(|(t, &p)| *t += p);
            }
        }
        Ok(sum)
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
        let variable = |(p, value): (&Parameter, &Vec<f32>)| -> Result<Option<Var>> {
            let wanted = uses(p).then(|| Var::from_slice(value, p.spec.shape.as_slice(), &Device::Cpu));
            Ok(wanted.transpose()?)
        };
        let variables: Result<Vec<Option<Var>>> =
            self.parameters().iter().zip(values).map(variable).collect();
        let variables = variables?;
        let named = self.parameters().iter().zip(&variables);
        let named = named.filter_map(|(p, v)| v.as_ref().map(|v| (p, v.as_tensor().clone())));
        let weights = Weights::new(named);
        let degraded: Vec<&Picture> = pairs.iter().map(|p| &p.degraded).collect();
        let clean: Vec<&Picture> = pairs.iter().map(|p| &p.clean).collect();
        let (input, target) = (centred(&degraded)?, centred(&clean)?);
        let output = self.forward(&weights, &input, task)?;
        let scale = share / target.elem_count() as f32;
        let mut loss = ops::pixel_loss(&output.pixels, &target, objective.pixels, scale)?;
        if let (Some(contrast), Some(features)) = (objective.contrast, &output.features) {
            let tokens = features.dim(0)? / pairs.len();
            let term = contrastive_loss(features, pairs.len(), tokens, &contrast)?;
            loss = (loss + (term * f64::from(contrast.weight * share))?)?;
        }
        let store = loss.backward()?;
        let gradient = |(variable, p): (&Option<Var>, &Parameter)| -> Result<Vec<f32>> {
            let Some(variable) = variable else { return Ok(Vec::new()) };
            let grad = store.get(variable).with_context(|| format!("{}: no gradient", p.spec.name))?;
            Ok(grad.flatten_all()?.to_vec1::<f32>()?)
        };
        let grads: Result<Vec<Vec<f32>>> = variables.iter().zip(self.parameters()).map(gradient).collect();
        Ok(Gradients { loss: f64::from(loss.to_scalar::<f32>()?), grads: grads? })
    }

    /// The parameters of `task` as constants.
    pub fn constants(&self, values: &[Vec<f32>], task: usize) -> Result<Weights<'_>> {
        let uses = self.uses(task);
        let wanted = self.parameters().iter().zip(values).filter(|(p, _)| uses(p));
        let tensors: Result<Vec<(&Parameter, Tensor)>> = wanted
            .map(|(p, value)| Ok((p, Tensor::from_slice(value, p.spec.shape.as_slice(), &Device::Cpu)?)))
            .collect();
        Ok(Weights::new(tensors?.into_iter()))
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
