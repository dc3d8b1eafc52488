//! Where each tensor of a ViT stands, read in place. One function per section serves the check at load and
//! every access.

use half::f16;

use super::config::{Head, VitConfig};
use super::section::{BlockPrecision, ConfigSection};
use crate::error::Error;
use crate::format::{Cursor, Model, SectionKind, ARCHITECTURE_VIT};
use crate::tensor::{padded, Linear, NormWeights, PanelLayout, Precision};

/// Sections before the embedding: configuration, preprocessing, labels.
const FIRST_TENSOR_SECTION: usize = 3;

/// A ViT in a checked model file.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Vit<'a> {
    model: Model<'a>,
    config: VitConfig,
    section: ConfigSection<'a>,
}

/// Patch embedding and what is added to it.
pub(super) struct EmbedWeights<'a> {
    /// `(dim, patch_bytes)`, on pixels − 128.
    pub patch: Linear<'a>,
    /// Class and distillation token with their position embeddings: `(prefix_tokens, dim)`.
    pub prefix: &'a [f16],
    /// Position embeddings of the patches: `(patches, dim)`.
    pub positions: &'a [f16],
}

/// Query, key, value `(head_dim, dim)` and projection `(dim, head_dim)` of one head.
#[derive(Clone, Copy)]
pub(super) struct HeadWeights<'a> {
    pub query: Linear<'a>,
    pub key: Linear<'a>,
    pub value: Linear<'a>,
    pub proj: Linear<'a>,
}

/// Norm and layers of the MLP.
pub(super) struct MlpWeights<'a> {
    pub norm: NormWeights<'a>,
    pub fc1: Linear<'a>,
    pub fc2: Linear<'a>,
}

/// Final norms and classifiers.
pub(super) struct FinalWeights<'a> {
    pub norm_before_pool: Option<NormWeights<'a>>,
    pub norm_after_pool: Option<NormWeights<'a>>,
    pub head: Option<Linear<'a>>,
    pub head_dist: Option<Linear<'a>>,
}

