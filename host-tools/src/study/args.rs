//! Command line of `vitreous study`.

use super::report::take_folder;
use super::{classification, restoration, StudyReport};
use crate::output::Plan;
use crate::train::data::{Dataset, Shape};
use crate::train::restoration::ipt::IptRecipe;
use crate::train::restoration::Training;
use crate::train::{source, with_threads, CnnShape, Recipe};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Studies that train many models.
#[derive(Subcommand, Clone, Debug)]
pub enum StudyCommand {
    /// How much data a transformer needs beside a convolutional network. A stopped study goes on when started
    /// again.
    #[command(subcommand)]
    DataEfficiency(DataEfficiency),
}

/// What the networks learn.
#[derive(Subcommand, Clone, Debug)]
pub enum DataEfficiency {
    /// IPT beside DnCNN on a folder of photographs
    Restoration(Box<RestorationArgs>),
    /// ViT beside a small CNN on any data that `train vit` reads
    Classification(Box<ClassificationArgs>),
}

/// What both studies take.
#[derive(Args, Clone, Debug)]
pub struct StudyArgs {
    /// Output folder: table, curves and a folder per training
    #[arg(long)]
    pub out: PathBuf,
    /// Parts of the training data in percent
    #[arg(long, value_delimiter = ',', default_value = "20,40,60,80,100")]
    pub percent: Vec<f64>,
    /// Seeds; every part is trained once per seed
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub seeds: Vec<u64>,
    /// Threads [default: all cores]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// No progress output
    #[arg(long)]
    pub quiet: bool,
}

/// Options of the restoration study.
#[derive(Args, Clone, Debug)]
pub struct RestorationArgs {
    /// Folder of clean photographs
    #[arg(long)]
    pub data: PathBuf,
    #[command(flatten)]
    pub study: StudyArgs,
    /// What to repair; DnCNN cannot enlarge
    #[arg(long, default_value = "denoise30")]
    pub task: String,
    /// Steps of every training
    #[arg(long, default_value_t = 4000)]
    pub steps: u64,
    /// Windows per step
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Photographs to keep from training, for scores
    #[arg(long, default_value_t = 20)]
    pub held_out: usize,
    /// IPT's feature maps
    #[arg(long, default_value_t = 16)]
    pub features: usize,
    /// Side of the training windows in pixels
    #[arg(long, default_value_t = 32)]
    pub window: usize,
    /// IPT's layers: of the encoder
    #[arg(long, default_value_t = 3)]
    pub encoder_layers: usize,
    /// IPT's layers: of the decoder
    #[arg(long, default_value_t = 2)]
    pub decoder_layers: usize,
    /// DnCNN's convolutions
    #[arg(long, default_value_t = 12)]
    pub depth: usize,
    /// DnCNN's feature maps
    #[arg(long, default_value_t = 48)]
    pub width: usize,
    /// Peak learning rate of IPT
    #[arg(long, default_value_t = 2e-3)]
    pub lr: f64,
    /// Peak learning rate of DnCNN
    #[arg(long, default_value_t = 1e-3)]
    pub dncnn_lr: f64,
}

/// Options of the classification study.
#[derive(Args, Clone, Debug)]
pub struct ClassificationArgs {
    /// `digits` (built in), or a folder: class folders, CIFAR-10 binaries, IDX files
    #[arg(long, default_value = "digits")]
    pub data: PathBuf,
    #[command(flatten)]
    pub study: StudyArgs,
    /// Image side in pixels; images are resized to it
    #[arg(long)]
    pub image: Option<usize>,
    /// Passes over all of the training data; smaller parts get as many steps [default: what suits the data]
    #[arg(long)]
    pub epochs: Option<u64>,
    /// Images per step [default: what suits the data]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Peak learning rate [default: what suits the data]
    #[arg(long)]
    pub lr: Option<f64>,
    /// CNN's feature maps in the first stage
    #[arg(long, default_value_t = 16)]
    pub width: usize,
    /// CNN's stages at most
    #[arg(long, default_value_t = 3)]
    pub stages: usize,
}

impl StudyCommand {
    /// Runs the study and writes its table and curves.
    pub fn run(&self) -> Result<StudyReport> {
        let StudyCommand::DataEfficiency(study) = self;
        let out = match study {
            DataEfficiency::Restoration(args) => {
                let plan = Plan::new().reads_data([&args.data]);
                plan.writes_into([&args.study.out]).check()?;
                &args.study.out
            }
            DataEfficiency::Classification(args) => {
                Plan::new().reads_data(source(&args.data).folder()).writes_into([&args.study.out]).check()?;
                &args.study.out
            }
        };
        let _lock = take_folder(out)?;
        let report = match study {
            DataEfficiency::Restoration(args) => {
                with_threads(args.study.threads, || restoration::run(&args.settings()))?
            }
            DataEfficiency::Classification(args) => with_threads(args.study.threads, || args.run())?,
        };
        report.write(out)?;
        Ok(report)
    }
}

impl RestorationArgs {
    fn settings(&self) -> restoration::Settings {
        let ipt = IptRecipe {
            features: self.features,
            window: self.window,
            encoder_layers: self.encoder_layers,
            decoder_layers: self.decoder_layers,
            ..IptRecipe::default()
        };
        let training = Training {
            steps: self.steps,
            batch: self.batch,
            lr: self.lr,
            held_out: self.held_out,
            ..Training::default()
        };
        let warmup = training.warmup.min(self.steps);
        restoration::Settings {
            data: self.data.clone(),
            out: self.study.out.clone(),
            percents: self.study.percent.clone(),
            seeds: self.study.seeds.clone(),
            task: self.task.clone(),
            ipt,
            dncnn: (self.depth, self.width),
            validate_every: self.steps.div_ceil(4).max(1),
            training: Training { warmup, ..training },
            dncnn_lr: self.dncnn_lr,
            quiet: self.study.quiet,
        }
    }
}

impl ClassificationArgs {
    fn run(&self) -> Result<StudyReport> {
        let data = Dataset::load(&source(&self.data), Shape { side: self.image, channels: None })?;
        let mut recipe = Recipe::for_data(&data);
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch = self.batch.unwrap_or(recipe.batch);
        recipe.lr = self.lr.unwrap_or(recipe.lr);
        recipe.warmup_epochs = recipe.warmup_epochs.min(recipe.epochs as f64);
        let settings = classification::Settings {
            out: self.study.out.clone(),
            percents: self.study.percent.clone(),
            seeds: self.study.seeds.clone(),
            recipe,
            cnn: CnnShape { width: self.width, stages: self.stages },
            quiet: self.study.quiet,
        };
        classification::run(&data, &settings)
    }
}
