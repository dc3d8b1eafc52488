//! Settings of training that do not depend on the network.

use super::contrast::Contrast;
use super::step::Objective;
use crate::train::args::DecayArgs;
use crate::train::ops::PixelLoss;
use crate::train::options::{ensure_in_range, set};
use anyhow::{bail, Result};
use clap::Args;
use serde::Serialize;

/// How a network is trained. The same settings, pictures, starting weights and machine give the same weights,
/// bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Training {
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

impl Default for Training {
    fn default() -> Self {
        Training {
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

impl Training {
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
        ensure_in_range("steps", self.steps as f64, 1.0, 2e8)?;
        ensure_in_range("batch", self.batch as f64, 1.0, 65536.0)?;
        ensure_in_range("lr", self.lr, 1e-9, 1.0)?;
        ensure_in_range("lr-floor", self.lr_floor, 0.0, 1.0)?;
        ensure_in_range("warmup", self.warmup as f64, 0.0, self.steps as f64)?;
        ensure_in_range("weight-decay", f64::from(self.weight_decay), 0.0, 1.0)?;
        ensure_in_range("clip", self.clip, 0.0, 1e9)?;
        ensure_in_range("ema", f64::from(self.ema), 0.0, 0.99999)?;
        ensure_in_range("contrast", f64::from(self.contrast), 0.0, 100.0)?;
        ensure_in_range("temperature", f64::from(self.temperature), 0.01, 100.0)?;
        ensure_in_range("contrast-patches", self.contrast_patches as f64, 1.0, 65536.0)?;
        ensure_in_range("fraction", self.fraction, 1e-6, 1.0)?;
        if let Some([low, high]) = self.sigmas {
            ensure_in_range("sigma-from", low, 0.0, 255.0)?;
            ensure_in_range("sigma-to", high, low, 255.0)?;
        }
        Ok(())
    }
}

/// Optimizer, schedule and losses on the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    /// Optimizer steps; each is for one task
    #[arg(long)]
    pub steps: Option<u64>,
    /// Windows per step
    #[arg(long)]
    pub batch: Option<usize>,
    /// Peak learning rate
    #[arg(long)]
    pub lr: Option<f64>,
    /// Steps of linear warm-up
    #[arg(long)]
    pub warmup: Option<u64>,
    /// Final learning rate as a part of the peak
    #[arg(long)]
    pub lr_floor: Option<f64>,
    /// What keeps weights small and steady.
    #[command(flatten)]
    pub decay: DecayArgs,
    /// Loss between pixels
    #[arg(long, value_parser = ["l1", "l2"])]
    pub loss: Option<String>,
    /// Denoising tasks learn every σ from this one …
    #[arg(long, requires = "sigma_to")]
    pub sigma_from: Option<f64>,
    /// … to this one
    #[arg(long, requires = "sigma_from")]
    pub sigma_to: Option<f64>,
    /// Part of the training photographs to use
    #[arg(long)]
    pub fraction: Option<f64>,
    /// Photographs to keep from training, for scores
    #[arg(long)]
    pub held_out: Option<usize>,
    /// Seed of weights, crops and degradations
    #[arg(long)]
    pub seed: Option<u64>,
}

impl TrainingArgs {
    /// `defaults` with the given options over them.
    pub fn over(&self, defaults: Training) -> Training {
        let mut t = defaults;
        set(&mut t.steps, self.steps);
        set(&mut t.batch, self.batch);
        set(&mut t.lr, self.lr);
        set(&mut t.warmup, self.warmup);
        t.warmup = t.warmup.min(t.steps);
        set(&mut t.lr_floor, self.lr_floor);
        self.decay.over(&mut t.weight_decay, &mut t.clip, &mut t.ema);
        // clap lets only these two names through.
        set(&mut t.loss, self.loss.as_deref().map(|l| if l == "l2" { "l2" } else { "l1" }));
        t.sigmas = self.sigma_from.zip(self.sigma_to).map(|(from, to)| [from, to]);
        set(&mut t.fraction, self.fraction);
        set(&mut t.held_out, self.held_out);
        set(&mut t.seed, self.seed);
        t
    }
}
