//! What a caller says of a ViT's weights.

use std::path::PathBuf;

use vitreous::models::vit::{Activation, Output, Pool};

use super::preprocess::PreprocessOptions;
use crate::checkpoint::names::head::HeadKind;

/// What the caller knows better than the file. Everything has a default.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Attention heads per block.
    pub heads: Option<usize>,
    /// Image (height, width) in pixels that the model is to take; positions are interpolated to it.
    pub image_size: Option<(usize, usize)>,
    /// Image (height, width) in pixels that the weights were trained with.
    pub trained_size: Option<(usize, usize)>,
    /// What the blocks are, whatever an architecture's name says.
    pub block: Option<BlockKind>,
    /// The MLP's nonlinearity.
    pub activation: Option<Activation>,
    /// ε of the layer norms.
    pub norm_eps: Option<f32>,
    /// How the tokens are pooled.
    pub pool: Option<Pool>,
    /// What the outputs mean.
    pub output: Option<Output>,
    /// Replaces single values of the preprocessing found.
    pub preprocess: PreprocessOptions,
    /// A text file with one label per line.
    pub labels: Option<PathBuf>,
    /// The model's name.
    pub name: Option<String>,
    /// Which of several sets of weights in the file, by its key or prefix.
    pub weights: Option<String>,
    /// Tensors that are not part of a plain ViT become warnings instead of an error.
    pub allow_extra_tensors: bool,
    /// What stands behind the backbone, whatever else the file has there.
    pub head: Option<HeadKind>,
    /// A value that nobody says is an error instead of a warning.
    pub strict: bool,
}

/// Where a block's norms stand. Others have tensors of the same names, so that the kind is a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// In front of attention and MLP: what the engine runs.
    PreNorm,
}
