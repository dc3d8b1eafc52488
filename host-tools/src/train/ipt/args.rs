//! Command line of `vitreous train ipt`.

use super::pictures::Pictures;
use super::progress::{Progress, Terminal};
use super::recipe::Recipe;
use super::report::IptReport;
use super::run::{train_ipt, TrainOptions};
use crate::train::threads::with_threads;
use anyhow::{bail, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Train an Image Processing Transformer on a folder of photographs, which are degraded as the tasks say while it runs.
#[derive(Args, Clone, Debug)]
pub struct TrainIptArgs {
    /// Folder of clean photographs of any size, searched with its subfolders
    #[arg(long)]
    pub data: PathBuf,
    /// Output folder
    #[arg(long)]
    pub out: PathBuf,
    /// The model's name [default: the output folder's]
    #[arg(long)]
    pub name: Option<String>,
    /// Start from a trained model's folder: the same body; a task that it lacks takes over the nearest one's head, query and tail
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// Go on from the checkpoint in the output folder
    #[arg(long)]
    pub resume: bool,
    /// Seconds between checkpoints
    #[arg(long, default_value_t = 60)]
    pub checkpoint_seconds: u64,
    /// Steps between scores on held-out pictures
    #[arg(long, default_value_t = 500)]
    pub validate_every: u64,
    /// Write a checkpoint and stop after this many steps; --resume goes on
    #[arg(long)]
    pub stop_after: Option<u64>,
    /// Threads [default: all cores]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// No progress output
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// The model's shape.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Tasks: denoise1 to denoise255 (σ), x2, x3, x4, derain, jpeg1 to jpeg100 (quality)
    #[arg(long, alias = "task", value_delimiter = ',')]
    pub tasks: Vec<String>,
    /// Feature maps
    #[arg(long)]
    pub features: Option<usize>,
    /// Side of the window in pixels
    #[arg(long)]
    pub window: Option<usize>,
    /// Side of a patch in pixels
    #[arg(long)]
    pub patch: Option<usize>,
    /// Attention heads
    #[arg(long)]
    pub heads: Option<usize>,
    /// Width of the MLPs' hidden layer
    #[arg(long)]
    pub hidden: Option<usize>,
    /// Width of the hidden layer of the MLP behind the decoder
    #[arg(long)]
    pub head_hidden: Option<usize>,
    /// Layers of the encoder
    #[arg(long)]
    pub encoder_layers: Option<usize>,
    /// Layers of the decoder
    #[arg(long)]
    pub decoder_layers: Option<usize>,
}

/// Optimizer, schedule and losses.
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
    /// Decoupled weight decay
    #[arg(long)]
    pub weight_decay: Option<f32>,
    /// Largest gradient norm, 0 for none
    #[arg(long)]
    pub clip: Option<f64>,
    /// Decay of the weights' moving average, 0 for none
    #[arg(long)]
    pub ema: Option<f32>,
    /// Loss between pixels
    #[arg(long, value_parser = ["l1", "l2"])]
    pub loss: Option<String>,
    /// Denoising tasks learn every σ from this one …
    #[arg(long, requires = "sigma_to")]
    pub sigma_from: Option<f64>,
    /// … to this one
    #[arg(long, requires = "sigma_from")]
    pub sigma_to: Option<f64>,
    /// Weight of the contrastive loss between windows, 0 for none (the paper's is 0.1)
    #[arg(long)]
    pub contrast: Option<f32>,
    /// Temperature of the contrastive loss
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Patches of a window that the contrastive loss compares
    #[arg(long)]
    pub contrast_patches: Option<usize>,
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

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

impl TrainIptArgs {
    /// Trains as the options say. `None` if `--stop-after` ended the run early.
    pub fn run(&self) -> Result<Option<IptReport>> {
        with_threads(self.threads, || self.train())
    }

    fn train(&self) -> Result<Option<IptReport>> {
        if self.validate_every == 0 {
            bail!("--validate-every 0: expected at least 1");
        }
        let recipe = self.recipe();
        recipe.validate()?;
        let mut pictures = Pictures::load(&self.data, recipe.held_out, recipe.fraction, recipe.seed)?;
        let options = TrainOptions {
            name: self.model_name(),
            recipe,
            init: self.init.clone(),
            out: self.out.clone(),
            resume: self.resume,
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            validate_every: self.validate_every,
            stop_after: self.stop_after,
        };
        let mut terminal = Terminal::default();
        let mut silent = ();
        let progress: &mut dyn Progress = if self.quiet { &mut silent } else { &mut terminal };
        train_ipt(&mut pictures, &options, progress)
    }

    fn model_name(&self) -> String {
        let folder = || self.out.file_name().map_or("ipt".to_owned(), |n| n.to_string_lossy().into_owned());
        self.name.clone().unwrap_or_else(folder)
    }

    /// The defaults with the given options over them.
    pub fn recipe(&self) -> Recipe {
        let mut recipe = Recipe::default();
        let (m, t) = (&self.model, &self.training);
        if !m.tasks.is_empty() {
            recipe.tasks.clone_from(&m.tasks);
        }
        set(&mut recipe.features, m.features);
        set(&mut recipe.window, m.window);
        set(&mut recipe.patch, m.patch);
        set(&mut recipe.heads, m.heads);
        set(&mut recipe.hidden, m.hidden);
        set(&mut recipe.head_hidden, m.head_hidden);
        set(&mut recipe.encoder_layers, m.encoder_layers);
        set(&mut recipe.decoder_layers, m.decoder_layers);
        set(&mut recipe.steps, t.steps);
        set(&mut recipe.batch, t.batch);
        set(&mut recipe.lr, t.lr);
        set(&mut recipe.warmup, t.warmup);
        recipe.warmup = recipe.warmup.min(recipe.steps);
        set(&mut recipe.lr_floor, t.lr_floor);
        set(&mut recipe.weight_decay, t.weight_decay);
        set(&mut recipe.clip, t.clip);
        set(&mut recipe.ema, t.ema);
        set(&mut recipe.loss, t.loss.as_deref().map(|l| if l == "l2" { "l2" } else { "l1" }));
        recipe.sigmas = t.sigma_from.zip(t.sigma_to).map(|(from, to)| [from, to]);
        set(&mut recipe.contrast, t.contrast);
        set(&mut recipe.temperature, t.temperature);
        set(&mut recipe.contrast_patches, t.contrast_patches);
        set(&mut recipe.fraction, t.fraction);
        set(&mut recipe.held_out, t.held_out);
        set(&mut recipe.seed, t.seed);
        recipe
    }
}
