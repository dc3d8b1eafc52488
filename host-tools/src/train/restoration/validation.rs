//! Scores and samples of held-out pictures while a network is trained.

use super::network::Network;
use super::pictures::Pictures;
use crate::degrade::{degrade, Picture};
use crate::metrics::psnr;
use crate::output;
use crate::train::random::{purpose, stream};
use anyhow::{Context, Result};
use rayon::prelude::*;
use std::path::Path;
use vitreous::models::ipt::Task;
use vitreous::pipeline::default_overlap;

/// Windows of a held-out picture that are scored.
const WINDOWS_PER_PICTURE: usize = 3;
/// Held-out windows of one forward pass.
const BATCH: usize = 8;
/// Side of a sample picture in windows.
const SAMPLE_WINDOWS: usize = 3;

/// A clean picture and what a task gets of it.
struct Held {
    clean: Picture,
    degraded: Picture,
}

/// What is held out, degraded once for all.
pub struct HeldOut {
    /// Windows per task.
    windows: Vec<Vec<Held>>,
    /// A larger part of one picture per task.
    samples: Vec<Held>,
    names: Vec<String>,
}

impl HeldOut {
    /// Evenly spread windows of the held-out pictures with each task's degradation.
    pub fn new(network: &dyn Network, pictures: &Pictures) -> Result<Self> {
        let tasks = network.tasks();
        let windows: Result<Vec<Vec<Held>>> = (0..tasks.len())
            .map(|task| windows(tasks[task], task as u64, network.window(), pictures))
            .collect();
        let picture = pictures.test.first().or(pictures.train.first()).context("no pictures")?;
        let sample = |task: &Task| -> Result<Held> {
            let side = SAMPLE_WINDOWS * network.window() * task.scale;
            let (width, height) = (picture.width.min(side), picture.height.min(side));
            let middle = |length: usize, part: usize| ((length - part) / 2) as isize;
            let clean =
                picture.crop(middle(picture.width, width), middle(picture.height, height), width, height);
            let clean = clean.whole_multiples(task.scale)?;
            let degraded = degrade(*task, &clean, &mut stream(0, purpose::VALIDATION, 0, 0))?;
            Ok(Held { clean, degraded })
        };
        let samples: Result<Vec<Held>> = tasks.iter().map(sample).collect();
        Ok(HeldOut {
            windows: windows?,
            samples: samples?,
            names: tasks.iter().map(ToString::to_string).collect(),
        })
    }

    /// PSNR in dB over all windows of a task together; of 0 windows it is that of a perfect picture.
    pub fn score(&self, network: &dyn Network, values: &[Vec<f32>], task: usize) -> Result<f64> {
        let weights = network.constants(values, task)?;
        let errors: Result<Vec<f64>> = self.windows[task]
            .par_chunks(BATCH)
            .map(|held| {
                let degraded: Vec<&Picture> = held.iter().map(|h| &h.degraded).collect();
                let restored = network.restore_windows(&weights, task, &degraded)?;
                Ok(restored
                    .iter()
                    .zip(held)
                    .map(|(restored, held)| square_error(restored, &held.clean))
                    .sum())
            })
            .collect();
        let count: usize = self.windows[task].iter().map(|h| h.clean.data.len()).sum();
        Ok(psnr(errors?.iter().sum::<f64>() / count.max(1) as f64))
    }

    /// Writes degraded, restored and clean side by side, one PNG file per task.
    pub fn write_samples(&self, network: &dyn Network, values: &[Vec<f32>], dir: &Path) -> Result<()> {
        output::folder(dir)?;
        for (task, (held, name)) in self.samples.iter().zip(&self.names).enumerate() {
            let restored =
                network.restore(values, task, &held.degraded, default_overlap(network.window()))?;
            let scale = network.tasks()[task].scale;
            let all = [held.degraded.repeated(scale), restored, held.clean.clone()];
            Picture::side_by_side(&all).save_png(&dir.join(format!("{name}.png")))?;
        }
        Ok(())
    }
}

/// Sum of squared differences of restored values, rounded and clipped to 8 bits, from the clean picture.
fn square_error(restored: &[f32], clean: &Picture) -> f64 {
    let byte = |v: f32| v.round_ties_even().clamp(0.0, 255.0);
    restored.iter().zip(&clean.data).map(|(&r, &c)| f64::from(byte(r) - f32::from(c)).powi(2)).sum()
}

fn windows(task: Task, index: u64, window: usize, pictures: &Pictures) -> Result<Vec<Held>> {
    let side = window * task.scale;
    let mut all = Vec::new();
    for (number, picture) in pictures.test.iter().enumerate() {
        for part in 1..=WINDOWS_PER_PICTURE {
            let position = (number * WINDOWS_PER_PICTURE + part) as u64;
            let mut rng = stream(0, purpose::VALIDATION, index, position);
            let place = |length: usize| length.saturating_sub(side) * part / (WINDOWS_PER_PICTURE + 1);
            let (left, top) = (place(picture.width) as isize, place(picture.height) as isize);
            let clean = picture.crop(left, top, side, side);
            all.push(Held { degraded: degrade(task, &clean, &mut rng)?, clean });
        }
    }
    Ok(all)
}
