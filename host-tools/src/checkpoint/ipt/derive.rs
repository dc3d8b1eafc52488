//! A restorer's hyperparameters from the shapes of the authors' tensors and the caller's options.
use super::options::IptLoadOptions;
use super::shapes::parse_task;
use crate::checkpoint::archive::signatures;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::settings::{Said, Settings};
use crate::checkpoint::tensor::FloatTensor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use vitreous::models::ipt::{IptConfig, Task, MAX_TASKS};

/// Attention heads of every model in the authors' release.
const RELEASED_HEADS: usize = 12;
/// ε of PyTorch's layer norm, which the release leaves as it is.
const RELEASED_NORM_EPS: f32 = 1e-5;
/// The release's tasks, in its order.
pub(super) const RELEASED_TASKS: [&str; 6] = ["x2", "x3", "x4", "denoise30", "denoise50", "derain"];

/// The tensors of one file, of which shapes are asked.
struct Shapes<'a> {
    path: &'a Path,
    tensors: &'a BTreeMap<String, FloatTensor>,
}

impl Shapes<'_> {
    /// A shape that gives hyperparameters, so that the rank must be right.
    fn of<const RANK: usize>(&self, name: &str, axes: &str) -> Result<[usize; RANK], CheckpointError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(CheckpointError::MissingTensor {
                path: self.path.to_path_buf(),
                tensor: name.into(),
                expected: vec![],
                hint: format!("its shape {axes} gives the model's size: the file is incomplete"),
            });
        };
        let shape: Option<[usize; RANK]> = tensor.shape.as_slice().try_into().ok();
        shape.filter(|s| s.iter().all(|d| *d > 0)).ok_or_else(|| CheckpointError::Shape {
            path: self.path.to_path_buf(),
            tensor: name.into(),
            expected: axes.into(),
            found: tensor.shape.clone(),
            hint: "the model's size is read from it".into(),
        })
    }

    /// How many parts, numbered from 0 without a gap, follow `prefix`.
    fn count(&self, prefix: &str) -> usize {
        let number = |name: &String| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        let numbers: BTreeSet<usize> = self.tensors.keys().filter_map(number).collect();
        (0..).zip(&numbers).take_while(|(expected, number)| expected == *number).count()
    }

    fn error(&self, what: String, way_out: String) -> CheckpointError {
        CheckpointError::Config { path: self.path.to_path_buf(), what, way_out }
    }

    /// The whole root of `square`, which is the area of what `meaning` names.
    fn root(&self, square: usize, meaning: &str) -> Result<usize, CheckpointError> {
        let root = square.isqrt();
        if root > 0 && root * root == square {
            return Ok(root);
        }
        Err(self.error(format!("{square} {meaning} are no square"), "the file is of another network".into()))
    }

    /// How many times larger the output of a task is, by the convolutions of its upsampler
    /// (Lim et al., arXiv 1707.02921, §5.1): their number and widths.
    fn scale(&self, task: usize, features: usize) -> Result<usize, CheckpointError> {
        let convolution = |step: usize| format!("tail.{task}.0.{}.weight", 2 * step);
        let steps = (0..).take_while(|step| self.tensors.contains_key(&convolution(*step))).count();
        let mut scale = 1;
        for step in 0..steps {
            let [outputs, ..] = self.of::<4>(&convolution(step), "[features·factor², features, 3, 3]")?;
            scale = self.root(outputs / features, "maps of the upsampler per feature")?.saturating_mul(scale);
        }
        if (1..=4).contains(&scale) && steps <= 2 {
            return Ok(scale);
        }
        let what = format!("the upsampler of tail.{task} enlarges {scale} times in {steps} steps");
        Err(self.error(what, "supported are 1, 2, 3 and 4 (two steps of 2)".into()))
    }
}

/// Whether the tensors are an IPT's, in the authors' names.
pub(super) fn is_ipt(tensors: &BTreeMap<String, FloatTensor>) -> bool {
    [signatures::IPT, "body.query_embed.weight"].iter().all(|name| tensors.contains_key(*name))
}

