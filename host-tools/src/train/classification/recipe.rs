//! Everything that decides the trained weights, apart from the data.

use super::augment::Augment;
use super::classifier::Classifier;
use super::cnn::CnnConfig;
use super::data::{DataKind, Dataset};
use super::step::SHARD_IMAGES;
use crate::train::options::ensure_in_range;
use anyhow::{bail, ensure, Result};
use serde::Serialize;
use std::path::Path;
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};

/// The most memory that a training may take. Whoever asks for more has most likely mistyped an option.
const MOST_MEMORY: u64 = 64 << 30;

/// Model and training settings. The same recipe, data and machine give the same weights, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Image side in pixels.
    pub image: usize,
    /// Patch side in pixels.
    pub patch: usize,
    /// Token width.
    pub dim: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP's hidden layer.
    pub hidden: usize,
    /// Mean pooling instead of a class token.
    pub mean_pool: bool,
    /// A distillation token with its own classifier, trained on the labels too.
    pub distill_token: bool,
    /// `gelu`, `gelu-tanh` or `relu`.
    pub activation: &'static str,
    /// Passes over the training images.
    pub epochs: u64,
    /// Images per step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
    /// Final learning rate as a part of the peak.
    pub lr_floor: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest gradient norm; 0 is none.
    pub clip: f64,
    /// Decay of the moving average of the weights, which is what is saved; 0 is off.
    pub ema: f32,
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
    /// Augmentation.
    pub augment: Augment,
    /// Train a convolutional network instead of the transformer that the settings above describe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnn: Option<CnnShape>,
}

/// The shape of a convolutional classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CnnShape {
    /// Feature maps of the first stage; each further stage has twice as many.
    pub width: usize,
    /// Most stages.
    pub stages: usize,
}

impl Recipe {
    /// Defaults that suit this kind of data.
    pub fn for_data(data: &Dataset) -> Recipe {
        match data.kind {
            DataKind::Digits => Recipe::digits(),
            DataKind::Idx => Recipe::small_grey(data.train.height),
            DataKind::Cifar10 | DataKind::ClassFolders => Recipe::photographs(data.train.height),
        }
    }

