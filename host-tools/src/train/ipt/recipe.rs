//! Everything that decides the trained weights, apart from the pictures and the weights that a run starts from.

use super::super::ops::PixelLoss;
use super::contrast::Contrast;
use super::step::Objective;
use crate::checkpoint::ipt::parse_task;
use anyhow::{anyhow, bail, ensure, Result};
use serde::Serialize;
use vitreous::models::ipt::{IptConfig, Task, TaskKind, MAX_TASKS};

/// Model and training settings. The same recipe, pictures and machine give the same weights, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Feature maps.
    pub features: usize,
    /// Side of the window in pixels.
    pub window: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of the layers' MLPs.
    pub hidden: usize,
    /// Width of the hidden layer of the MLP behind the decoder.
    pub head_hidden: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Names of the tasks, in the order of heads, queries and tails.
    pub tasks: Vec<String>,
    /// Optimizer steps; tasks take turns.
    pub steps: u64,
    /// Windows per step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Final learning rate as a part of the peak.
    pub lr_floor: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f32,
    /// Largest gradient norm; 0 is none.
    pub clip: f64,
    /// Decay of the moving average of the weights, which is what is saved; 0 is off.
    pub ema: f32,
    /// `l1` or `l2`.
    pub loss: &'static str,
    /// Denoising tasks train on a σ drawn from this range for every window, instead of their own.
    pub sigmas: Option<[f64; 2]>,
    /// Weight of the contrastive loss; 0 is off.
    pub contrast: f32,
    /// Its temperature.
    pub temperature: f32,
    /// Patches of a window that it compares.
    pub contrast_patches: usize,
    /// Part of the training pictures that is used.
    pub fraction: f64,
    /// Pictures that are held out.
    pub held_out: usize,
    /// Seed of weights, crops and degradations.
    pub seed: u64,
}

impl Default for Recipe {
    /// A restorer for microcontrollers: about 600 KiB in int8.
    fn default() -> Self {
        Recipe {
            features: 16,
            window: 32,
            patch: 2,
            heads: 4,
            hidden: 128,
            head_hidden: 128,
            encoder_layers: 3,
            decoder_layers: 2,
            tasks: ["denoise10", "denoise30", "denoise50", "denoise70", "x2"].map(str::to_owned).to_vec(),
            steps: 20_000,
            batch: 8,
            lr: 2e-3,
            warmup: 200,
            lr_floor: 0.0,
            weight_decay: 0.0,
            clip: 1.0,
            ema: 0.0,
            loss: "l1",
            sigmas: None,
            contrast: 0.0,
            temperature: 1.0,
            contrast_patches: 16,
            fraction: 1.0,
            held_out: 20,
            seed: 1,
        }
    }
}

impl Recipe {
    /// The model that this recipe trains.
    pub fn config(&self) -> Result<IptConfig> {
        ensure!(
            (1..=MAX_TASKS).contains(&self.tasks.len()),
            "--tasks: {} tasks, expected 1 to {MAX_TASKS}",
            self.tasks.len()
        );
        let mut tasks: Vec<Task> = Vec::new();
        for name in &self.tasks {
            let task = parse_task(name).map_err(|e| anyhow!("--tasks: {e}"))?;
            ensure!(!tasks.contains(&task), "--tasks: {name} is there twice");
            tasks.push(task);
        }
        ensure!(
            self.patch > 0 && self.window > 0 && self.window.is_multiple_of(self.patch),
            "--window {}: not a multiple of --patch {}",
            self.window,
            self.patch
        );
        let config = IptConfig {
            features: self.features,
            window: self.window,
            patch: self.patch,
            heads: self.heads,
            hidden: self.hidden,
            head_hidden: self.head_hidden,
            encoder_layers: self.encoder_layers,
            decoder_layers: self.decoder_layers,
            tasks: tasks.into_iter().collect(),
            norm_eps: 1e-5,
        };
        ensure!(self.features >= 3, "--features {}: expected at least 3, for the colours", self.features);
        ensure!(
            self.heads > 0 && config.dim().is_multiple_of(self.heads),
            "--heads {}: does not divide the token width {} (features · patch²)",
            self.heads,
            config.dim()
        );
        ensure!(self.hidden > 0 && self.head_hidden > 0, "--hidden and --head-hidden: expected at least 1");
        Ok(config)
    }

    /// What is minimised.
    pub fn objective(&self) -> Result<Objective> {
        let pixels = match self.loss {
            "l1" => PixelLoss::L1,
            "l2" => PixelLoss::L2,
            other => bail!("--loss {other}: expected l1 or l2"),
        };
        let contrast = (self.contrast > 0.0).then_some(Contrast {
            weight: self.contrast,
            temperature: self.temperature,
            patches: self.contrast_patches,
        });
        Ok(Objective { pixels, contrast })
    }

    /// Refuses settings outside of their ranges, naming the option.
    pub fn validate(&self) -> Result<()> {
        let in_range = |name: &str, value: f64, low: f64, high: f64| {
            ensure!((low..=high).contains(&value), "--{name} {value}: expected {low} to {high}");
            Ok(())
        };
        in_range("steps", self.steps as f64, 1.0, 2e8)?;
        in_range("batch", self.batch as f64, 1.0, 65536.0)?;
        in_range("lr", self.lr, 1e-9, 1.0)?;
        in_range("lr-floor", self.lr_floor, 0.0, 1.0)?;
        in_range("warmup", self.warmup as f64, 0.0, self.steps as f64)?;
        in_range("weight-decay", f64::from(self.weight_decay), 0.0, 1.0)?;
        in_range("clip", self.clip, 0.0, 1e9)?;
        in_range("ema", f64::from(self.ema), 0.0, 0.99999)?;
        in_range("contrast", f64::from(self.contrast), 0.0, 100.0)?;
        in_range("temperature", f64::from(self.temperature), 0.01, 100.0)?;
        in_range("fraction", self.fraction, 1e-6, 1.0)?;
        if let Some([low, high]) = self.sigmas {
            in_range("sigma-from", low, 0.0, 255.0)?;
            in_range("sigma-to", high, low, 255.0)?;
            let denoise = |name: &String| parse_task(name).is_ok_and(|t| t.kind == TaskKind::Denoise);
            ensure!(self.tasks.iter().any(denoise), "--sigma-from: no task of --tasks removes noise");
        }
        Ok(())
    }
}
