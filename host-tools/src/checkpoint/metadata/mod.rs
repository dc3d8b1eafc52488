//! Step 4: what the files beside the weights, and the names that they give, say of a model.
pub(super) mod architectures;
pub(super) mod claims;
pub(super) mod labels;
pub(super) mod record;
pub(super) mod saved;

use crate::checkpoint::archive::{signatures, Archive};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Json;
use crate::checkpoint::names::features;
use crate::checkpoint::settings::Said;
use architectures::{Known, ModelType};
use claims::{Claim, Stated};
use saved::SavedConfig;
use vitreous::models::vit::Output;

/// A name in a file, and what is known of the architecture that it stands for.
#[derive(Default)]
pub(crate) struct Identity {
    /// The name, where a file says one.
    pub name: Option<String>,
    /// Where it stands, for people.
    pub place: String,
    /// timm's architecture of this name.
    pub timm: Option<&'static Known>,
    /// transformers' model type of this name.
    pub model_type: Option<&'static ModelType>,
    /// Whether the weights' file is only called so: that may be an accident.
    pub is_file_name: bool,
    /// Whether a training noted it in its checkpoint.
    pub is_of_record: bool,
    /// Whether the model is the named architecture with another width, which its file states.
    pub is_variant: bool,
}

impl Identity {
    /// What the architecture says of the preprocessing: a training may have had its own, where its record
    /// names the architecture.
    pub fn says_of_images<T>(&self, value: Option<T>) -> Option<Said<T>> {
        let name = self.name.as_deref().unwrap_or_default();
        match self.is_of_record {
            true => Some(Said::assumed(value?, format!("as of {name}, which {} names", self.place))),
            false => self.says(value),
        }
    }

    /// What the architecture says of a value.
    pub fn says<T>(&self, value: Option<T>) -> Option<Said<T>> {
        let name = self.name.as_deref().unwrap_or_default();
        let value = value?;
        Some(if self.is_file_name {
            Said::assumed(value, format!("as in {name}, which the file is called"))
        } else {
            Said::by_architecture(value, format!("{name}, which {} names", self.place))
        })
    }

    /// Whether the name tells where the blocks' norms stand.
    pub fn tells_block(&self) -> bool {
        self.timm.is_some() || self.is_variant
    }

    /// What the architecture needs that the engine does not have, in a sentence.
    fn obstacle(&self) -> Option<String> {
        let of_type = || self.model_type.and_then(|known| known.obstacle.map(str::to_string));
        let what = self.timm.and_then(Known::obstacle).or_else(of_type)?;
        let place = if self.is_file_name { "the file's name" } else { &self.place };
        Some(format!("{place} says that this is {}, which has {what}", self.name.as_deref()?))
    }
}

/// What config.json says; each value may be absent.
#[derive(Default)]
pub(crate) struct Metadata {
    pub saved: Option<SavedConfig>,
    pub identity: Identity,
    pub heads: Option<Said<usize>>,
    /// As the file calls it.
    pub activation: Option<Said<String>>,
    pub norm_eps: Option<Said<f32>>,
    /// (height, width) in pixels.
    pub image: Option<Said<(usize, usize)>>,
    /// As timm calls it.
    pub pool: Option<Said<String>>,
    /// What the outputs mean.
    pub output: Option<Said<Output>>,
    /// Where a file says that the model is a classifier.
    pub expects_head: Option<String>,
    pub labels: Vec<String>,
    pub claims: Vec<Claim>,
    /// transformers' `_name_or_path`.
    title: Option<String>,
    /// What the training noted in the weights' file.
    pub record: Option<Json>,
    /// What a file says the model has and the engine has not, in a sentence.
    unknown_layer: Option<String>,
    pub warnings: Vec<String>,
}

