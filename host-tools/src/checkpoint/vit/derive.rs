//! A model's hyperparameters from the shapes of its tensors, from what files and names say, and from the
//! caller's options.
use super::agreement;
use super::options::{BlockKind, LoadOptions};
use super::positions::{self, SizeSources};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::metadata::architectures::{Known, TypePool};
use crate::checkpoint::metadata::saved::SavedConfig;
use crate::checkpoint::metadata::Metadata;
use crate::checkpoint::names::canonical::{shape_of, Canonical};
use crate::checkpoint::names::head::HeadKind;
use crate::checkpoint::settings::{Said, Settings};
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};

/// Number of heads by token width in every ViT and DeiT that was published under these sizes (tiny to giant).
fn usual_heads(dim: usize) -> Option<usize> {
    [(192, 3), (384, 6), (512, 8), (768, 12), (1024, 16), (1280, 16), (1408, 16), (1664, 16)]
        .into_iter()
        .find_map(|(d, heads)| (d == dim).then_some(heads))
}

fn depth_of(model: &Canonical) -> usize {
    let number = |name: &String| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    model.tensors.keys().filter_map(number).max().map_or(0, |last| last + 1)
}

/// A configuration, and the image size (height, width) that the weights were trained with.
pub(crate) struct Derived {
    pub config: VitConfig,
    pub trained: (usize, usize),
}

/// What every decision looks at.
struct Deriving<'a> {
    model: &'a Canonical,
    metadata: &'a Metadata,
    options: &'a LoadOptions,
    settings: &'a mut Settings,
}

/// Reads the configuration; afterwards `model`'s position embedding has one row per token, and its classifier
/// is in the form that the configuration says.
pub(crate) fn config(
    model: &mut Canonical,
    metadata: &Metadata,
    options: &LoadOptions,
    settings: &mut Settings,
) -> Result<Derived, CheckpointError> {
    let [dim, channels, patch_height, patch_width] =
        shape_of(model, "patch_embed.proj.weight", "[dim, channels, patch height, patch width]")?;
    let [hidden, _] = shape_of(model, "blocks.0.mlp.fc1.weight", "[hidden, dim]")?;
    let has = |name: &str| model.tensors.contains_key(name);
    let head_shape =
        has("head.weight").then(|| shape_of::<2>(model, "head.weight", "[classes, dim]")).transpose()?;
    let classes = head_shape.map_or(0, |[classes, _]| classes);
    let is_wide = head_shape.is_some_and(|[_, width]| width == 2 * dim);
    let head = match head_shape {
        None => Head::None,
        Some(_) if is_wide => Head::TokenAndMean,
        Some(_) if has("head_dist.weight") => Head::Distilled,
        Some(_) => Head::Linear,
    };
    let mut config = VitConfig {
        image_height: patch_height,
        image_width: patch_width,
        channels,
        patch_height,
        patch_width,
        dim,
        depth: depth_of(model),
        heads: 1,
        hidden,
        classes,
        class_token: has("cls_token"),
        distill_token: has("dist_token"),
        pool: Pool::Mean,
        norm_before_pool: has("norm.weight"),
        norm_after_pool: has("fc_norm.weight"),
        head,
        activation: Activation::GeluErf,
        norm_eps: 0.0,
        output: Output::Softmax,
    };
    check_final_norm(model, &config, metadata)?;
    agreement::check(model, &config, metadata)?;
    check_head(model, &config, metadata, options)?;
    let mut deriving = Deriving { model, metadata, options, settings };
    deriving.block();
    config.heads = deriving.heads(dim)?;
    agreement::check_heads(deriving.model, &config, metadata)?;
    config.activation = deriving.activation()?;
    config.norm_eps = deriving.norm_eps();
    config.pool = deriving.pool(&config)?;
    config.output = deriving.output(classes);
    let sources = SizeSources {
        wanted: options.image_size,
        trained_by_option: options.trained_size,
        trained: trained_size(metadata),
        patch: (patch_height, patch_width),
        prefix: config.prefix_tokens(),
        dim,
    };
    if is_wide {
        model.split_head(dim);
    }
    if let Some(said) = model.head_note.take() {
        settings.decide("head", "--head", said, |_| "linear".to_string());
    }
    let trained = fit_image(model, &mut config, sources, settings)?;
    Ok(Derived { config, trained })
}

fn trained_size(metadata: &Metadata) -> Option<Said<(usize, usize)>> {
    let known = metadata.identity.timm;
    metadata.image.clone().or_else(|| metadata.identity.says_of_images(known.and_then(|known| known.image)))
}

