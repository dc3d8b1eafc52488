//! Command line of `vitreous train ipt`.

use super::super::args::RestorerArgs;
use super::super::report::RestorerReport;
use super::super::training::{Training, TrainingArgs};
use super::adopt::{adopt, load};
use super::model::Ipt;
use super::recipe::IptRecipe;
use crate::output::Plan;
use crate::train::options::set;
use crate::train::threads::with_threads;
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};

/// Train an Image Processing Transformer on a folder of photographs, which are degraded as the tasks say
/// while it runs.
#[derive(Args, Clone, Debug)]
pub struct TrainIptArgs {
    /// Where the training is kept.
    #[command(flatten)]
    pub restorer: RestorerArgs,
    /// Start from a trained model's folder: the same body; a task that it lacks takes over the nearest one's
    /// head, query and tail
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// The model's shape.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How it is trained.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// The contrastive loss.
    #[command(flatten)]
    pub contrast: ContrastArgs,
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

/// The paper's contrastive loss.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Contrastive loss")]
pub struct ContrastArgs {
    /// Weight of the contrastive loss between windows, 0 for none (the default)
    #[arg(long)]
    pub contrast: Option<f32>,
    /// Similarities are divided by this
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Patches of a window that are compared
    #[arg(long)]
    pub contrast_patches: Option<usize>,
}

/// A model is its weights with what lies beside them.
fn folder_of_weights(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if path.is_file() => folder,
        _ => path,
    }
}

impl TrainIptArgs {
    /// Trains as the options say. `None` if `--stop-after` ended the run early.
    pub fn run(&self) -> Result<Option<RestorerReport>> {
        with_threads(self.restorer.run.threads, || self.train())
    }

    fn train(&self) -> Result<Option<RestorerReport>> {
        let network = Ipt::new(self.recipe().config()?);
        let training = self.training();
        training.validate()?;
        Plan::new()
            .reads_weights(self.init.as_deref().map(folder_of_weights))
            .writes_into([&self.restorer.run.out])
            .check()?;
        let source = self.init.as_deref().map(load).transpose()?;
        let start = match source {
            Some((source, values)) => Some(adopt(&network, &source, &values, training.seed)?),
            None => None,
        };
        self.restorer.train(&network, start, "ipt", &training)
    }

    /// The default model with the given options over it.
    pub fn recipe(&self) -> IptRecipe {
        let mut recipe = IptRecipe::default();
        let m = &self.model;
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
        recipe
    }

    /// The default training with the given options over it.
    pub fn training(&self) -> Training {
        let mut training = self.training.over(Training::default());
        set(&mut training.contrast, self.contrast.contrast);
        set(&mut training.temperature, self.contrast.temperature);
        set(&mut training.contrast_patches, self.contrast.contrast_patches);
        training
    }
}