impl Metadata {
    /// Reads config.json, the facts that the weights' file says of itself (`arch` of a training's
    /// checkpoint), and its name. A network that is no plain ViT is refused, unless the caller overrules what
    /// its name says.
    pub fn read(
        config: Option<&Json>,
        archive: &Archive,
        stem: &str,
        is_overruled: bool,
    ) -> Result<Self, CheckpointError> {
        let refuse = |obstacle: Option<String>| match obstacle {
            Some(obstacle) if !is_overruled => Err(not_plain(archive, obstacle)),
            _ => Ok(()),
        };
        let mut metadata = Self::default();
        if let Some(config) = config {
            if let Some(value) = config.get("vitreous") {
                let saved = serde_json::from_value(value.clone());
                metadata.saved = Some(saved.map_err(|e| config.error(format!("`vitreous`: {e}")))?);
                metadata.identity.name = config.string("architecture")?;
                return Ok(metadata);
            }
            metadata.identify(config)?;
            // Before anything else is read: what another architecture's numbers look like is its own affair.
            refuse(metadata.identity.obstacle())?;
            metadata.expects_head = expects_head(config)?;
            metadata.output = output(config)?;
            metadata.read_timm(config)?;
            metadata.read_transformers(config)?;
        }
        if metadata.identity.timm.is_none() && metadata.identity.model_type.is_none() {
            metadata.identify_by_names(archive, stem);
        }
        if let (Some(record), None) = (record::of(archive), config) {
            metadata.read_timm(&record)?;
            // Unlike config.json's, it counts only where the number of patches agrees: a training may name it
            // otherwise.
            let image = record::image_size(archive);
            metadata.image = image.map(|(size, place)| Said::by_architecture(size, place));
            metadata.record = Some(record);
        }
        refuse(metadata.identity.obstacle().or(metadata.unknown_layer.take()))?;
        metadata.forget_unlike(width(archive));
        Ok(metadata)
    }

    /// An architecture of another width than the tensors' says nothing of them: many a model is called after
    /// a larger one.
    fn forget_unlike(&mut self, width: Option<usize>) {
        let identity = &mut self.identity;
        let (Some(known), Some(width)) = (identity.timm, width) else { return };
        let Some(named) = known.dim.filter(|dim| *dim != width) else { return };
        let name = identity.name.as_deref().unwrap_or(known.name);
        let who = match identity.is_file_name {
            true => format!("the file is called {name}"),
            false => format!("{} names {name}", identity.place),
        };
        let is_stated = |claim: &&Claim| claim.what == "dim" && claim.stated == Stated::Size(width);
        let stated: Vec<_> = self.claims.iter().filter(is_stated).collect();
        // timm builds the named architecture with another width: all else of it holds.
        if !identity.is_file_name && stated.iter().any(|claim| claim.place.ends_with("model_args.embed_dim`"))
        {
            return;
        }
        identity.is_variant = !identity.is_file_name && !stated.is_empty();
        identity.timm = None;
        self.warnings.push(format!(
            "{who}, whose tokens have a width of {named}, and the tensors have {width}: no value is taken \
             from that architecture"
        ));
    }

    /// The model's name for people: config.json's, not one that its file name only suggests.
    pub fn name(&self) -> Option<String> {
        let named = self.identity.name.clone().filter(|_| !self.identity.is_file_name);
        self.title.clone().or(named).filter(|name| !name.trim().is_empty())
    }

