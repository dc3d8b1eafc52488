//! Options that say what a checkpoint may not say of itself.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::{Args, ValueEnum};
use vitreous::models::ipt::Task;
use vitreous::models::vit::{Activation, Output, Pool};

use crate::checkpoint::ipt::{parse_task, FloatIpt, IptLoadOptions};
use crate::checkpoint::{CheckpointError, FloatVit, LoadOptions};
use crate::console;
use crate::restorer::RestoreModel;

/// Float weights of either architecture.
pub enum FloatModel {
    /// A classifier.
    Vit(Box<FloatVit>),
    /// A restorer.
    Ipt(Box<FloatIpt>),
}

/// What a checkpoint may not say of itself.
#[derive(Args, Debug, Default)]
pub struct LoadArgs {
    /// Attention heads per block, where neither shapes nor config.json tell.
    #[arg(long)]
    heads: Option<usize>,
    /// Image height and width, as HxW.
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// The MLP's nonlinearity.
    #[arg(long, value_enum)]
    activation: Option<ActivationArg>,
    /// ε of the layer norms.
    #[arg(long)]
    norm_eps: Option<f32>,
    /// How features are pooled.
    #[arg(long, value_enum)]
    pool: Option<PoolArg>,
    /// What a classifier's outputs are shown as: softmax of classes of which one holds, sigmoid of labels that hold each for itself
    /// (multi-label), or plain values (regression). Else as config.json's `problem_type` says, or softmax; a single output is a value.
    #[arg(long, value_enum)]
    scores: Option<ScoresArg>,
    /// A text file with one class name per line.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Tasks of a restorer, in the order of its heads, separated by commas: denoise30, x2, derain, jpeg40, …
    #[arg(long, value_delimiter = ',', value_parser = parse_task)]
    tasks: Vec<Task>,
    /// Which of several sets of weights in the file: its key (state_dict_ema, model.teacher), or the prefix of its tensors' names;
    /// "." is what lies outside of all keys.
    #[arg(long, value_name = "KEY")]
    weights: Option<String>,
    /// Leave out tensors that are no part of a plain ViT or IPT, with a warning, instead of refusing the file.
    #[arg(long)]
    allow_extra_tensors: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActivationArg {
    GeluErf,
    GeluTanh,
    Relu,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PoolArg {
    Token,
    Mean,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScoresArg {
    Softmax,
    Sigmoid,
    Values,
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('x').map(|(h, w)| (h.parse(), w.parse()));
    match parts {
        Some((Ok(height), Ok(width))) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err(format!("`{text}` is no size: write height x width, such as 224x224")),
    }
}

/// The task asked for, or the only one of a restorer.
///
/// # Errors
/// None was asked for, and the model has several.
pub fn chosen_task(asked: Option<Task>, tasks: &[Task]) -> Result<Task> {
    match (asked, tasks) {
        (Some(task), _) | (None, &[task]) => Ok(task),
        (None, tasks) => {
            let names: Vec<String> = tasks.iter().map(Task::to_string).collect();
            bail!("the model has several tasks; pass --task with one of {}", names.join(", "))
        }
    }
}

impl LoadArgs {
    /// Files that are read beside the weights.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.labels.iter().map(PathBuf::as_path)
    }

    /// Loads float weights of either architecture, which their names tell.
    pub fn load_any(&self, path: &Path) -> Result<FloatModel> {
        match self.load_ipt(path) {
            Ok(ipt) => Ok(FloatModel::Ipt(Box::new(ipt))),
            Err(error) => match error.downcast_ref() {
                Some(CheckpointError::UnknownArchitecture { .. }) => {
                    Ok(FloatModel::Vit(Box::new(self.load(path)?)))
                }
                _ => Err(error),
            },
        }
    }

    /// Loads a restorer's float weights, with what the command line adds; warnings go to standard error.
    pub fn load_ipt(&self, path: &Path) -> Result<FloatIpt> {
        let options = IptLoadOptions {
            heads: self.heads,
            tasks: (!self.tasks.is_empty()).then(|| self.tasks.clone()),
            norm_eps: self.norm_eps,
            name: None,
            weights: self.weights.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
        };
        let float = FloatIpt::load(path, &options)?;
        for warning in &float.warnings {
            console::note(&format!("warning: {warning}"));
        }
        Ok(float)
    }

    /// Loads a classifier's float weights, with what the command line adds; warnings go to standard error.
    pub fn load(&self, path: &Path) -> Result<FloatVit> {
        let options = LoadOptions {
            heads: self.heads,
            image_size: self.image_size,
            activation: self.activation.map(|a| match a {
                ActivationArg::GeluErf => Activation::GeluErf,
                ActivationArg::GeluTanh => Activation::GeluTanh,
                ActivationArg::Relu => Activation::Relu,
            }),
            norm_eps: self.norm_eps,
            pool: self.pool.map(|p| match p {
                PoolArg::Token => Pool::Token,
                PoolArg::Mean => Pool::Mean,
            }),
            output: self.scores.map(|o| match o {
                ScoresArg::Softmax => Output::Softmax,
                ScoresArg::Sigmoid => Output::Sigmoid,
                ScoresArg::Values => Output::Values,
            }),
            labels: self.labels.clone(),
            weights: self.weights.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
            ..LoadOptions::default()
        };
        let float = FloatVit::load(path, &options)?;
        for warning in &float.warnings {
            console::note(&format!("warning: {warning}"));
        }
        Ok(float)
    }
}

/// What the authors' checkpoints do not say of themselves.
#[derive(Args, Debug, Default)]
pub struct IptLoadArgs {
    /// Attention heads of float weights, where no config.json tells; 12 in the authors' release.
    #[arg(long)]
    heads: Option<usize>,
    /// Tasks of float weights in the order of their tails, separated by commas, where neither config.json nor the tails tell.
    #[arg(long, value_delimiter = ',', value_parser = parse_task)]
    tasks: Option<Vec<Task>>,
    /// Which of several sets of float weights in the file: its key (state_dict_ema, model.teacher), or the prefix of its tensors'
    /// names; "." is what lies outside of all keys.
    #[arg(long, value_name = "KEY")]
    weights: Option<String>,
    /// Leave out tensors that are no part of a plain IPT, with a warning, instead of refusing the file.
    #[arg(long)]
    allow_extra_tensors: bool,
}

impl IptLoadArgs {
    /// The options, for float weights.
    pub fn options(&self) -> IptLoadOptions {
        IptLoadOptions {
            heads: self.heads,
            tasks: self.tasks.clone(),
            weights: self.weights.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
            ..IptLoadOptions::default()
        }
    }

    /// Loads a model of either kind; warnings go to standard error.
    pub fn load(&self, path: &Path) -> Result<RestoreModel> {
        RestoreModel::load(path, &self.options(), |warning| console::note(&format!("warning: {warning}")))
    }
}
