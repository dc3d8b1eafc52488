//! Float IPT weights under the names of the authors' release.

mod derive;
mod options;
mod queries;
mod saved;
mod shapes;
mod validate;
mod window;

pub use options::IptLoadOptions;
pub use shapes::{parse_task, tensor_shapes, RGB_MEAN};
pub use validate::validate_ipt_config;

use super::archive::{self, Archive};
use super::checks::{refuse_unknown, warning_of_zeros};
use super::error::CheckpointError;
use super::file::locate::{file_label, locate, Located};
use super::json::Json;
use super::names::features;
use super::names::wrappers::unwrapped;
use super::settings::{Said, Settings};
use super::tensor::FloatTensor;
use crate::output;
use std::collections::BTreeMap;
use std::path::Path;
use vitreous::models::ipt::{IptConfig, Task, COLOURS};

/// What the model is, for messages.
const ARCHITECTURE: &str = "plain IPT";

/// A float IPT. Its tensors are exactly those of [`tensor_shapes`], in the authors' names, units (pixels
/// 0..255, mean subtracted) and axis order (unfolded patches are ordered channel, row, column).
#[derive(Clone, Debug)]
pub struct FloatIpt {
    /// The model's name.
    pub name: String,
    /// The hyperparameters.
    pub config: IptConfig,
    /// The weights by name.
    pub tensors: BTreeMap<String, FloatTensor>,
    /// SHA-256 of the file that the weights come from; zeros for weights from memory.
    pub source_sha256: [u8; 32],
    /// What the tensors do not say, and where each value comes from; empty for weights from memory.
    pub settings: Settings,
    /// What the import left out or changed, in sentences for the user; assumed values are in `settings`.
    pub warnings: Vec<String>,
}

impl FloatIpt {
    /// A model from weights in memory, checked like a file's.
    ///
    /// # Errors
    /// A configuration that contradicts itself; tensors that are missing, misshapen, not finite or too many.
    pub fn new(
        name: String,
        config: IptConfig,
        mut tensors: BTreeMap<String, FloatTensor>,
    ) -> Result<Self, CheckpointError> {
        let path = Path::new(&name);
        validate_ipt_config(path, &config)?;
        let taken = take_tensors(path, &config, &mut tensors)?;
        refuse_unknown(path, ARCHITECTURE, tensors.keys())?;
        Ok(Self {
            name,
            config,
            tensors: taken,
            source_sha256: [0; 32],
            settings: Settings::default(),
            warnings: vec![],
        })
    }

    /// Reads a file of the authors' tensors (`.safetensors`, or `.pt` by `torch.save`), an index of shards,
    /// or a folder with one of these. The object `vitreous_ipt` of a config.json beside it, as
    /// [`save`](Self::save) writes it, gives the configuration; without it, shapes and `options` do.
    ///
    /// # Errors
    /// A file that cannot be read or is of another network; what it doesn't say and `options` neither; faults
    /// of its tensors.
    pub fn load(path: &Path, options: &IptLoadOptions) -> Result<Self, CheckpointError> {
        let Located { file, folder, mut warnings } = locate(path)?;
        let config_json = Json::read(&folder.join("config.json"))?;
        let mut settings = Settings::default();
        let Archive { sha256, tensors, choice, warnings: of_archive, .. } =
            Archive::read(&file, options.weights.as_deref())?;
        warnings.extend(of_archive);
        choice.decide(&mut settings);
        let mut tensors = unwrapped(tensors);
        if !derive::is_ipt(&tensors) {
            return Err(features::unknown_architecture(&file, tensors.keys()));
        }
        drop_constants(&file, &mut tensors)?;
        let config = match config_json.as_ref().map(read_saved).transpose()?.flatten() {
            Some(config) => overridden(&file, config, options, &mut settings)?,
            None => derive::config(&file, &tensors, options, &mut settings)?,
        };
        validate_ipt_config(&file, &config)?;
        queries::choose(&file, &mut tensors, &config, options.queries.as_deref(), &mut settings)?;
        let taken = take_tensors(&file, &config, &mut tensors)?;
        if options.allow_extra_tensors {
            warnings.extend(tensors.keys().map(|name| format!("tensor `{name}` is unknown: left out")));
        } else {
            refuse_unknown(&file, ARCHITECTURE, tensors.keys())?;
        }
        if options.strict {
            settings.refuse_assumed(&file)?;
        }
        warnings.extend(warning_of_zeros(&taken, &str::to_string));
        let named = config_json.map(|json| json.string("architecture")).transpose()?.flatten();
        let named = named.filter(|name| !name.trim().is_empty());
        let name = options.name.clone().or(named).unwrap_or_else(|| file_label(&file, &folder, "ipt"));
        Ok(Self { name, config, tensors: taken, source_sha256: sha256, settings, warnings })
    }

