//! Command line of `vitreous train vit`.

use super::augment::Augment;
use super::data::{DataSource, Dataset, Shape};
use super::recipe::Recipe;
use super::report::TrainReport;
use super::trainee::ClassifierTraining;
use crate::output::Plan;
use crate::train::args::{DecayArgs, RunArgs};
use crate::train::options::set;
use crate::train::progress::on_terminal;
use crate::train::run::train;
use crate::train::threads::with_threads;
use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Train a vision transformer. Whatever is not given is chosen to suit the data.
#[derive(Args, Clone, Debug)]
pub struct TrainVitArgs {
    /// `digits` (built in), or a folder: class folders (with train/ and test/, or a part is held out),
    /// CIFAR-10 binaries, IDX files
    #[arg(long, default_value = "digits")]
    pub data: PathBuf,
    /// The run itself.
    #[command(flatten)]
    pub run: RunArgs,
    /// The model's shape.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How it is trained.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// How its images are varied.
    #[command(flatten)]
    pub augmentation: AugmentArgs,
}

/// The model's shape.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Image side in pixels; images are resized to it [default: theirs; of class folders 64]
    #[arg(long = "image-size", alias = "image", value_name = "PIXELS")]
    pub image: Option<usize>,
    /// Colour channels of class folders' images: 1 or 3 [default: 3]
    #[arg(long)]
    pub channels: Option<usize>,
    /// Patch side in pixels
    #[arg(long)]
    pub patch: Option<usize>,
    /// Token width
    #[arg(long)]
    pub dim: Option<usize>,
    /// Transformer blocks
    #[arg(long)]
    pub depth: Option<usize>,
    /// Attention heads
    #[arg(long)]
    pub heads: Option<usize>,
    /// Width of the MLP's hidden layer
    #[arg(long)]
    pub hidden: Option<usize>,
    /// How tokens become one feature vector
    #[arg(long)]
    pub pool: Option<PoolArg>,
    /// Add DeiT's distillation token and second classifier
    #[arg(long)]
    pub distill_token: bool,
    /// The MLP's nonlinearity
    #[arg(long, value_parser = activations())]
    pub activation: Option<String>,
}

/// How tokens are pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PoolArg {
    /// Class token.
    Token,
    /// Mean of the patch tokens.
    Mean,
}

/// Optimizer and schedule.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    /// Passes over the training images
    #[arg(long)]
    pub epochs: Option<u64>,
    /// Images per step
    #[arg(long)]
    pub batch: Option<usize>,
    /// Peak learning rate
    #[arg(long)]
    pub lr: Option<f64>,
    /// Epochs of linear warm-up
    #[arg(long)]
    pub warmup: Option<f64>,
    #[command(flatten)]
    pub decay: DecayArgs,
    /// Seed of weights, order and augmentation
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Random changes to training images.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Augmentation")]
pub struct AugmentArgs {
    /// Leave training images as they are (options below still apply)
    #[arg(long)]
    pub no_augment: bool,
    /// Largest shift in pixels
    #[arg(long)]
    pub shift: Option<f32>,
    /// Largest rotation in degrees
    #[arg(long)]
    pub rotate: Option<f32>,
    /// Largest relative change of size
    #[arg(long)]
    pub zoom: Option<f32>,
    /// Mirror half of the images: true or false
    #[arg(long)]
    pub flip: Option<bool>,
    /// Largest change of brightness, 0 to 1
    #[arg(long)]
    pub brightness: Option<f32>,
    /// Largest relative change of contrast, 0 to 1
    #[arg(long)]
    pub contrast: Option<f32>,
    /// Probability of erasing a rectangle
    #[arg(long)]
    pub erase: Option<f32>,
    /// Mixup's alpha, 0 for none
    #[arg(long)]
    pub mixup: Option<f32>,
    /// Part of the target that is spread over all classes
    #[arg(long)]
    pub label_smoothing: Option<f32>,
}