/// Brings the positions to the image size that is wanted, and returns that of the training.
fn fit_image(
    model: &mut Canonical,
    config: &mut VitConfig,
    sources: SizeSources,
    settings: &mut Settings,
) -> Result<(usize, usize), CheckpointError> {
    let fitted = positions::fit(model, sources)?;
    let show = |(height, width): &(usize, usize)| format!("{height}x{width}");
    let trained = fitted.trained;
    (config.image_height, config.image_width) =
        settings.decide("image-size", "--image-size", fitted.image, show);
    // Where both are one, the option of the image's size says it.
    if trained.value != (config.image_height, config.image_width) {
        return Ok(settings.decide("trained-size", "--trained-size", trained, show));
    }
    Ok(trained.value)
}

/// A saved configuration with the caller's options put over it.
pub(crate) fn overridden(
    model: &mut Canonical,
    saved: &SavedConfig,
    options: &LoadOptions,
    settings: &mut Settings,
) -> Result<Derived, CheckpointError> {
    let mut config = saved.config;
    let file = "config.json `vitreous`";
    let block = Said::by_file(BlockKind::PreNorm, file);
    settings.decide("block", "--block", block, |BlockKind::PreNorm| "pre-norm".to_string());
    config.heads = decide_heads(settings, or_file(options.heads, config.heads, file));
    config.activation = decide_activation(settings, or_file(options.activation, config.activation, file));
    config.norm_eps = decide_eps(settings, or_file(options.norm_eps, config.norm_eps, file));
    config.pool = decide_pool(settings, or_file(options.pool, config.pool, file));
    if options.head == Some(HeadKind::None) {
        (config.head, config.classes, config.output) = (Head::None, 0, Output::Softmax);
    } else {
        // Earlier versions saved nothing of it.
        let is_saved = config.output != Output::Softmax;
        let saved = if is_saved { config.output } else { Output::unsaid(config.classes) };
        config.output = decide_output(settings, or_file(options.output, saved, file));
    }
    let sources = SizeSources {
        wanted: options.image_size,
        trained_by_option: options.trained_size,
        trained: Some(Said::by_file((config.image_height, config.image_width), file)),
        patch: (config.patch_height, config.patch_width),
        prefix: config.prefix_tokens(),
        dim: config.dim,
    };
    let trained = fit_image(model, &mut config, sources, settings)?;
    Ok(Derived { config, trained })
}

fn or_file<T>(option: Option<T>, value: T, file: &str) -> Said<T> {
    option.map_or_else(|| Said::by_file(value, file), Said::by_option)
}

fn decide_heads(settings: &mut Settings, said: Said<usize>) -> usize {
    settings.decide("heads", "--heads", said, usize::to_string)
}

fn decide_activation(settings: &mut Settings, said: Said<Activation>) -> Activation {
    settings.decide("activation", "--activation", said, |a| activation_name(*a).to_string())
}

fn decide_eps(settings: &mut Settings, said: Said<f32>) -> f32 {
    settings.decide("norm-eps", "--norm-eps", said, |eps| format!("{eps:e}"))
}

fn decide_pool(settings: &mut Settings, said: Said<Pool>) -> Pool {
    settings.decide("pool", "--pool", said, |pool| pool_name(*pool).to_string())
}

fn decide_output(settings: &mut Settings, said: Said<Output>) -> Output {
    let show = |output: &Output| match output {
        Output::Softmax => "softmax",
        Output::Sigmoid => "sigmoid",
        Output::Values => "values",
    };
    settings.decide("scores", "--scores", said, |output| show(output).to_string())
}

/// As the option takes it.
pub fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::GeluErf => "gelu-erf",
        Activation::GeluTanh => "gelu-tanh",
        Activation::Relu => "relu",
    }
}

/// As the option takes it.
pub fn pool_name(pool: Pool) -> &'static str {
    match pool {
        Pool::Token => "token",
        Pool::Mean => "mean",
    }
}

