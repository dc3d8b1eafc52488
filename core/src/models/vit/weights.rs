//! Where each tensor of a ViT lies in the file, read in place. One function per section serves the
//! check at load and every access.

use half::f16;

use super::config::{Head, VitConfig};
use super::section::ConfigSection;
use crate::blocks::{LayerPrecision, LayerSection, Layers};
use crate::error::Error;
use crate::format::{Cursor, Model, SectionKind, Values, ARCHITECTURE_VIT};
use crate::kernels::TableSpec;
use crate::run::DEFAULT_TILE_ROWS;
use crate::tensor::{Linear, NormWeights, Precision};

/// Number of sections before the embedding: configuration, preprocessing and labels.
const FIRST_TENSOR_SECTION: usize = 3;

/// A ViT in a checked model file.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Vit<'a> {
    model: Model<'a>,
    config: VitConfig,
    section: ConfigSection<'a>,
}

/// The weights of the patch embedding, and what is added to it.
pub(super) struct EmbedWeights<'a> {
    /// `(dim, patch_bytes)`; its inputs are pixels − 128.
    pub patch: Linear<'a>,
    /// Class and distillation token with their position embeddings: `(prefix_tokens, dim)`.
    pub prefix: &'a [f16],
    /// Position embeddings of the patches: `(patches, dim)`.
    pub positions: &'a [f16],
}

/// The weights of final norms and classifiers.
pub(super) struct FinalWeights<'a> {
    pub norm_before_pool: Option<NormWeights<'a>>,
    pub norm_after_pool: Option<NormWeights<'a>>,
    pub head: Option<Linear<'a>>,
    pub head_dist: Option<Linear<'a>>,
}

impl<'a> Vit<'a> {
    /// Checks the configuration and every tensor of a ViT: shapes against the sections' lengths, and scales
    /// and other floats against their range.
    ///
    /// # Errors
    /// [`Error::Architecture`], [`Error::SectionKind`], [`Error::SectionLength`], [`Error::Field`],
    /// [`Error::NotFinite`]; [`Error::PlanTooLarge`] if the activations exceed the address space.
    pub fn new(model: &Model<'a>) -> Result<Self, Error> {
        let found = model.architecture();
        if found != ARCHITECTURE_VIT {
            return Err(Error::Architecture { found, expected: ARCHITECTURE_VIT });
        }
        let (section, config) = ConfigSection::parse(model.expect_section(0, SectionKind::Config)?)?;
        model.preprocess()?;
        model.labels()?;
        let vit = Self { model: *model, config, section };
        model.expect_end(FIRST_TENSOR_SECTION + config.depth + 2)?;
        vit.embed(Values::New)?;
        for layer in 0..config.depth {
            vit.block(layer, Values::New)?.check()?;
        }
        vit.final_weights(Values::New)?;
        vit.plan_for(DEFAULT_TILE_ROWS, TableSpec::of_layout(model.layout()), 1)?;
        Ok(vit)
    }

    /// The hyperparameters.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// The model file.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// Precision of the linear layers of a block.
    pub fn block_precision(&self, layer: usize) -> LayerPrecision {
        self.section.block(layer)
    }

    pub(super) fn embed(&self, values: Values) -> Result<EmbedWeights<'a>, Error> {
        let c = &self.config;
        let mut cursor = Cursor::new(&self.model, FIRST_TENSOR_SECTION, SectionKind::Embed, values)?;
        let weights = EmbedWeights {
            patch: cursor.linear("patch_embed", c.patch_bytes(), c.dim, Precision::Int8),
            prefix: cursor.f16s("prefix_tokens", c.prefix_tokens() * c.dim),
            positions: cursor.f16s("pos_embed", c.patches() * c.dim),
        };
        cursor.finish(weights)
    }

    fn block(&self, layer: usize, values: Values) -> Result<LayerSection<'a>, Error> {
        let c = &self.config;
        let index = FIRST_TENSOR_SECTION + 1 + layer;
        Ok(LayerSection {
            cursor: Cursor::new(&self.model, index, SectionKind::Block, values)?,
            dim: c.dim,
            heads: c.heads,
            hidden: c.hidden,
            activation: c.activation,
            norm_eps: c.norm_eps,
            precision: self.section.block(layer),
            has_cross: false,
        })
    }

    pub(super) fn final_weights(&self, values: Values) -> Result<FinalWeights<'a>, Error> {
        let c = &self.config;
        let index = FIRST_TENSOR_SECTION + 1 + c.depth;
        let mut cursor = Cursor::new(&self.model, index, SectionKind::Head, values)?;
        let norm_before_pool = c.norm_before_pool.then(|| cursor.norm("norm", c.dim, c.norm_eps));
        let norm_after_pool = c.norm_after_pool.then(|| cursor.norm("fc_norm", c.dim, c.norm_eps));
        let precision = self.section.head_precision;
        let mut classifier =
            |tensor, there: bool| there.then(|| cursor.linear(tensor, c.dim, c.classes, precision));
        let head = classifier("head", c.head != Head::None);
        let head_dist = classifier("head_dist", c.second_head_token().is_some());
        cursor.finish(FinalWeights { norm_before_pool, norm_after_pool, head, head_dist })
    }

    /// The configuration section, read in place.
    pub(super) fn section(&self) -> &ConfigSection<'a> {
        &self.section
    }

    /// Precision of the classifiers.
    pub fn head_precision(&self) -> Precision {
        self.section.head_precision
    }
}

impl<'a> Layers<'a> for Vit<'a> {
    fn heads(&self) -> usize {
        self.config.heads
    }

    fn layer(&self, layer: usize) -> Result<LayerSection<'a>, Error> {
        self.block(layer, Values::Checked)
    }
}