impl<'a> Vit<'a> {
    /// Checks configuration and every tensor of a ViT: shapes against the sections' lengths, scales and
    /// floats for their range.
    ///
    /// # Errors
    /// [`Error::Architecture`], [`Error::SectionKind`], [`Error::SectionLength`], [`Error::Field`],
    /// [`Error::NotFinite`]; [`Error::PlanTooLarge`] if its activations exceed the address space.
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
        vit.read_embed(true)?;
        for layer in 0..config.depth {
            vit.check_block(layer)?;
        }
        vit.read_final(true)?;
        vit.plan_with_tile_rows(super::plan::DEFAULT_TILE_ROWS)?;
        Ok(vit)
    }

    /// The hyperparameters.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// The container.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// Precision of the linear layers of a block.
    pub fn block_precision(&self, layer: usize) -> BlockPrecision {
        self.section.block(layer)
    }

    fn read_embed(&self, check: bool) -> Result<EmbedWeights<'a>, Error> {
        let c = &self.config;
        let index = FIRST_TENSOR_SECTION;
        let mut cursor = Cursor::new(index, self.model.expect_section(index, SectionKind::Embed)?, check);
        let patch =
            cursor.linear("patch_embed", c.patch_bytes(), c.dim, Precision::Int8, self.model.layout())?;
        let prefix = cursor.f16s("prefix_tokens", c.prefix_tokens() * c.dim)?;
        let positions = cursor.f16s("pos_embed", c.patches() * c.dim)?;
        cursor.finish()?;
        Ok(EmbedWeights { patch, prefix, positions })
    }

    pub(super) fn embed(&self) -> Result<EmbedWeights<'a>, Error> {
        self.read_embed(false)
    }

    fn block_cursor(&self, layer: usize, check: bool) -> Result<Cursor<'a>, Error> {
        let index = FIRST_TENSOR_SECTION + 1 + layer;
        Ok(Cursor::new(index, self.model.expect_section(index, SectionKind::Block)?, check))
    }

    fn check_block(&self, layer: usize) -> Result<(), Error> {
        let mut cursor = self.block_cursor(layer, true)?;
        cursor.norm("norm1", self.config.dim, self.config.norm_eps)?;
        for _ in 0..self.config.heads {
            self.read_head(&mut cursor, layer)?;
        }
        self.read_mlp(&mut cursor, layer)?;
        cursor.finish()
    }

    fn read_head(&self, cursor: &mut Cursor<'a>, layer: usize) -> Result<HeadWeights<'a>, Error> {
        let (dim, head_dim) = (self.config.dim, self.config.head_dim());
        let (precision, layout) = (self.section.block(layer), self.model.layout());
        Ok(HeadWeights {
            query: cursor.linear("attn.query", dim, head_dim, precision.qkv, layout)?,
            key: cursor.linear("attn.key", dim, head_dim, precision.qkv, layout)?,
            value: cursor.linear("attn.value", dim, head_dim, precision.qkv, layout)?,
            proj: cursor.linear("attn.proj", head_dim, dim, precision.proj, layout)?,
        })
    }

    fn read_mlp(&self, cursor: &mut Cursor<'a>, layer: usize) -> Result<MlpWeights<'a>, Error> {
        let c = &self.config;
        let (precision, layout) = (self.section.block(layer), self.model.layout());
        Ok(MlpWeights {
            norm: cursor.norm("norm2", c.dim, c.norm_eps)?,
            fc1: cursor.linear("mlp.fc1", c.dim, c.hidden, precision.fc1, layout)?,
            fc2: cursor.linear_for_zero_points("mlp.fc2", c.hidden, c.dim, precision.fc2, layout)?,
        })
    }

    pub(super) fn norm1(&self, layer: usize) -> Result<NormWeights<'a>, Error> {
        self.block_cursor(layer, false)?.norm("norm1", self.config.dim, self.config.norm_eps)
    }

    pub(super) fn head(&self, layer: usize, head: usize) -> Result<HeadWeights<'a>, Error> {
        let mut cursor = self.block_cursor(layer, false)?;
        cursor.skip(self.norm_bytes() + head * self.head_bytes(layer));
        self.read_head(&mut cursor, layer)
    }

    pub(super) fn mlp(&self, layer: usize) -> Result<MlpWeights<'a>, Error> {
        let mut cursor = self.block_cursor(layer, false)?;
        cursor.skip(self.norm_bytes() + self.config.heads * self.head_bytes(layer));
        self.read_mlp(&mut cursor, layer)
    }

    fn norm_bytes(&self) -> usize {
        2 * padded(4 * self.config.dim)
    }

    /// Bytes of one head's weights; all heads of a block are alike.
    fn head_bytes(&self, layer: usize) -> usize {
        let (dim, head_dim) = (self.config.dim, self.config.head_dim());
        let (precision, layout) = (self.section.block(layer), self.model.layout());
        3 * linear_bytes(dim, head_dim, precision.qkv, layout)
            + linear_bytes(head_dim, dim, precision.proj, layout)
    }

    fn read_final(&self, check: bool) -> Result<FinalWeights<'a>, Error> {
        let c = &self.config;
        let index = FIRST_TENSOR_SECTION + 1 + c.depth;
        let mut cursor = Cursor::new(index, self.model.expect_section(index, SectionKind::Head)?, check);
        let norm_before_pool =
            c.norm_before_pool.then(|| cursor.norm("norm", c.dim, c.norm_eps)).transpose()?;
        let norm_after_pool =
            c.norm_after_pool.then(|| cursor.norm("fc_norm", c.dim, c.norm_eps)).transpose()?;
        let (precision, layout) = (self.section.head_precision, self.model.layout());
        let mut classifier = |tensor, there: bool| {
            there.then(|| cursor.linear(tensor, c.dim, c.classes, precision, layout)).transpose()
        };
        let head = classifier("head", c.head != Head::None)?;
        let head_dist = classifier("head_dist", c.second_head_token().is_some())?;
        cursor.finish()?;
        Ok(FinalWeights { norm_before_pool, norm_after_pool, head, head_dist })
    }

    pub(super) fn final_weights(&self) -> Result<FinalWeights<'a>, Error> {
        self.read_final(false)
    }

    /// Precision of the classifiers.
    pub fn head_precision(&self) -> Precision {
        self.section.head_precision
    }
}

/// Bytes of a linear layer as stored: weights, scales (int8), bias, each padded to 16.
pub fn linear_bytes(inputs: usize, outputs: usize, precision: Precision, layout: PanelLayout) -> usize {
    let floats = padded(4 * outputs);
    match precision {
        Precision::Int8 => layout.padded_outputs(outputs) * padded(inputs) + 2 * floats,
        Precision::F16 => 2 * padded(outputs) * inputs + floats,
    }
}