    /// Writes model.safetensors and config.json, which [`load`](Self::load) reads back. Creates the folder. A
    /// file is replaced only once its successor is complete.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), CheckpointError> {
        output::folder(dir)?;
        let saved = saved::SavedConfig(self.config.clone());
        let config = serde_json::json!({ "architecture": self.name, "vitreous_ipt": saved });
        output::write(&dir.join("config.json"), format!("{config:#}\n"))?;
        archive::write(&dir.join("model.safetensors"), &self.tensors)
    }

    /// The same body with the head, query and tail of one task alone.
    ///
    /// # Errors
    /// The model has no such task; the message lists those that it has.
    pub fn keep_task(&self, task: &Task) -> Result<Self, CheckpointError> {
        let index = self.task_index(task)?;
        let (head, tail) = (format!("head.{index}."), format!("tail.{index}."));
        let mut tensors = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            if let Some(rest) = name.strip_prefix(&head) {
                tensors.insert(format!("head.0.{rest}"), tensor.clone());
            } else if let Some(rest) = name.strip_prefix(&tail) {
                tensors.insert(format!("tail.0.{rest}"), tensor.clone());
            } else if name == "body.query_embed.weight" {
                let width = self.config.tokens() * self.config.dim();
                let data = tensor.data[index * width..(index + 1) * width].to_vec();
                tensors.insert(name.clone(), FloatTensor { shape: vec![1, width], data });
            } else if name.starts_with("body.") {
                tensors.insert(name.clone(), tensor.clone());
            }
        }
        let mut config = self.config.clone();
        config.tasks.clear();
        let _ = config.tasks.push(*task);
        let mut one = Self::new(self.name.clone(), config, tensors)?;
        one.source_sha256 = self.source_sha256;
        one.settings.clone_from(&self.settings);
        one.warnings.clone_from(&self.warnings);
        Ok(one)
    }

    /// Position of a task in heads, queries and tails.
    ///
    /// # Errors
    /// The model has no such task; the message lists those that it has.
    pub fn task_index(&self, task: &Task) -> Result<usize, CheckpointError> {
        self.config.tasks.iter().position(|t| t == task).ok_or_else(|| {
            let names: Vec<_> = self.config.tasks.iter().map(Task::to_string).collect();
            CheckpointError::Config {
                path: self.name.clone().into(),
                what: format!("the model has no task {task}"),
                way_out: format!("its tasks are {}", names.join(", ")),
            }
        })
    }

    /// A tensor by its name.
    ///
    /// # Panics
    /// If the model has no such tensor. All of [`tensor_shapes`] are there.
    pub fn tensor(&self, name: &str) -> &FloatTensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.name))
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }
}

fn take_tensors(
    path: &Path,
    config: &IptConfig,
    tensors: &mut BTreeMap<String, FloatTensor>,
) -> Result<BTreeMap<String, FloatTensor>, CheckpointError> {
    let IptConfig { encoder_layers, decoder_layers, .. } = config;
    let (dim, tasks) = (config.dim(), config.tasks.len());
    let hint = format!(
        "the model has {encoder_layers} encoder and {decoder_layers} decoder layers of dim {dim}, and \
         {tasks} tasks: the file is incomplete"
    );
    super::checks::take_tensors(path, tensor_shapes(config), tensors, &hint, &str::to_string)
}

/// The configuration that [`FloatIpt::save`] wrote, if the file is one of its.
fn read_saved(json: &Json) -> Result<Option<IptConfig>, CheckpointError> {
    let Some(value) = json.get("vitreous_ipt") else { return Ok(None) };
    let saved: Result<saved::SavedConfig, _> = serde_json::from_value(value.clone());
    saved.map(|saved| Some(saved.0)).map_err(|e| json.error(format!("`vitreous_ipt`: {e}")))
}

/// A saved configuration with what the caller gives instead.
fn overridden(
    path: &Path,
    mut config: IptConfig,
    options: &IptLoadOptions,
    settings: &mut Settings,
) -> Result<IptConfig, CheckpointError> {
    let file = "config.json `vitreous_ipt`";
    let heads = options.heads.map_or_else(|| Said::by_file(config.heads, file), Said::by_option);
    config.heads = settings.decide("heads", "--heads", heads, usize::to_string);
    let norm_eps = options.norm_eps.map_or_else(|| Said::by_file(config.norm_eps, file), Said::by_option);
    config.norm_eps = settings.decide("norm-eps", "--norm-eps", norm_eps, |eps| format!("{eps:e}"));
    if let Some(tasks) = &options.tasks {
        config.tasks = heapless::Vec::from_slice(tasks).map_err(|_| CheckpointError::Config {
            path: path.to_path_buf(),
            what: format!("{} tasks", tasks.len()),
            way_out: format!("at most {} are supported", vitreous::models::ipt::MAX_TASKS),
        })?;
    }
    let tasks = match options.tasks {
        Some(_) => Said::by_option(()),
        None => Said::by_file((), file),
    };
    let names = config.tasks.iter().map(Task::to_string).collect::<Vec<_>>().join(",");
    settings.decide("tasks", "--tasks", tasks, |()| names);
    Ok(config)
}

/// Takes out what the release keeps as tensors but never trains: the layers that subtract and add the mean,
/// which must be those of [`RGB_MEAN`] and unit deviation, and the position numbers.
fn drop_constants(path: &Path, tensors: &mut BTreeMap<String, FloatTensor>) -> Result<(), CheckpointError> {
    tensors.remove("body.position_encoding.position_ids");
    for (layer, sign) in [("sub_mean", -1.0), ("add_mean", 1.0)] {
        let identity = |i: usize| f32::from(i.is_multiple_of(COLOURS + 1));
        let expected = [
            ("weight", (0..COLOURS * COLOURS).map(identity).collect::<Vec<f32>>()),
            ("bias", RGB_MEAN.iter().map(|mean| sign * 255.0 * mean).collect()),
        ];
        for (leaf, expected) in expected {
            let name = format!("{layer}.{leaf}");
            let Some(found) = tensors.remove(&name) else { continue };
            // Half precision keeps 114.4 to a sixteenth.
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 0.07;
            if found.data.len() != expected.len() || !found.data.iter().zip(&expected).all(near) {
                let shown = &found.data[..found.data.len().min(COLOURS * COLOURS)];
                return Err(CheckpointError::Unsupported {
                    path: path.to_path_buf(),
                    what: format!(
                        "`{name}` is {shown:?}, expected {expected:?}: the pixels are normalised in another \
                         way"
                    ),
                    way_out: "train with the mean colour of DIV2K and pixels of 0..255, as the authors' \
                              release does"
                        .into(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
