//! Training photographs in memory, and the pairs of degraded and clean crops made of them.

use crate::degrade::{degrade, gaussian_noise, images_below, Picture};
use crate::image_input::Loaded;
use crate::train::digest::hexadecimal;
use crate::train::random::{epoch_order, purpose, stream, PART_ORDER};
use anyhow::{ensure, Context, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::path::Path;
use vitreous::models::ipt::{Task, TaskKind};

/// Extra pixels around a crop that is to be compressed, so that the 8×8 blocks do not always begin at its
/// corner.
const BLOCK: usize = 8;

/// Photographs, those to train on and those held out, with the reduced copies that enlarging tasks need.
pub struct Pictures {
    /// Where they come from.
    pub name: String,
    /// To train on.
    pub train: Vec<Picture>,
    /// Held out, never trained on.
    pub test: Vec<Picture>,
    /// Per factor: the reduced copy of every training picture.
    reduced: Vec<(usize, Vec<Picture>)>,
    sha256: String,
}

/// One pair, both 8-bit RGB.
pub struct Pair {
    /// What the network gets.
    pub degraded: Picture,
    /// What it should give.
    pub clean: Picture,
}

impl Pictures {
    /// Decodes every image below `dir`; `held_out` of them, evenly spread over the sorted list, are kept from
    /// training. Then a `fraction` of the rest is used.
    pub fn load(dir: &Path, held_out: usize, fraction: f64, seed: u64) -> Result<Self> {
        let files = images_below(dir)?;
        ensure!(
            files.len() > held_out,
            "{}: {} images, of which {held_out} are to be held out; lower --held-out or add images",
            dir.display(),
            files.len()
        );
        let mut hash = Sha256::new();
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (index, file) in files.iter().enumerate() {
            let picture = Loaded::or_warn(file, Picture::load)?;
            hash.update((picture.width as u64).to_le_bytes());
            hash.update(&picture.data);
            // The index crosses a multiple of files/held_out exactly `held_out` times.
            let crosses = (index + 1) * held_out / files.len() > index * held_out / files.len();
            if crosses { &mut test } else { &mut train }.push(picture);
        }
        let keep = ((train.len() as f64 * fraction).round() as usize).clamp(1, train.len());
        if keep < train.len() {
            let mut order = epoch_order(train.len(), seed, PART_ORDER);
            order.truncate(keep);
            order.sort_unstable();
            train = order.into_iter().map(|i| train[i].clone()).collect();
        }
        let name =
            dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
        let sha256 = hexadecimal(hash);
        Ok(Pictures { name, train, test, reduced: Vec::new(), sha256 })
    }

    /// SHA-256 of all decoded pixels.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Makes the reduced copies that `tasks` need.
    pub fn prepare(&mut self, tasks: &[Task]) -> Result<()> {
        for task in tasks.iter().filter(|t| t.kind == TaskKind::SuperResolve) {
            if self.reduced.iter().all(|(scale, _)| *scale != task.scale) {
                let copies: Result<Vec<_>, _> = self.train.iter().map(|p| p.reduced(task.scale)).collect();
                self.reduced.push((task.scale, copies.context("reducing the training images")?));
            }
        }
        Ok(())
    }

    /// Pair `index` of step `step`: a random crop of a random picture, turned at random. A picture smaller
    /// than the crop is continued by its mirror image. `sigmas` replaces a denoising task's σ by a random one
    /// of that range.
    pub fn pair(
        &self,
        task: Task,
        window: usize,
        sigmas: Option<[f64; 2]>,
        seed: u64,
        step: u64,
        index: u64,
    ) -> Result<Pair> {
        let mut rng = stream(seed, purpose::SAMPLE, step, index);
        let which = rng.random_range(0..self.train.len());
        let picture = &self.train[which];
        let turn = rng.random_range(0..8);
        if task.kind == TaskKind::SuperResolve {
            let reduced = self.reduced.iter().find(|(scale, _)| *scale == task.scale);
            let small = &reduced.context("reduced copies were not prepared")?.1[which];
            let (left, top) = random_corner(small, window, &mut rng);
            let scale = task.scale as isize;
            let clean = picture.crop(left * scale, top * scale, window * task.scale, window * task.scale);
            return Ok(Pair {
                degraded: small.crop(left, top, window, window).turned(turn),
                clean: clean.turned(turn),
            });
        }
        let margin = if task.kind == TaskKind::Jpeg { BLOCK } else { 0 };
        let (left, top) = random_corner(picture, window + margin, &mut rng);
        let clean = picture.crop(left, top, window + margin, window + margin).turned(turn);
        let degraded = match (task.kind, sigmas) {
            (TaskKind::Denoise, Some([low, high])) => {
                gaussian_noise(&clean, low + (high - low) * rng.random::<f64>(), &mut rng)
            }
            _ => degrade(task, &clean, &mut rng)?,
        };
        let inner = |p: Picture, [left, top]: [isize; 2]| p.crop(left, top, window, window);
        let corner = [0; 2].map(|_: i32| if margin == 0 { 0 } else { rng.random_range(0..=margin) as isize });
        Ok(Pair { degraded: inner(degraded, corner), clean: inner(clean, corner) })
    }
}

fn random_corner(picture: &Picture, side: usize, rng: &mut ChaCha8Rng) -> (isize, isize) {
    let mut along = |length: usize| rng.random_range(0..=length.saturating_sub(side)) as isize;
    (along(picture.width), along(picture.height))
}
