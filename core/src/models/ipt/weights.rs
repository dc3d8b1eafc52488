//! Where each tensor of an IPT stands, read in place. One function per section serves the check at load and
//! every access.

use half::f16;

use super::config::{IptConfig, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, OUTER_KERNEL};
use super::section::IptSection;
use crate::error::Error;
use crate::format::{Cursor, Model, SectionKind, ARCHITECTURE_IPT};
use crate::models::vit::linear_bytes;
use crate::ops::Conv;
use crate::tensor::{padded, Linear, NormWeights, Precision};

/// An IPT in a checked model file: every tensor has its length, every float is one that the engine computes
/// with.
///
/// ```no_run
/// use vitreous::models::ipt::Ipt;
/// use vitreous::Model;
///
/// # fn main() -> Result<(), vitreous::Error> {
/// # let bytes: &[u8] = &[];
/// let model = Model::parse(bytes)?;
/// let ipt = Ipt::new(&model)?;
/// for (index, task) in ipt.config().tasks.iter().enumerate() {
///     println!("{task}: {} bytes of arena", ipt.plan(index)?.arena_bytes());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ipt<'a> {
    model: Model<'a>,
    config: IptConfig,
    section: IptSection<'a>,
}

/// A task's head.
pub(super) struct HeadWeights<'a> {
    /// RGB to features.
    pub entry: Conv<'a>,
    /// Both convolutions of each residual block.
    pub blocks: [[Conv<'a>; 2]; HEAD_BLOCKS],
}

/// How patches become tokens.
pub(super) struct EncodeWeights<'a> {
    /// `(dim, dim)`.
    pub encoding: Linear<'a>,
    /// `(tokens, dim)`.
    pub positions: &'a [f16],
}

/// Query, key, value `(head_dim, dim)` and projection `(dim, head_dim)` of one head.
#[derive(Clone, Copy)]
pub(super) struct AttentionWeights<'a> {
    pub query: Linear<'a>,
    pub key: Linear<'a>,
    pub value: Linear<'a>,
    pub proj: Linear<'a>,
}

/// Layers of an MLP.
pub(super) struct MlpWeights<'a> {
    pub fc1: Linear<'a>,
    pub fc2: Linear<'a>,
}

/// A task's query and tail.
pub(super) struct TailWeights<'a> {
    /// `(tokens, dim)`.
    pub query: &'a [f16],
    /// Convolutions of the upsampler, in order.
    pub upsampler: [Option<Conv<'a>>; 2],
    /// Features to RGB.
    pub exit: Conv<'a>,
}

/// One of the two attentions of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttentionKind {
    Own,
    Cross,
}

/// Sections before a task's head, between and behind: the configuration; the linear encoding and the MLP
/// behind the decoder.
const CONFIG_SECTIONS: usize = 1;

impl<'a> Ipt<'a> {
    /// Checks configuration and every tensor of an IPT: shapes against the sections' lengths, scales and
    /// floats for their range.
    ///
    /// # Errors
    /// [`Error::Architecture`], [`Error::SectionKind`], [`Error::SectionLength`], [`Error::Field`],
    /// [`Error::NotFinite`]; [`Error::PlanTooLarge`] if its activations exceed the address space.
    pub fn new(model: &Model<'a>) -> Result<Self, Error> {
        let found = model.architecture();
        if found != ARCHITECTURE_IPT {
            return Err(Error::Architecture { found, expected: ARCHITECTURE_IPT });
        }
        let (section, config) = IptSection::parse(model.expect_section(0, SectionKind::Config)?)?;
        let ipt = Self { model: *model, config, section };
        let c = &ipt.config;
        model.expect_end(CONFIG_SECTIONS + 2 * c.tasks.len() + 2 + c.encoder_layers + c.decoder_layers)?;
        for task in 0..c.tasks.len() {
            ipt.read_head(task, true)?;
            ipt.read_tail(task, true)?;
            ipt.plan_with_tile_rows(task, super::plan::DEFAULT_TILE_ROWS)?;
        }
        ipt.read_encode(true)?;
        for layer in 0..c.encoder_layers + c.decoder_layers {
            ipt.check_layer(layer)?;
        }
        ipt.read_mlp_head(true)?;
        Ok(ipt)
    }

    /// The hyperparameters.
    pub fn config(&self) -> &IptConfig {
        &self.config
    }

