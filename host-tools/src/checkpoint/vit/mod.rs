//! Float ViT weights under the names of timm.
mod agreement;
mod derive;
mod options;
mod positions;
mod preprocess;
mod validate;

pub use derive::{activation_name, pool_name};
pub use options::{BlockKind, LoadOptions};
pub use preprocess::{crop_name, filter_name, ChannelOrder, PreprocessOptions};
pub use validate::{tensor_shapes, validate_config, validate_preprocess};

use super::archive::{self, Archive};
use super::checks::{refuse_unknown, take_tensors, warning_of_zeros};
use super::error::CheckpointError;
use super::file::locate::{file_label, locate, Located};
use super::json::Json;
use super::metadata::{labels, saved, Metadata};
use super::names::canonical::Canonical;
use super::settings::Settings;
use super::tensor::FloatTensor;
use crate::output;
use std::collections::BTreeMap;
use std::path::Path;
use vitreous::format::Preprocess;
use vitreous::models::vit::VitConfig;

/// A float ViT in canonical form: timm's tensor names, query/key/value packed, every bias there.
///
/// Its tensors are exactly those of [`tensor_shapes`].
#[derive(Clone, Debug)]
pub struct FloatVit {
    /// The model's name.
    pub name: String,
    /// The hyperparameters.
    pub config: VitConfig,
    /// How an image becomes the input.
    pub preprocess: Preprocess,
    /// One label per class, or none.
    pub labels: Vec<String>,
    /// The weights by name.
    pub tensors: BTreeMap<String, FloatTensor>,
    /// SHA-256 of the file that the weights come from; zeros for weights from memory.
    pub source_sha256: [u8; 32],
    /// What the tensors do not say, and where each value comes from; empty for weights from memory.
    pub settings: Settings,
    /// What the import left out or changed, in sentences for the user; assumed values are in `settings`.
    pub warnings: Vec<String>,
}

impl FloatVit {
    /// A model from weights in memory, checked like a file's.
    pub fn new(
        name: String,
        config: VitConfig,
        preprocess: Preprocess,
        labels: Vec<String>,
        mut tensors: BTreeMap<String, FloatTensor>,
    ) -> Result<Self, CheckpointError> {
        let path = Path::new(&name);
        validate_config(path, &config)?;
        validate_preprocess(path, &preprocess)?;
        labels::check(path, &labels, &config)?;
        let (shapes, hint) = (tensor_shapes(&config), validate::shapes_hint(&config));
        let taken = take_tensors(path, shapes, &mut tensors, &hint, &str::to_string)?;
        refuse_unknown(path, "plain ViT", tensors.keys())?;
        Ok(Self {
            name,
            config,
            preprocess,
            labels,
            tensors: taken,
            source_sha256: [0; 32],
            settings: Settings::default(),
            warnings: vec![],
        })
    }

    /// Reads a `.safetensors` file, a `.pt` or `.pth` file by `torch.save`, an index of shards, or a folder
    /// with one of these. Beside the weights are looked for: config.json, preprocessor_config.json,
    /// labels.txt and classes.txt.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, CheckpointError> {
        let Located { file, folder, mut warnings } = locate(path)?;
        let beside = |name: &str| Json::read(&folder.join(name));
        let config_json = beside("config.json")?;
        // Newer versions of transformers write the second one, around what the first one was.
        let mut processor = beside("preprocessor_config.json")?;
        if processor.is_none() {
            processor = beside("processor_config.json")?.and_then(|json| json.object("image_processor"));
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut archive = Archive::read(&file, options.weights.as_deref())?;
        let mut metadata = Metadata::read(config_json.as_ref(), &archive, &stem, options.block.is_some())?;
        let source_sha256 = archive.sha256;
        warnings.append(&mut archive.warnings);
        warnings.append(&mut metadata.warnings);
        let mut settings = Settings::default();
        archive.choice.decide(&mut settings);
        let mut model = Canonical::new(archive, options.head)?;
        model.fold_layer_scale()?;
        let derived = match &metadata.saved {
            Some(saved) => derive::overridden(&mut model, saved, options, &mut settings)?,
            None => derive::config(&mut model, &metadata, options, &mut settings)?,
        };
        let config = derived.config;
        validate_config(&file, &config)?;
        let sources = preprocess::Sources {
            options: &options.preprocess,
            saved: metadata.saved.as_ref(),
            config: config_json.as_ref().or(metadata.record.as_ref()),
            processor: processor.as_ref(),
            identity: &metadata.identity,
            library: model.naming.library,
            names: &names_of(&stem, &metadata),
            folder: &folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase(),
            model: &config,
            trained: derived.trained,
        };
        let (preprocess, order) = preprocess::decide(&sources, &mut settings, &mut warnings)?;
        validate_preprocess(&file, &preprocess)?;
        if order == ChannelOrder::Bgr {
            model.exchange_red_and_blue();
        }
        model.fill_biases(config.depth);
        warnings.append(&mut model.warnings);
        let tensors = take_all(&file, &mut model, &config, options, &mut warnings)?;
        warnings.extend(warning_of_zeros(&tensors, &|name| model.source_name(name)));
        let labels = options.labels.as_deref();
        let labels = labels::find(&folder, labels, &metadata.labels, &config, &mut warnings)?;
        if options.strict {
            settings.refuse_assumed(&file)?;
        }
        let named = metadata.name();
        let name = options.name.clone().or(named).unwrap_or_else(|| file_label(&file, &folder, "vit"));
        Ok(Self { name, config, preprocess, labels, tensors, source_sha256, settings, warnings })
    }