/// Reads the configuration from the shapes.
pub(super) fn config(
    path: &Path,
    tensors: &BTreeMap<String, FloatTensor>,
    options: &IptLoadOptions,
    settings: &mut Settings,
) -> Result<IptConfig, CheckpointError> {
    let shapes = Shapes { path, tensors };
    let [features, ..] = shapes.of::<4>("head.0.0.weight", "[features, 3, 3, 3]")?;
    let [dim, _] = shapes.of::<2>("body.linear_encoding.weight", "[dim, dim]")?;
    let [tokens, _] = shapes.of::<2>("body.position_encoding.pe.weight", "[tokens, dim]")?;
    let [hidden, _] = shapes.of::<2>("body.encoder.layers.0.linear1.weight", "[hidden, dim]")?;
    let [head_hidden, _] = shapes.of::<2>("body.mlp_head.0.weight", "[head hidden, dim]")?;
    if !dim.is_multiple_of(features) {
        let what = format!("the token width {dim} is no multiple of {features} features");
        return Err(shapes.error(what, "the file is of another network".into()));
    }
    let patch = shapes.root(dim / features, "pixels of a patch")?;
    let window = patch * shapes.root(tokens, "tokens")?;
    let scales = (0..shapes.count("tail.")).map(|task| shapes.scale(task, features));
    let scales = scales.collect::<Result<Vec<_>, _>>()?;
    let release = "as in the authors' release";
    let heads = options.heads.map_or_else(|| Said::assumed(RELEASED_HEADS, release), Said::by_option);
    let norm_eps =
        options.norm_eps.map_or_else(|| Said::assumed(RELEASED_NORM_EPS, release), Said::by_option);
    Ok(IptConfig {
        features,
        window,
        patch,
        heads: settings.decide("heads", "--heads", heads, usize::to_string),
        hidden,
        head_hidden,
        encoder_layers: shapes.count("body.encoder.layers."),
        decoder_layers: shapes.count("body.decoder.layers."),
        tasks: tasks(&shapes, &scales, options.tasks.as_deref(), settings)?,
        norm_eps: settings.decide("norm-eps", "--norm-eps", norm_eps, |eps| format!("{eps:e}")),
    })
}

/// The tasks that the caller names, the only one that the scales allow, or the release's six.
fn tasks(
    shapes: &Shapes,
    scales: &[usize],
    given: Option<&[Task]>,
    settings: &mut Settings,
) -> Result<heapless::Vec<Task, MAX_TASKS>, CheckpointError> {
    let named = |names: &[&str]| names.iter().filter_map(|name| parse_task(name).ok()).collect::<Vec<_>>();
    let released = named(&RELEASED_TASKS);
    let said = if let Some(given) = given {
        Said::by_option(given.to_vec())
    } else if scales.iter().all(|scale| *scale > 1) {
        let tasks = scales.iter().filter_map(|scale| parse_task(&format!("x{scale}")).ok()).collect();
        Said::by_tensors(tasks, "the tails' scales")
    } else if released.iter().map(|task| task.scale).eq(scales.iter().copied()) {
        Said::assumed(released, "as in the authors' release")
    } else {
        Said::assumed(vec![], "")
    };
    let tasks = said.value.clone();
    let list = scales.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    if !tasks.iter().map(|task| task.scale).eq(scales.iter().copied()) || tasks.is_empty() {
        let names = tasks.iter().map(Task::to_string).collect::<Vec<_>>().join(",");
        let what = match given {
            Some(_) => format!("--tasks {names} does not fit the file's tails, whose scales are {list}"),
            None => {
                format!("what its tasks repair cannot be read from the weights (scales of the tails: {list})")
            }
        };
        let way_out = "pass --tasks with one name per tail, in order: x2, x3, x4 for a scale above 1, \
                       denoise30, derain or jpeg40 for scale 1";
        return Err(shapes.error(what, way_out.into()));
    }
    let show = |tasks: &Vec<Task>| tasks.iter().map(Task::to_string).collect::<Vec<_>>().join(",");
    let tasks = settings.decide("tasks", "--tasks", said, show);
    heapless::Vec::from_slice(&tasks).map_err(|_| {
        shapes.error(format!("{} tasks", tasks.len()), format!("at most {MAX_TASKS} are supported"))
    })
}