impl Deriving<'_> {
    fn is_library(&self, library: &str) -> bool {
        self.model.naming.library == library
    }

    fn unsupported(&self, what: String, way_out: &str) -> CheckpointError {
        CheckpointError::Unsupported { path: self.model.path.clone(), what, way_out: way_out.into() }
    }

    /// Whether norms stand in front of attention and MLP: post-norm blocks have tensors of the same names.
    fn block(&mut self) {
        let identity = &self.metadata.identity;
        let said = if let Some(kind) = self.options.block {
            Said::by_option(kind)
        } else if let Some(known) = identity.says(identity.tells_block().then_some(BlockKind::PreNorm)) {
            known
        } else if let Some(known) = identity.says(identity.model_type.map(|_| BlockKind::PreNorm)) {
            known
        } else if self.is_library("timm") {
            let others =
                "post-norm blocks, and those with rotary positions, can have tensors of the same names";
            Said::assumed(BlockKind::PreNorm, others)
        } else {
            Said::by_tensors(
                BlockKind::PreNorm,
                format!("{}'s names of the norms", self.model.naming.library),
            )
        };
        self.settings.decide("block", "--block", said, |BlockKind::PreNorm| "pre-norm".to_string());
    }

    /// What the well-known architecture says. Of one of another width nothing is left here, unless its file
    /// states that width.
    fn known<T>(&self, value: impl FnOnce(&Known) -> Option<T>) -> Option<Said<T>> {
        self.metadata.identity.says(value(self.metadata.identity.timm?))
    }

    fn heads(&mut self, dim: usize) -> Result<usize, CheckpointError> {
        let option = self.options.heads.map(Said::by_option);
        let file = || self.metadata.heads.clone();
        // MoCo v3 has 12 heads at every width (Chen et al., arXiv 2104.02057, appendix; its `vits.py`).
        let moco =
            || self.model.prefix.contains("base_encoder").then(|| Said::assumed(12, "usual for MoCo v3"));
        let usual =
            || usual_heads(dim).map(|heads| Said::assumed(heads, format!("usual for a width of {dim}")));
        let said =
            option.or_else(file).or_else(|| self.known(|known| known.heads)).or_else(moco).or_else(usual);
        let said =
            said.ok_or_else(|| CheckpointError::HeadsUnknown { path: self.model.path.clone(), dim })?;
        Ok(decide_heads(self.settings, said))
    }

    fn activation(&mut self) -> Result<Activation, CheckpointError> {
        let identity = &self.metadata.identity;
        let by_name =
            || identity.says(identity.timm.and_then(|known| known.activation)).map(|s| s.map(str::to_string));
        let quick = || {
            let name = identity.name.as_deref().filter(|name| name.contains("quickgelu"))?;
            Some(Said::by_file("quick_gelu".to_string(), format!("the name {name}")))
        };
        let said = if let Some(activation) = self.options.activation {
            Said::by_option(activation)
        } else if let Some(name) = self.metadata.activation.clone().or_else(quick).or_else(by_name) {
            name.try_map(|name, place| {
                activation_of(&name).ok_or_else(|| {
                    let what = format!(
                        "the activation {name:?} ({place}) is none of gelu (erf), gelu (tanh) and relu"
                    );
                    self.unsupported(
                        what,
                        "pass --activation to run the nearest one, and judge the result by its accuracy",
                    )
                })
            })?
        } else if self.is_library("torchvision") {
            Said::by_architecture(Activation::GeluErf, "torchvision's VisionTransformer has no other")
        } else {
            Said::assumed(Activation::GeluErf, format!("the usual one of {}", self.model.naming.library))
        };
        Ok(decide_activation(self.settings, said))
    }

    fn norm_eps(&mut self) -> f32 {
        let option = self.options.norm_eps.map(Said::by_option);
        let identity = &self.metadata.identity;
        let of_type = || identity.says(identity.model_type.map(|known| known.norm_eps));
        let library = || {
            let (eps, library) = (self.model.naming.default_norm_eps, self.model.naming.library);
            match library {
                "torchvision" => Said::by_architecture(eps, "the default of torchvision's VisionTransformer"),
                _ => Said::assumed(eps, format!("the default of {library}")),
            }
        };
        let file = || self.metadata.norm_eps.clone();
        let known = || self.known(|known| known.norm_eps);
        let said = option.or_else(file).or_else(known).or_else(of_type).unwrap_or_else(library);
        decide_eps(self.settings, said)
    }

    fn pool(&mut self, config: &VitConfig) -> Result<Pool, CheckpointError> {
        let identity = &self.metadata.identity;
        let of_timm =
            || identity.says(identity.timm.and_then(|known| known.pool)).map(|s| s.map(str::to_string));
        // An architecture's own pooling counts where the tensors are those of it.
        let fits = |name: &str| match pool_of_name(name) {
            Some(Pool::Token) => config.class_token && !config.norm_after_pool,
            Some(Pool::Mean) => config.norm_after_pool || !config.class_token,
            None => false,
        };
        let said = if let Some(pool) = self.options.pool {
            Said::by_option(pool)
        } else if config.head == Head::TokenAndMean {
            let is_dino = identity.model_type.is_some_and(|known| known.pool == TypePool::TokenAndMean);
            let why =
                "a classifier twice as wide as a token reads class token and mean side by side, as DINOv2's";
            if is_dino {
                Said::by_tensors(Pool::Mean, why)
            } else {
                Said::assumed(Pool::Mean, why)
            }
        } else if config.head == Head::Distilled {
            Said::by_tensors(Pool::Token, "two classifiers, of class and distillation token")
        } else if let Some(name) = self.metadata.pool.clone() {
            name.try_map(|name, place| self.pool_of(&name, place))?
        } else if let Some(name) = of_timm().filter(|name| fits(&name.value)) {
            name.try_map(|name, place| self.pool_of(&name, place))?
        } else if config.norm_after_pool {
            Said::assumed(Pool::Mean, "usual where a norm stands behind the pooling (`fc_norm`)")
        } else {
            self.pool_of_library(config)
        };
        Ok(decide_pool(self.settings, said))
    }

    /// What the outputs mean: as the caller says, as config.json says, else what is meant where nothing is
    /// said.
    fn output(&mut self, classes: usize) -> Output {
        if classes == 0 {
            return self.options.output.unwrap_or(Output::Softmax);
        }
        // The softmax of one output is always 1: what a file says of it can't be meant.
        let of_file =
            self.metadata.output.clone().filter(|said| classes > 1 || said.value != Output::Softmax);
        let unsaid = || match classes {
            1 => {
                Said::assumed(Output::unsaid(1), "one output may be a value, or a logit for --scores sigmoid")
            }
            _ => Said::by_tensors(Output::unsaid(classes), "a classifier of several classes"),
        };
        let said = self.options.output.map(Said::by_option).or(of_file).unwrap_or_else(unsaid);
        decide_output(self.settings, said)
    }

    fn pool_of_library(&self, config: &VitConfig) -> Said<Pool> {
        let library = self.model.naming.library;
        let pool = if config.class_token { Pool::Token } else { Pool::Mean };
        let of_type = self.metadata.identity.model_type.map(|known| match known.pool {
            TypePool::Of(pool) => pool,
            TypePool::TokenAndMean => Pool::Token,
        });
        match (library, of_type) {
            ("torchvision", _) => Said::by_architecture(pool, "torchvision's VisionTransformer has no other"),
            (_, Some(pool)) => {
                self.metadata.identity.says(Some(pool)).unwrap_or(Said::assumed(pool, "usual"))
            }
            _ if config.class_token => Said::assumed(pool, "usual for models with a class token"),
            _ => Said::assumed(pool, "usual for models without class token"),
        }
    }

    fn pool_of(&self, name: &str, place: &str) -> Result<Pool, CheckpointError> {
        pool_of_name(name).ok_or_else(|| {
            let what = format!("the pooling {name:?} ({place}) is neither \"token\" nor \"avg\"");
            self.unsupported(
                what,
                "pass --pool token or --pool mean to use one of these, or fine-tune the model with it",
            )
        })
    }
}

