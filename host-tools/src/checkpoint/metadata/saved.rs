//! The `vitreous` object of a config.json: a checkpoint's complete configuration, as this tool saves it.
use serde::{Deserialize, Serialize};
use vitreous::format::{Crop, Filter, Preprocess};
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};

/// Everything about a model that its tensors do not say.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedConfig {
    #[serde(with = "VitConfigDef")]
    pub config: VitConfig,
    #[serde(with = "PreprocessDef")]
    pub preprocess: Preprocess,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "VitConfig", deny_unknown_fields)]
struct VitConfigDef {
    image_height: usize,
    image_width: usize,
    channels: usize,
    patch_height: usize,
    patch_width: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    hidden: usize,
    classes: usize,
    class_token: bool,
    distill_token: bool,
    #[serde(with = "PoolDef")]
    pool: Pool,
    norm_before_pool: bool,
    norm_after_pool: bool,
    #[serde(with = "HeadDef")]
    head: Head,
    #[serde(with = "ActivationDef")]
    activation: Activation,
    norm_eps: f32,
    /// Absent in what earlier versions saved.
    #[serde(with = "OutputDef", default = "softmax")]
    output: Output,
}

fn softmax() -> Output {
    Output::Softmax
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Preprocess", deny_unknown_fields)]
struct PreprocessDef {
    #[serde(with = "FilterDef")]
    filter: Filter,
    #[serde(with = "CropDef")]
    crop: Crop,
    resize: usize,
    mean: [f32; 4],
    std: [f32; 4],
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Pool", rename_all = "snake_case")]
enum PoolDef {
    Token,
    Mean,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Head", rename_all = "snake_case")]
enum HeadDef {
    None,
    Linear,
    Distilled,
    TokenAndMean,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Activation", rename_all = "snake_case")]
enum ActivationDef {
    GeluErf,
    GeluTanh,
    Relu,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Output", rename_all = "snake_case")]
enum OutputDef {
    Softmax,
    Sigmoid,
    Values,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Filter", rename_all = "snake_case")]
enum FilterDef {
    Nearest,
    Bilinear,
    Bicubic,
    Lanczos3,
    Box,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Crop", rename_all = "snake_case")]
enum CropDef {
    Center,
    Squash,
}