impl TrainVitArgs {
    /// Trains as the options say. `None` if `--stop-after` ended the run early.
    pub fn run(&self) -> Result<Option<TrainReport>> {
        with_threads(self.run.threads, || self.train())
    }

    fn train(&self) -> Result<Option<TrainReport>> {
        let source = source(&self.data);
        Plan::new().reads_data(source.folder()).writes_into([&self.run.out]).check()?;
        self.given_sizes().validate_sizes()?;
        let shape = Shape { side: self.model.image, channels: self.model.channels };
        let data = Dataset::load(&source, shape)?;
        let recipe = self.recipe(&data);
        let mut trainee = ClassifierTraining::new(&data, &recipe)?;
        train(&mut trainee, &self.run.options("vit"), &mut *on_terminal(self.run.quiet))
    }

    /// The smallest model with the sizes that are given: images are brought to theirs before anything else is
    /// known.
    fn given_sizes(&self) -> Recipe {
        let m = &self.model;
        let image = m.image.unwrap_or(1);
        let size = |given: Option<usize>| given.unwrap_or(1);
        Recipe {
            image,
            patch: m.patch.unwrap_or(image),
            dim: size(m.dim),
            depth: size(m.depth),
            heads: size(m.heads),
            hidden: size(m.hidden),
            ..Recipe::digits()
        }
    }

    /// The data's defaults with the given options over them.
    pub fn recipe(&self, data: &Dataset) -> Recipe {
        let mut recipe = Recipe::for_data(data);
        let (m, t, a) = (&self.model, &self.training, &self.augmentation);
        set(&mut recipe.patch, m.patch);
        set(&mut recipe.dim, m.dim);
        set(&mut recipe.depth, m.depth);
        set(&mut recipe.heads, m.heads);
        set(&mut recipe.hidden, m.hidden.or(m.dim.map(|dim| 2 * dim)));
        set(&mut recipe.mean_pool, m.pool.map(|pool| pool == PoolArg::Mean));
        recipe.distill_token |= m.distill_token;
        set(&mut recipe.activation, m.activation.as_deref().map(activation_name));
        set(&mut recipe.epochs, t.epochs);
        set(&mut recipe.batch, t.batch);
        set(&mut recipe.lr, t.lr);
        set(&mut recipe.warmup_epochs, t.warmup);
        recipe.warmup_epochs = recipe.warmup_epochs.min(recipe.epochs as f64);
        t.decay.over(&mut recipe.weight_decay, &mut recipe.clip, &mut recipe.ema);
        set(&mut recipe.seed, t.seed);
        if a.no_augment {
            recipe.augment = Augment::NONE;
        }
        set(&mut recipe.augment.shift, a.shift);
        set(&mut recipe.augment.rotate, a.rotate);
        set(&mut recipe.augment.zoom, a.zoom);
        set(&mut recipe.augment.flip, a.flip);
        set(&mut recipe.augment.brightness, a.brightness);
        set(&mut recipe.augment.contrast, a.contrast);
        set(&mut recipe.augment.erase, a.erase);
        set(&mut recipe.augment.mixup, a.mixup);
        set(&mut recipe.augment.smoothing, a.label_smoothing);
        recipe
    }
}

/// What `--data` means.
pub fn source(data: &Path) -> DataSource {
    // A folder of that name is meant as `./digits`.
    if data.as_os_str() == "digits" {
        DataSource::Digits
    } else {
        DataSource::Folder(data.to_owned())
    }
}

/// Names as `convert` has them; `gelu` alone means the one with the error function.
fn activations() -> PossibleValuesParser {
    let gelu = PossibleValue::new("gelu-erf").alias("gelu");
    PossibleValuesParser::new([gelu, PossibleValue::new("gelu-tanh"), PossibleValue::new("relu")])
}

/// The recipe's names. clap lets only these through.
fn activation_name(name: &str) -> &'static str {
    match name {
        "relu" => "relu",
        "gelu-tanh" => "gelu-tanh",
        _ => "gelu",
    }
}
