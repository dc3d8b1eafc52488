//! Options that say what a checkpoint may not say of itself.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::{Args, ValueEnum};
use vitreous::format::{Crop, Filter};
use vitreous::models::ipt::Task;
use vitreous::models::vit::{Activation, Output, Pool};

use crate::checkpoint::ipt::{parse_task, FloatIpt, IptLoadOptions};
use crate::checkpoint::{
    BlockKind, ChannelOrder, CheckpointError, FloatVit, HeadKind, LoadOptions, PreprocessOptions, Settings,
};
use crate::console;
use crate::restorer::RestoreModel;
use crate::text::{printable, shown};

/// Float weights of either architecture.
pub enum FloatModel {
    /// A classifier.
    Vit(Box<FloatVit>),
    /// A restorer.
    Ipt(Box<FloatIpt>),
}

/// What a checkpoint may not say of itself. Every value that nothing says is named in a warning with its
/// option.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What the weights do not say")]
pub struct LoadArgs {
    /// Attention heads per block.
    #[arg(long, value_parser = super::parse_count)]
    heads: Option<usize>,
    /// Image height and width that the model is to take, as HxW; positions are interpolated from those of the
    /// training.
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// Image height and width that the weights were trained with.
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    trained_size: Option<(usize, usize)>,
    /// What the blocks are, whatever the name of an architecture says.
    #[arg(long, value_enum)]
    block: Option<BlockArg>,
    /// The MLP's nonlinearity.
    #[arg(long, value_enum)]
    activation: Option<ActivationArg>,
    /// ε of the layer norms.
    #[arg(long)]
    norm_eps: Option<f32>,
    /// How features are pooled.
    #[arg(long, value_enum)]
    pool: Option<PoolArg>,
    /// What a classifier's outputs are shown as: softmax of classes of which one holds, sigmoid of labels
    /// that hold each for itself (multi-label), or plain values (regression). Else as config.json's
    /// `problem_type` says, or softmax; a single output is a value.
    #[arg(long, value_enum)]
    scores: Option<ScoresArg>,
    /// A text file with one class name per line.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// What stands behind the backbone: one linear layer, with nothing around it that matters; or nothing: a
    /// classifier is left out, and the model gives features.
    #[arg(long, value_enum)]
    head: Option<HeadArg>,
    /// Which of several sets of weights in the file: its key (state_dict_ema, model.teacher), or the prefix
    /// of its tensors' names; "." is what lies outside of all keys.
    #[arg(long, value_name = "KEY")]
    weights: Option<String>,
    /// Leave out tensors that are no part of a plain ViT or IPT, with a warning, instead of refusing the
    /// file.
    #[arg(long)]
    allow_extra_tensors: bool,
    /// Refuse the weights where a value would have to be assumed; `parity` then also fails where the
    /// reference is another file than the one that the model was made from.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    preprocess: PreprocessArgs,
    #[command(flatten)]
    restorer: RestorerArgs,
}

/// How a photograph becomes a classifier's input.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "How a photograph becomes a classifier's input")]
struct PreprocessArgs {
    /// Mean per channel, of pixels scaled to 0..1: 0.485,0.456,0.406, or one for all.
    #[arg(long, value_name = "M,M,M", value_parser = parse_channels, allow_negative_numbers = true)]
    mean: Option<Channels>,
    /// Standard deviation per channel, of pixels scaled to 0..1: 0.229,0.224,0.225, or one for all.
    #[arg(long, value_name = "S,S,S", value_parser = parse_channels)]
    std: Option<Channels>,
    /// Length in pixels that the shorter side is resized to, before the crop.
    #[arg(long, value_name = "PIXELS", value_parser = super::parse_count)]
    resize: Option<usize>,
    /// The same as the crop's share of the resized image, as timm says it: 0.9 resizes to 248 for a crop of
    /// 224.
    #[arg(long, value_name = "SHARE", conflicts_with = "resize")]
    crop_pct: Option<f64>,
    /// Cut out the centre of the resized image, or squash the whole image to the model's size.
    #[arg(long, value_enum)]
    crop: Option<CropArg>,
    /// Filter of the resize.
    #[arg(long, value_enum)]
    interpolation: Option<InterpolationArg>,
    /// Order of the colour channels that the weights were trained with. The converted model takes RGB in any
    /// case.
    #[arg(long, value_enum)]
    channel_order: Option<ChannelOrderArg>,
}