    fn identify(&mut self, config: &Json) -> Result<(), CheckpointError> {
        let type_name = config.string("model_type")?;
        if config.get("architecture").is_none() {
            self.title = config.string("_name_or_path")?.filter(|name| !name.is_empty());
        }
        for (key, name) in [("architecture", config.string("architecture")?), ("model_type", type_name)] {
            let Some(name) = name else { continue };
            let of_type = if key == "model_type" { model_type(config, &name)? } else { None };
            let known = (architectures::timm(&name), of_type);
            // timm's config.json says the tag apart, and its preprocessing with it.
            if self.identity.name.is_none() || known.0.is_some() || known.1.is_some() {
                let place = config.place(key);
                self.identity = Identity {
                    place,
                    timm: known.0,
                    model_type: known.1,
                    name: Some(name),
                    ..Identity::default()
                };
            }
            if known.0.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// By the architecture that a training noted in the weights' file, or by what the file is called.
    fn identify_by_names(&mut self, archive: &Archive, stem: &str) {
        let is_moco = archive.tensors.keys().any(|name| name.contains("base_encoder"));
        let dim = width(archive);
        let find = |name: &str| {
            let released = || architectures::released(name, dim?, is_moco);
            architectures::timm(name).or_else(released)
        };
        let of_file = archive.architecture.as_deref().and_then(|name| {
            let timm = Some(find(name)?);
            let place = "the training's record in the weights' file".into();
            Some(Identity { name: Some(name.into()), place, timm, is_of_record: true, ..Identity::default() })
        });
        let of_stem = || {
            let timm = find(architectures::without_hash(stem))?;
            let name = Some(timm.name.to_string());
            Some(Identity { name, timm: Some(timm), is_file_name: true, ..Identity::default() })
        };
        if let Some(found) = of_file.or_else(of_stem) {
            self.identity = found;
        }
    }

    fn read_timm(&mut self, config: &Json) -> Result<(), CheckpointError> {
        let pretrained = config.object("pretrained_cfg");
        if let Some(arguments) = config.object("model_args") {
            let place = |key: &str| config.place(&format!("model_args.{key}"));
            let image = arguments.height_width("img_size")?;
            self.image = image.map(|size| Said::by_file(size, place("img_size")));
            let activation = arguments.string("act_layer")?;
            self.activation = activation.map(|name| Said::by_file(name, place("act_layer")));
            self.claims.extend(claims::read(config, &arguments, "model_args.")?);
            self.block_arguments(config, &arguments)?;
        }
        self.input_size(config, pretrained.as_ref())?;
        let none = Json::empty(&config.path);
        let arguments = config.object("model_args").unwrap_or(none);
        let argument = |key: &str| config.place(&format!("model_args.{key}"));
        let heads = [
            (arguments.integer("num_heads")?, argument("num_heads")),
            (config.integer("num_heads")?, config.place("num_heads")),
            (config.integer("num_attention_heads")?, config.place("num_attention_heads")),
        ];
        self.heads = claims::agreed(config, heads)?.map(|(n, place)| Said::by_file(n, place));
        let pool = [
            (config.string("global_pool")?, config.place("global_pool")),
            (arguments.string("global_pool")?, argument("global_pool")),
        ];
        self.pool = claims::agreed(config, pool)?.map(|(name, place)| Said::by_file(name, place));
        let eps = [
            (arguments.number("norm_eps")?, argument("norm_eps")),
            (config.number("layer_norm_eps")?, config.place("layer_norm_eps")),
        ];
        self.norm_eps = claims::agreed(config, eps)?.map(|(eps, place)| Said::by_file(eps as f32, place));
        for source in [Some(config), pretrained.as_ref()].into_iter().flatten() {
            if self.labels.is_empty() {
                self.labels = source.strings("label_names")?.unwrap_or_default();
            }
        }
        Ok(())
    }

    /// The image of timm's `pretrained_cfg`, which older files have in themselves. Its channels are those of
    /// the model that a training began with, where `in_chans` says others.
    fn input_size(&mut self, config: &Json, pretrained: Option<&Json>) -> Result<(), CheckpointError> {
        let of_pretrained = |key: &str| format!("pretrained_cfg.{key}");
        for key in ["mean", "std", "crop_pct", "interpolation", "crop_mode", "input_size"] {
            let nested = pretrained.and_then(|json| json.get(key)).cloned();
            let places =
                [(nested, config.place(&of_pretrained(key))), (config.get(key).cloned(), config.place(key))];
            claims::agreed(config, places)?;
        }
        let (source, place) = match pretrained {
            Some(pretrained) => (pretrained, config.place(&of_pretrained("input_size"))),
            None => (config, config.place("input_size")),
        };
        let Some(size) = source.numbers("input_size")? else { return Ok(()) };
        let [channels, height, width] = size[..] else {
            return Err(config.error(format!("{place} is {size:?}, expected [channels, height, width]")));
        };
        if !self.claims.iter().any(|claim| claim.what == "channels") {
            let stated = Stated::Size(channels as usize);
            self.claims.push(Claim { what: "channels", stated, place: place.clone() });
        }
        if self.image.is_none() {
            self.image = Some(Said::by_file((height as usize, width as usize), place));
        }
        Ok(())
    }

    /// timm's arguments that make another network of tensors with the same names.
    fn block_arguments(&mut self, config: &Json, arguments: &Json) -> Result<(), CheckpointError> {
        let block = arguments.string("block_fn")?.filter(|name| !matches!(name.as_str(), "Block" | "block"));
        let is_plain = |value: &str| {
            matches!(
                value,
                "layernorm" | "LayerNorm" | "mlp" | "Mlp" | "Attention" | "attn" | "PatchEmbed" | ""
            )
        };
        let layers = ["norm_layer", "mlp_layer", "attn_layer", "embed_layer"];
        let unknown = layers.into_iter().find_map(|key| {
            let value = arguments.get(key).filter(|value| !value.as_str().is_some_and(is_plain))?;
            Some(format!("{key} {value}"))
        });
        let found = block.map(|name| format!("block_fn {name:?}")).or(unknown);
        let found = found.map(|found| format!("`model_args` has {found}, which the engine does not have"));
        self.unknown_layer = found.or_else(|| claims::feature(config, arguments, "model_args."));
        let unknown = claims::unknown_arguments(arguments);
        let unknown = unknown.iter().map(|key| config.place(&format!("model_args.{key}")));
        self.warnings.extend(unknown.map(|place| format!("{place} is not known, and is passed over")));
        Ok(())
    }

    fn read_transformers(&mut self, config: &Json) -> Result<(), CheckpointError> {
        if self.image.is_none() {
            let image = config.height_width("image_size")?;
            self.image = image.map(|size| Said::by_file(size, config.place("image_size")));
        }
        if self.activation.is_none() {
            let name = config.string("hidden_act")?;
            self.activation = name.map(|name| Said::by_file(name, config.place("hidden_act")));
        }
        self.claims.extend(claims::read(config, config, "")?);
        self.unknown_layer = self.unknown_layer.take().or_else(|| claims::feature(config, config, ""));
        if let Some(map) = config.object("id2label") {
            let named = std::mem::replace(&mut self.labels, labels::of_map(&map)?);
            if !named.is_empty() && named != self.labels {
                let [taken, other] = ["id2label", "label_names"].map(|key| config.place(key));
                self.warnings.push(format!("the labels of {taken} are taken, and {other} has others"));
            }
            let is_claimed = self.claims.iter().any(|claim| claim.what == "classes");
            if !is_claimed {
                let place = config.place("id2label");
                self.claims.push(Claim { what: "classes", stated: Stated::Size(map.len()), place });
            }
        }
        // What transformers writes when nobody named the classes.
        if self.labels.iter().enumerate().all(|(i, label)| *label == format!("LABEL_{i}")) {
            self.labels.clear();
        }
        Ok(())
    }
}

/// What the outputs mean: transformers' `problem_type`.
fn output(config: &Json) -> Result<Option<Said<Output>>, CheckpointError> {
    let Some(problem) = config.string("problem_type")? else { return Ok(None) };
    let output = match problem.as_str() {
        "single_label_classification" => Output::Softmax,
        "multi_label_classification" => Output::Sigmoid,
        "regression" => Output::Values,
        other => {
            return Err(config.error(format!(
                "`problem_type` is {other:?}, expected \"single_label_classification\", \
                 \"multi_label_classification\" or \"regression\""
            )))
        }
    };
    Ok(Some(Said::by_file(output, config.place("problem_type"))))
}

/// A model type, which config.json can make another one: BEiT has relative positions by an option alone.
fn model_type(config: &Json, name: &str) -> Result<Option<&'static ModelType>, CheckpointError> {
    let is = |key: &str| Ok::<_, CheckpointError>(config.boolean(key)? == Some(true));
    let is_relative = is("use_relative_position_bias")? || is("use_shared_relative_position_bias")?;
    let is_absolute = is("use_absolute_position_embeddings")? && !is_relative;
    Ok(architectures::model_type(match name {
        "beit" | "data2vec-vision" if is_absolute => "beit with absolute positions",
        name => name,
    }))
}

/// Width of the tokens, by the first layer's weight.
fn width(archive: &Archive) -> Option<usize> {
    let is_first = |name: &str| signatures::VIT.iter().any(|signature| name.ends_with(signature));
    let (_, tensor) = archive.tensors.iter().find(|(name, _)| is_first(name))?;
    tensor.shape.first().copied()
}

/// The refusal of a network that a name or a file says to be no plain ViT.
fn not_plain(archive: &Archive, what: String) -> CheckpointError {
    let plain = "Vitreous runs plain pre-norm ViTs";
    // Tensors that no plain ViT has would be refused all the same.
    let is_told_by_tensors = features::unsupported(archive.tensors.keys().map(String::as_str)).is_some();
    let way_out = match is_told_by_tensors {
        true => plain.to_owned(),
        false => format!("{plain}; --block pre-norm takes the tensors for one all the same"),
    };
    CheckpointError::Unsupported { path: archive.path.clone(), what, way_out }
}

/// Where config.json says that the model has a classifier: transformers' class, or timm's number of classes.
fn expects_head(config: &Json) -> Result<Option<String>, CheckpointError> {
    let classes = config.strings("architectures")?.unwrap_or_default();
    if classes.iter().any(|class| class.ends_with("ForImageClassification")) {
        return Ok(Some(config.place("architectures")));
    }
    let is_timm = config.get("architecture").is_some();
    Ok(config.integer("num_classes")?.filter(|n| is_timm && *n > 0).map(|_| config.place("num_classes")))
}