    /// The defaults by kind of data, as the help shows them. IDX files have images of 28 pixels there, and
    /// photographs have 32.
    pub fn examples() -> [(&'static str, Recipe); 3] {
        [
            ("digits", Recipe::digits()),
            ("IDX", Recipe::small_grey(28)),
            ("photographs", Recipe::photographs(32)),
        ]
    }

    /// 8×8 digits: 17 tokens of width 32, so that the whole model and its arena fit the smallest targets.
    pub fn digits() -> Recipe {
        Recipe {
            image: 8,
            patch: 2,
            dim: 32,
            depth: 3,
            heads: 4,
            hidden: 64,
            mean_pool: false,
            distill_token: false,
            activation: "gelu",
            epochs: 60,
            batch: 64,
            lr: 3e-3,
            warmup_epochs: 4.0,
            lr_floor: 0.01,
            weight_decay: 0.05,
            clip: 1.0,
            ema: 0.99,
            seed: 1,
            augment: Augment {
                shift: 0.7,
                rotate: 10.0,
                zoom: 0.1,
                contrast: 0.1,
                smoothing: 0.05,
                ..Augment::NONE
            },
            cnn: None,
        }
    }

    /// MNIST and its relatives.
    fn small_grey(image: usize) -> Recipe {
        Recipe {
            image,
            patch: largest_divisor(image, 4),
            dim: 64,
            depth: 4,
            hidden: 128,
            epochs: 20,
            lr: 1e-3,
            warmup_epochs: 1.0,
            ema: 0.999,
            augment: Augment { shift: 2.0, rotate: 10.0, zoom: 0.1, smoothing: 0.1, ..Augment::NONE },
            ..Recipe::digits()
        }
    }

    /// Colour photographs.
    fn photographs(image: usize) -> Recipe {
        Recipe {
            image,
            patch: largest_divisor(image, (image / 8).clamp(2, 16)),
            dim: 96,
            depth: 6,
            heads: 4,
            hidden: 192,
            epochs: 60,
            lr: 1e-3,
            warmup_epochs: 3.0,
            ema: 0.999,
            augment: Augment {
                shift: image as f32 / 8.0,
                flip: true,
                brightness: 0.1,
                contrast: 0.2,
                erase: 0.25,
                smoothing: 0.1,
                ..Augment::NONE
            },
            ..Recipe::digits()
        }
    }

    /// The model that this recipe trains.
    pub fn config(&self, channels: usize, classes: usize) -> Result<VitConfig> {
        let config = VitConfig {
            image_height: self.image,
            image_width: self.image,
            channels,
            patch_height: self.patch,
            patch_width: self.patch,
            dim: self.dim,
            depth: self.depth,
            heads: self.heads,
            hidden: self.hidden,
            classes,
            class_token: !self.mean_pool,
            distill_token: self.distill_token,
            pool: if self.mean_pool { Pool::Mean } else { Pool::Token },
            norm_before_pool: !self.mean_pool,
            norm_after_pool: self.mean_pool,
            head: if self.distill_token { Head::Distilled } else { Head::Linear },
            activation: activation(self.activation)?,
            norm_eps: 1e-6,
            output: Output::unsaid(classes),
        };
        ensure!(!(self.mean_pool && self.distill_token), "a distillation token needs --pool token");
        crate::checkpoint::validate_config(Path::new("train vit"), &config)?;
        Ok(config)
    }

    /// What this recipe trains.
    pub fn classifier(&self, channels: usize, classes: usize) -> Result<Classifier> {
        let Some(CnnShape { width, stages }) = self.cnn else {
            return Ok(Classifier::Vit(self.config(channels, classes)?));
        };
        ensure!(width > 0 && stages > 0, "a CNN of width {width} with {stages} stages: expected at least 1");
        Ok(Classifier::Cnn(CnnConfig { image: self.image, channels, classes, width, stages }))
    }

    /// Refuses settings outside of their ranges, naming the option.
    pub fn validate(&self) -> Result<()> {
        self.validate_sizes()?;
        ensure_in_range("epochs", self.epochs as f64, 1.0, 1e6)?;
        ensure_in_range("batch", self.batch as f64, 1.0, 65536.0)?;
        ensure_in_range("lr", self.lr, 1e-9, 10.0)?;
        ensure_in_range("warmup", self.warmup_epochs, 0.0, self.epochs as f64)?;
        ensure_in_range("weight-decay", self.weight_decay as f64, 0.0, 1.0)?;
        ensure_in_range("ema", self.ema as f64, 0.0, 0.99999)?;
        ensure_in_range("clip", self.clip, 0.0, 1e9)?;
        let a = &self.augment;
        ensure_in_range("shift", a.shift as f64, 0.0, self.image as f64)?;
        ensure_in_range("rotate", a.rotate as f64, 0.0, 180.0)?;
        ensure_in_range("zoom", a.zoom as f64, 0.0, 0.9)?;
        ensure_in_range("brightness", a.brightness as f64, 0.0, 1.0)?;
        ensure_in_range("contrast", a.contrast as f64, 0.0, 1.0)?;
        ensure_in_range("erase", a.erase as f64, 0.0, 1.0)?;
        ensure_in_range("mixup", a.mixup as f64, 0.0, 1.0)?;
        ensure_in_range("label-smoothing", a.smoothing as f64, 0.0, 0.9)
    }

    /// Sizes that the file's format takes (docs/format.md), before memory is asked for them.
    pub(super) fn validate_sizes(&self) -> Result<()> {
        let sizes = [
            ("image-size", self.image, 16_384),
            ("patch", self.patch, 16_384),
            ("dim", self.dim, 16_384),
            ("depth", self.depth, 256),
            ("heads", self.heads, 1024),
            ("hidden", self.hidden, 65_535),
        ];
        for (name, size, most) in sizes {
            ensure!((1..=most).contains(&size), "--{name} {size}: expected 1 to {most}");
        }
        if self.cnn.is_some() {
            return Ok(());
        }
        let patches = (self.image / self.patch).pow(2);
        ensure!(
            patches <= 65_533,
            "--image-size {} with --patch {} makes {patches} patches: expected at most 65533; larger patches \
             make fewer",
            self.image,
            self.patch
        );
        let needed = self.memory(patches);
        ensure!(
            needed <= MOST_MEMORY,
            "training this model would take {} GiB of memory: expected at most {}; give less --dim, --depth, \
             --hidden or --image-size",
            needed >> 30,
            MOST_MEMORY >> 30
        );
        Ok(())
    }

    /// Bytes that a training takes, roughly: every weight with its gradient, its two moments and its average,
    /// and the scores of the attention of all blocks for the images of one shard.
    fn memory(&self, patches: usize) -> u64 {
        let [dim, hidden, depth, patches] = [self.dim, self.hidden, self.depth, patches].map(|n| n as u64);
        let weights = depth * (4 * dim * dim + 2 * dim * hidden) + patches * dim;
        let scores = (SHARD_IMAGES as u64) * self.heads as u64 * patches * patches;
        weights.saturating_mul(5).saturating_add(scores.saturating_mul(depth)).saturating_mul(4)
    }
}

/// The largest number up to `limit` that divides `n`.
fn largest_divisor(n: usize, limit: usize) -> usize {
    (1..=limit.max(1)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

fn activation(name: &str) -> Result<Activation> {
    Ok(match name {
        "gelu" => Activation::GeluErf,
        "gelu-tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        other => bail!("--activation {other}: expected gelu, gelu-tanh or relu"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_no_file_or_machine_can_hold_are_refused_by_their_options() {
        Recipe::digits().validate().unwrap();
        Recipe::photographs(224).validate().unwrap();
        let refused = |change: &dyn Fn(&mut Recipe)| {
            let mut recipe = Recipe::digits();
            change(&mut recipe);
            recipe.validate().unwrap_err().to_string()
        };
        assert_eq!(refused(&|r| r.dim = 100_000), "--dim 100000: expected 1 to 16384");
        assert!(refused(&|r| r.image = 99_999).starts_with("--image-size 99999"));
        assert!(refused(&|r| r.patch = 0).starts_with("--patch 0"));
        assert!(refused(&|r| r.image = 1000).contains("makes 250000 patches"));
        assert!(refused(&|r| (r.dim, r.depth) = (16_384, 256)).contains("GiB of memory"));
    }
}