/// What a restorer's weights do not say.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What a restorer's weights do not say")]
struct RestorerArgs {
    /// Tasks of a restorer, in the order of its heads, separated by commas: denoise30, x2, derain, jpeg40, …
    #[arg(long, value_delimiter = ',', value_parser = parse_task)]
    tasks: Option<Vec<Task>>,
    /// Row of the query embedding for each task, counted from 0, where there are more rows than tasks.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    query: Option<Vec<usize>>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BlockArg {
    PreNorm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActivationArg {
    GeluErf,
    GeluTanh,
    Relu,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HeadArg {
    Linear,
    None,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CropArg {
    Center,
    Squash,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InterpolationArg {
    Nearest,
    Bilinear,
    Bicubic,
    Lanczos,
    Box,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelOrderArg {
    Rgb,
    Bgr,
}

impl PreprocessArgs {
    fn options(&self) -> PreprocessOptions {
        PreprocessOptions {
            mean: self.mean.clone().map(|channels| channels.0),
            std: self.std.clone().map(|channels| channels.0),
            resize: self.resize,
            crop_pct: self.crop_pct,
            crop: self.crop.map(|crop| match crop {
                CropArg::Center => Crop::Center,
                CropArg::Squash => Crop::Squash,
            }),
            interpolation: self.interpolation.map(|filter| match filter {
                InterpolationArg::Nearest => Filter::Nearest,
                InterpolationArg::Bilinear => Filter::Bilinear,
                InterpolationArg::Bicubic => Filter::Bicubic,
                InterpolationArg::Lanczos => Filter::Lanczos3,
                InterpolationArg::Box => Filter::Box,
            }),
            channel_order: self.channel_order.map(|order| match order {
                ChannelOrderArg::Rgb => ChannelOrder::Rgb,
                ChannelOrderArg::Bgr => ChannelOrder::Bgr,
            }),
        }
    }
}

/// One number per channel, or one for all. A type of its own: of a list clap would take each number for a
/// value, and add those of an option that is given twice.
#[derive(Clone, Debug)]
struct Channels(Vec<f64>);

fn parse_channels(text: &str) -> Result<Channels, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers.map(Channels).map_err(|_| format!("`{text}` is no list of numbers, such as 0.485,0.456,0.406"))
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('x').map(|(h, w)| (h.parse(), w.parse()));
    match parts {
        Some((Ok(height), Ok(width))) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err(format!("`{text}` is no size: write height x width, such as 224x224")),
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
            Ok(ipt) => {
                self.refuse_options_of_classifiers(path)?;
                Ok(FloatModel::Ipt(Box::new(ipt)))
            }
            Err(error) => match error.downcast_ref() {
                Some(CheckpointError::UnknownArchitecture { .. }) => {
                    Ok(FloatModel::Vit(Box::new(self.load(path)?)))
                }
                _ => Err(error),
            },
        }
    }

    /// Options that say nothing of a restorer.
    fn refuse_options_of_classifiers(&self, path: &Path) -> Result<()> {
        let p = &self.preprocess;
        let given = [
            ("--image-size", self.image_size.is_some()),
            ("--trained-size", self.trained_size.is_some()),
            ("--block", self.block.is_some()),
            ("--activation", self.activation.is_some()),
            ("--pool", self.pool.is_some()),
            ("--scores", self.scores.is_some()),
            ("--labels", self.labels.is_some()),
            ("--head", self.head.is_some()),
            ("--mean", p.mean.is_some()),
            ("--std", p.std.is_some()),
            ("--resize", p.resize.is_some()),
            ("--crop-pct", p.crop_pct.is_some()),
            ("--crop", p.crop.is_some()),
            ("--interpolation", p.interpolation.is_some()),
            ("--channel-order", p.channel_order.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => bail!("{} is a restorer: {option} is for classifiers", path.display()),
        }
    }

    /// Loads a restorer's float weights, with what the command line adds; warnings go to standard error.
    pub fn load_ipt(&self, path: &Path) -> Result<FloatIpt> {
        let options = IptLoadOptions {
            heads: self.heads,
            tasks: self.restorer.tasks.clone(),
            queries: self.restorer.query.clone(),
            norm_eps: self.norm_eps,
            name: None,
            weights: self.weights.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
            strict: self.strict,
        };
        let float = FloatIpt::load(path, &options)?;
        warn_of_names(std::iter::once(&float.name));
        warn(&float.settings, &float.warnings);
        Ok(float)
    }

    /// Options that say nothing of a classifier.
    fn refuse_options_of_restorers(&self, path: &Path) -> Result<()> {
        let given = [("--tasks", self.restorer.tasks.is_some()), ("--query", self.restorer.query.is_some())];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => bail!("{} is a classifier: {option} is for restorers", shown(path)),
        }
    }

    /// Loads a classifier's float weights, with what the command line adds; warnings go to standard error.
    pub fn load(&self, path: &Path) -> Result<FloatVit> {
        let float = FloatVit::load(path, &self.options())?;
        self.refuse_options_of_restorers(path)?;
        warn_of_names(std::iter::once(&float.name).chain(&float.labels));
        warn(&float.settings, &float.warnings);
        Ok(float)
    }

    /// Whether nothing may be assumed.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            heads: self.heads,
            image_size: self.image_size,
            trained_size: self.trained_size,
            block: self.block.map(|BlockArg::PreNorm| BlockKind::PreNorm),
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
            preprocess: self.preprocess.options(),
            labels: self.labels.clone(),
            name: None,
            weights: self.weights.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
            head: self.head.map(|head| match head {
                HeadArg::Linear => HeadKind::Linear,
                HeadArg::None => HeadKind::None,
            }),
            strict: self.strict,
        }
    }
}

/// Warnings of an import: what is assumed, value by value, and what was left out.
fn warn(settings: &Settings, warnings: &[String]) {
    for warning in settings.warnings().chain(warnings.iter().cloned()) {
        console::note(&format!("warning: {warning}"));
    }
    if let Some(options) = settings.options_of_assumed() {
        console::note(&format!("note: options that say what is assumed, to be corrected: {options}"));
    }
}

/// Says which names of the model and of its classes are written otherwise than they were found.
fn warn_of_names<'a>(names: impl Iterator<Item = &'a String>) {
    let changed: Vec<_> =
        names.map(|name| printable(name)).filter(|name| matches!(name, Cow::Owned(_))).collect();
    if let [first, rest @ ..] = &changed[..] {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} other names", rest.len()) };
        console::note(&format!(
            "warning: `{first}`{more} held control characters or invisible ones, which are written as you \
             see them"
        ));
    }
}