fn pool_of_name(name: &str) -> Option<Pool> {
    match name {
        "token" => Some(Pool::Token),
        "avg" => Some(Pool::Mean),
        _ => None,
    }
}

/// An activation by timm's, PyTorch's or transformers' name.
fn activation_of(name: &str) -> Option<Activation> {
    match name {
        "gelu" | "gelu_python" | "GELU" | "gelu_erf" => Some(Activation::GeluErf),
        "gelu_tanh" | "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast"
        | "gelu_accurate" | "GELUTanh" => Some(Activation::GeluTanh),
        "relu" | "ReLU" => Some(Activation::Relu),
        _ => None,
    }
}

/// A ViT has a norm behind its last block or behind the pooling, unless its architecture is known to have
/// none.
fn check_final_norm(
    model: &Canonical,
    config: &VitConfig,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    let expected = metadata.identity.timm.is_none_or(|known| known.final_norm);
    if config.norm_before_pool || config.norm_after_pool || !expected {
        return Ok(());
    }
    Err(CheckpointError::MissingTensor {
        path: model.path.clone(),
        tensor: model.source_name("norm.weight"),
        expected: vec![config.dim],
        hint: format!(
            "no norm stands behind the blocks: the file is incomplete, or its architecture has none, which \
             `architecture` in a config.json beside it says{}",
            model.unknown_in_words()
        ),
    })
}

/// A model that files call a classifier has one.
fn check_head(
    model: &Canonical,
    config: &VitConfig,
    metadata: &Metadata,
    options: &LoadOptions,
) -> Result<(), CheckpointError> {
    match &metadata.expects_head {
        Some(place) if config.classes == 0 && options.head != Some(HeadKind::None) => {
            Err(CheckpointError::Config {
                path: model.path.clone(),
                what: format!("{place} says that the model is a classifier, and the tensors have none"),
                way_out: "is the file whole? --head none converts a model without classifier, which gives \
                          features"
                    .into(),
            })
        }
        _ => Ok(()),
    }
}
