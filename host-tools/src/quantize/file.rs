//! From float weights to a `.vtr` file: what is the same for every architecture.

use std::fmt::Display;

use anyhow::Result;
use vitreous::models::vit::DEFAULT_TILE_ROWS;
use vitreous::tensor::PanelLayout;

use super::balance::Extents;
use super::stream::Trial;
use crate::checkpoint::Settings;
use crate::vtr::{Family, VtrHeader, VtrWriter};

/// Float weights that can become a `.vtr` file: what an architecture brings of its own.
pub trait Quantize {
    /// Names a layer whose precision can be chosen.
    type Layer: Copy + PartialEq + Display;

    /// The architecture.
    const FAMILY: Family;

    /// The model's name, the SHA-256 of the file that the weights come from (zeros for weights from memory),
    /// and what the tensors do not say.
    fn header(&self) -> (&str, [u8; 32], &Settings);

    /// Every layer whose precision can be chosen, in the order of the forward pass.
    fn layers(&self) -> Vec<Self::Layer>;

    /// The layers that a name stands for; `*` stands for any one part between dots.
    ///
    /// # Errors
    /// No layer of this model has such a name; some that there are.
    fn layers_named(&self, pattern: &str) -> Result<Vec<Self::Layer>>;

    /// Finds the power of two that brings the residual stream into f16's range: the float weights run on a
    /// few synthetic images and on `images` as the model takes them.
    ///
    /// # Errors
    /// Images of the wrong size.
    fn trial(&self, images: &[Vec<u8>]) -> Result<Trial>;

    /// Appends all sections but the settings.
    ///
    /// # Errors
    /// A layer that the model does not have; a value that cannot be stored, with its tensor.
    fn write_sections(&self, options: &QuantizeOptions<Self::Layer>, writer: &mut VtrWriter) -> Result<()>;
}

/// What a user may choose; `L` names a layer.
#[derive(Clone, Debug)]
pub struct QuantizeOptions<L> {
    /// Layers that keep f16 weights and float activations.
    pub keep_f16: Vec<L>,
    /// Order of the int8 weights.
    pub layout: PanelLayout,
    /// The model's own version.
    pub model_version: u32,
    /// Name in the header, if not the checkpoint's.
    pub name: Option<String>,
    /// Power of two on all that writes the residual stream (of an IPT the feature maps too), as
    /// [`Quantize::trial`] finds it.
    pub stream_exponent: i32,
    /// What the norms were seen to make in that trial; for a norm that is not there one standard deviation is
    /// assumed.
    pub extents: Extents,
}

impl<L> Default for QuantizeOptions<L> {
    fn default() -> Self {
        Self {
            keep_f16: Vec::new(),
            layout: PanelLayout::ROW_MAJOR,
            model_version: 1,
            name: None,
            stream_exponent: 0,
            extents: Extents::new(),
        }
    }
}

/// Quantizes and packs a model; the result has been read back by the engine.
///
/// # Errors
/// A layer name that the model does not have; a model that the engine refuses, with its reason.
pub fn quantize<M: Quantize>(float: &M, options: &QuantizeOptions<M::Layer>) -> Result<Vec<u8>> {
    let mut writer = VtrWriter::default();
    float.write_sections(options, &mut writer)?;
    let (name, source_sha256, settings) = float.header();
    writer.settings(&settings.to_text());
    writer.finish(&VtrHeader {
        family: M::FAMILY,
        model_version: options.model_version,
        layout: options.layout,
        tile_rows: DEFAULT_TILE_ROWS as u32,
        source_sha256,
        name: options.name.clone().unwrap_or_else(|| name.to_owned()),
    })
}

/// Whether a layer's name is meant by a pattern, whose `*` stands for any one part between dots.
pub(super) fn is_meant(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<_>, Vec<_>) = (name.split('.').collect(), pattern.split('.').collect());
    name.len() == pattern.len() && name.iter().zip(pattern).all(|(n, p)| p == "*" || *n == p)
}