/// What the authors' checkpoints do not say of themselves.
#[derive(Args, Debug, Default)]
pub struct IptLoadArgs {
    /// Attention heads of float weights, where no config.json tells; 12 in the authors' release.
    #[arg(long)]
    heads: Option<usize>,
    /// Tasks of float weights in the order of their tails, separated by commas, where neither config.json nor
    /// the tails tell.
    #[arg(long, value_delimiter = ',', value_parser = parse_task)]
    tasks: Option<Vec<Task>>,
    /// Row of the query embedding for each task, counted from 0, where float weights have more rows than
    /// tasks.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    query: Option<Vec<usize>>,
    /// Which of several sets of float weights in the file: its key (state_dict_ema, model.teacher), or the
    /// prefix of its tensors' names; "." is what lies outside of all keys.
    #[arg(long, value_name = "KEY")]
    weights: Option<String>,
    /// Leave out tensors that are no part of a plain IPT, with a warning, instead of refusing the file.
    #[arg(long)]
    allow_extra_tensors: bool,
    /// Refuse float weights where a value would have to be assumed.
    #[arg(long)]
    strict: bool,
}

impl IptLoadArgs {
    /// The options, for float weights.
    pub fn options(&self) -> IptLoadOptions {
        IptLoadOptions {
            heads: self.heads,
            tasks: self.tasks.clone(),
            queries: self.query.clone(),
            weights: self.weights.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
            strict: self.strict,
            ..IptLoadOptions::default()
        }
    }

    /// Loads a model of either kind; warnings go to standard error.
    pub fn load(&self, path: &Path) -> Result<RestoreModel> {
        RestoreModel::load(path, &self.options(), |warning| console::note(&format!("warning: {warning}")))
    }

    /// Refuses options that say something of float weights where a converted model alone is loaded, which
    /// says it itself.
    ///
    /// # Errors
    /// The option.
    pub fn refuse_on_converted(&self, path: &Path, model: &RestoreModel) -> Result<()> {
        let given = [
            ("--heads", self.heads.is_some()),
            ("--tasks", self.tasks.is_some()),
            ("--query", self.query.is_some()),
            ("--weights", self.weights.is_some()),
        ];
        match (model, given.into_iter().find(|(_, is_given)| *is_given)) {
            (RestoreModel::Engine(_), Some((option, _))) => {
                bail!("{} is a converted model: {option} is for float weights", shown(path))
            }
            _ => Ok(()),
        }
    }
}