    /// The container.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// Precisions, and the mean colour.
    pub fn section(&self) -> &IptSection<'a> {
        &self.section
    }

    fn cursor(&self, index: usize, kind: SectionKind, check: bool) -> Result<Cursor<'a>, Error> {
        Ok(Cursor::new(index, self.model.expect_section(index, kind)?, check))
    }

    fn encode_index(&self) -> usize {
        CONFIG_SECTIONS + self.config.tasks.len()
    }

    fn read_head(&self, task: usize, check: bool) -> Result<HeadWeights<'a>, Error> {
        let mut cursor = self.cursor(CONFIG_SECTIONS + task, SectionKind::TaskHead, check)?;
        let features = self.config.features;
        let [a, b, c, d] = self.section.task(task).blocks;
        let entry =
            self.conv(&mut cursor, "head.0", OUTER_KERNEL, COLOURS, features, Precision::F16, false)?;
        let mut block = |first, second| -> Result<[Conv<'a>; 2], Error> {
            Ok([
                self.conv(&mut cursor, "head.body.0", BLOCK_KERNEL, features, features, first, false)?,
                self.conv(&mut cursor, "head.body.2", BLOCK_KERNEL, features, features, second, true)?,
            ])
        };
        let blocks = [block(a, b)?, block(c, d)?];
        cursor.finish()?;
        Ok(HeadWeights { entry, blocks })
    }

    /// A convolution; `zero_points` where its inputs are never negative.
    #[allow(clippy::too_many_arguments, reason = "a layer's shape has that many numbers")]
    fn conv(
        &self,
        cursor: &mut Cursor<'a>,
        tensor: &'static str,
        kernel: usize,
        inputs: usize,
        outputs: usize,
        precision: Precision,
        zero_points: bool,
    ) -> Result<Conv<'a>, Error> {
        let (taps, layout) = (kernel * kernel * inputs, self.model.layout());
        let linear = if zero_points {
            cursor.linear_for_zero_points(tensor, taps, outputs, precision, layout)?
        } else {
            cursor.linear(tensor, taps, outputs, precision, layout)?
        };
        Ok(Conv { linear, kernel, inputs, outputs })
    }

    pub(super) fn head(&self, task: usize) -> Result<HeadWeights<'a>, Error> {
        self.read_head(task, false)
    }

    fn read_encode(&self, check: bool) -> Result<EncodeWeights<'a>, Error> {
        let c = &self.config;
        let mut cursor = self.cursor(self.encode_index(), SectionKind::Encode, check)?;
        let precision = self.section.body().encoding;
        let encoding = cursor.linear("linear_encoding", c.dim(), c.dim(), precision, self.model.layout())?;
        let positions = cursor.f16s("position_encoding", c.tokens() * c.dim())?;
        cursor.finish()?;
        Ok(EncodeWeights { encoding, positions })
    }

    pub(super) fn encode(&self) -> Result<EncodeWeights<'a>, Error> {
        self.read_encode(false)
    }

    fn layer_cursor(&self, layer: usize, check: bool) -> Result<Cursor<'a>, Error> {
        let kind = if self.is_decoder(layer) { SectionKind::DecoderLayer } else { SectionKind::EncoderLayer };
        self.cursor(self.encode_index() + 1 + layer, kind, check)
    }

    /// Layers of the decoder are counted on from those of the encoder.
    pub(super) fn is_decoder(&self, layer: usize) -> bool {
        layer >= self.config.encoder_layers
    }

    fn check_layer(&self, layer: usize) -> Result<(), Error> {
        let c = &self.config;
        let mut cursor = self.layer_cursor(layer, true)?;
        let kinds: &[AttentionKind] = if self.is_decoder(layer) {
            &[AttentionKind::Own, AttentionKind::Cross]
        } else {
            &[AttentionKind::Own]
        };
        for kind in kinds {
            cursor.norm("norm", c.dim(), c.norm_eps)?;
            for _ in 0..c.heads {
                self.read_attention(&mut cursor, layer, *kind)?;
            }
        }
        cursor.norm("norm", c.dim(), c.norm_eps)?;
        self.read_mlp(&mut cursor, layer)?;
        cursor.finish()
    }

    fn attention_precisions(&self, layer: usize, kind: AttentionKind) -> (Precision, Precision) {
        let precision = self.section.layer(layer);
        match kind {
            AttentionKind::Own => (precision.qkv, precision.proj),
            AttentionKind::Cross => (precision.cross_qkv, precision.cross_proj),
        }
    }

    fn read_attention(
        &self,
        cursor: &mut Cursor<'a>,
        layer: usize,
        kind: AttentionKind,
    ) -> Result<AttentionWeights<'a>, Error> {
        let (dim, head_dim, layout) = (self.config.dim(), self.config.head_dim(), self.model.layout());
        let (qkv, proj) = self.attention_precisions(layer, kind);
        Ok(AttentionWeights {
            query: cursor.linear("attn.query", dim, head_dim, qkv, layout)?,
            key: cursor.linear("attn.key", dim, head_dim, qkv, layout)?,
            value: cursor.linear("attn.value", dim, head_dim, qkv, layout)?,
            proj: cursor.linear("attn.proj", head_dim, dim, proj, layout)?,
        })
    }

    fn read_mlp(&self, cursor: &mut Cursor<'a>, layer: usize) -> Result<MlpWeights<'a>, Error> {
        let (c, layout, precision) = (&self.config, self.model.layout(), self.section.layer(layer));
        Ok(MlpWeights {
            fc1: cursor.linear("linear1", c.dim(), c.hidden, precision.fc1, layout)?,
            fc2: cursor.linear_for_zero_points("linear2", c.hidden, c.dim(), precision.fc2, layout)?,
        })
    }

    fn norm_bytes(&self) -> usize {
        2 * padded(4 * self.config.dim())
    }

    /// Bytes of an attention with its norm; all heads are alike.
    fn attention_bytes(&self, layer: usize, kind: AttentionKind) -> usize {
        self.norm_bytes() + self.config.heads * self.attention_head_bytes(layer, kind)
    }

    fn attention_head_bytes(&self, layer: usize, kind: AttentionKind) -> usize {
        let (dim, head_dim, layout) = (self.config.dim(), self.config.head_dim(), self.model.layout());
        let (qkv, proj) = self.attention_precisions(layer, kind);
        3 * linear_bytes(dim, head_dim, qkv, layout) + linear_bytes(head_dim, dim, proj, layout)
    }

    /// A cursor at an attention's norm.
    fn attention_cursor(&self, layer: usize, kind: AttentionKind) -> Result<Cursor<'a>, Error> {
        let mut cursor = self.layer_cursor(layer, false)?;
        if kind == AttentionKind::Cross {
            cursor.skip(self.attention_bytes(layer, AttentionKind::Own));
        }
        Ok(cursor)
    }

    /// The norm before an attention.
    pub(super) fn norm(&self, layer: usize, kind: AttentionKind) -> Result<NormWeights<'a>, Error> {
        self.attention_cursor(layer, kind)?.norm("norm", self.config.dim(), self.config.norm_eps)
    }

    /// One head of an attention.
    pub(super) fn attention(
        &self,
        layer: usize,
        kind: AttentionKind,
        head: usize,
    ) -> Result<AttentionWeights<'a>, Error> {
        let mut cursor = self.attention_cursor(layer, kind)?;
        cursor.skip(self.norm_bytes() + head * self.attention_head_bytes(layer, kind));
        self.read_attention(&mut cursor, layer, kind)
    }

    /// The MLP of a layer with its norm.
    pub(super) fn mlp(&self, layer: usize) -> Result<(NormWeights<'a>, MlpWeights<'a>), Error> {
        let mut cursor = self.layer_cursor(layer, false)?;
        cursor.skip(self.attention_bytes(layer, AttentionKind::Own));
        if self.is_decoder(layer) {
            cursor.skip(self.attention_bytes(layer, AttentionKind::Cross));
        }
        let norm = cursor.norm("norm", self.config.dim(), self.config.norm_eps)?;
        Ok((norm, self.read_mlp(&mut cursor, layer)?))
    }

    fn read_mlp_head(&self, check: bool) -> Result<MlpWeights<'a>, Error> {
        let (c, layout, precision) = (&self.config, self.model.layout(), self.section.body());
        let index = self.encode_index() + 1 + c.encoder_layers + c.decoder_layers;
        let mut cursor = self.cursor(index, SectionKind::MlpHead, check)?;
        let weights = MlpWeights {
            fc1: cursor.linear("mlp_head.0", c.dim(), c.head_hidden, precision.fc1, layout)?,
            fc2: cursor.linear_for_zero_points(
                "mlp_head.3",
                c.head_hidden,
                c.dim(),
                precision.fc2,
                layout,
            )?,
        };
        cursor.finish()?;
        Ok(weights)
    }

    pub(super) fn mlp_head(&self) -> Result<MlpWeights<'a>, Error> {
        self.read_mlp_head(false)
    }

    fn read_tail(&self, task: usize, check: bool) -> Result<TailWeights<'a>, Error> {
        let c = &self.config;
        let index = self.encode_index() + 2 + c.encoder_layers + c.decoder_layers + task;
        let mut cursor = self.cursor(index, SectionKind::TaskTail, check)?;
        let query = cursor.f16s("query_embed", c.tokens() * c.dim())?;
        let steps = c.tasks.get(task).ok_or(Error::Internal(60))?.upsampler();
        let mut upsampler = [None, None];
        let precisions = self.section.task(task).upsampler;
        for ((conv, factor), precision) in upsampler.iter_mut().zip(steps).zip(precisions) {
            let outputs = c.features * factor * factor;
            *conv = Some(self.conv(
                &mut cursor,
                "tail.0",
                OUTER_KERNEL,
                c.features,
                outputs,
                precision,
                false,
            )?);
        }
        let exit =
            self.conv(&mut cursor, "tail.1", OUTER_KERNEL, c.features, COLOURS, Precision::F16, false)?;
        cursor.finish()?;
        Ok(TailWeights { query, upsampler, exit })
    }

    pub(super) fn tail(&self, task: usize) -> Result<TailWeights<'a>, Error> {
        self.read_tail(task, false)
    }
}