    /// Writes model.safetensors, config.json and (if there are labels) labels.txt, which [`load`](Self::load)
    /// reads back. Creates the folder. A file is replaced only once its successor is complete.
    pub fn save(&self, dir: &Path) -> Result<(), CheckpointError> {
        output::folder(dir)?;
        let saved = saved::SavedConfig { config: self.config, preprocess: self.preprocess };
        let config = serde_json::json!({ "architecture": self.name, "vitreous": saved });
        output::write(&dir.join("config.json"), format!("{config:#}\n"))?;
        let labels = dir.join("labels.txt");
        if !self.labels.is_empty() {
            let lines = self.labels.iter().map(|label| format!("{}\n", crate::text::printable(label)));
            let lines: String = lines.collect();
            output::write(&labels, lines)?;
        } else {
            // A labels file of an older model in this folder would be taken for this one's.
            output::remove(&labels)?;
        }
        archive::write(&dir.join("model.safetensors"), &self.tensors)
    }

    /// The same weights on images of `height`×`width` pixels, whole patches: positions are interpolated.
    ///
    /// # Errors
    /// A size that the model can't have.
    pub fn with_image(&self, height: usize, width: usize) -> Result<Self, CheckpointError> {
        let mut model = self.clone();
        (model.config.image_height, model.config.image_width) = (height, width);
        validate_config(Path::new(&self.name), &model.config)?;
        let grid = |c: &VitConfig| (c.image_height / c.patch_height, c.image_width / c.patch_width);
        if let Some(tensor) = model.tensors.get_mut("pos_embed") {
            let (from, to) = (grid(&self.config), grid(&model.config));
            positions::interpolate(tensor, from, to, self.config.prefix_tokens(), self.config.dim);
        }
        Ok(model)
    }

    /// A tensor by its canonical name.
    ///
    /// # Panics
    /// If the model has no such tensor. All of [`tensor_shapes`] are there.
    pub fn tensor(&self, name: &str) -> &FloatTensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.name))
    }

    /// A tensor by its canonical name, if the model has it.
    pub fn get(&self, name: &str) -> Option<&FloatTensor> {
        self.tensors.get(name)
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }
}

/// Whatever may tell whose release a model is, in lower case.
fn names_of(stem: &str, metadata: &Metadata) -> [String; 2] {
    [stem, metadata.identity.name.as_deref().unwrap_or_default()].map(str::to_lowercase)
}

/// Takes the model's tensors out of the checkpoint's. What is left over is an error, or a warning where the
/// caller allows it.
fn take_all(
    file: &Path,
    model: &mut Canonical,
    config: &VitConfig,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, FloatTensor>, CheckpointError> {
    let mut all = std::mem::take(&mut model.tensors);
    let hint =
        format!("{}: the file is incomplete{}", validate::shapes_hint(config), model.unknown_in_words());
    let source_name = |name: &str| model.source_name(name);
    let tensors = take_tensors(file, tensor_shapes(config), &mut all, &hint, &source_name)?;
    let surplus = all.keys().map(|name| model.source_name(name));
    let unknown: Vec<String> = model.unknown.iter().cloned().chain(surplus).collect();
    if options.allow_extra_tensors {
        warnings.extend(unknown.iter().map(|name| format!("tensor `{name}` is unknown: left out")));
    } else {
        refuse_unknown(file, "plain ViT", unknown.iter())?;
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests;
