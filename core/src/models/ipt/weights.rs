//! Where each tensor of an IPT stands, read in place. One function per section serves the check at load and
//! every access.

use half::f16;

use super::config::{IptConfig, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, OUTER_KERNEL};
use super::section::IptSection;
use crate::blocks::{AttentionPrecision, AttentionWeights, HeadWeights, LayerShape, MlpWeights};
use crate::error::{Error, Fault};
use crate::format::{Cursor, Model, SectionKind, ARCHITECTURE_IPT};
use crate::kernels::Activation;
use crate::ops::Conv;
use crate::run::DEFAULT_TILE_ROWS;
use crate::tensor::{Linear, NormWeights, Precision};

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
pub(super) struct EntryWeights<'a> {
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

/// A task's query and tail.
pub(super) struct TailWeights<'a> {
    /// `(tokens, dim)`.
    pub query: &'a [f16],
    /// Convolutions of the upsampler, in order.
    pub upsampler: [Option<Conv<'a>>; 2],
    /// Features to RGB.
    pub exit: Conv<'a>,
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
            ipt.plan_with_tile_rows(task, DEFAULT_TILE_ROWS)?;
        }
        ipt.read_encode(true)?;
        for layer in 0..c.encoder_layers + c.decoder_layers {
            ipt.layer(layer).check(ipt.layer_cursor(layer, true)?)?;
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
        Ok(Cursor::new(index, self.model.expect_section(index, kind)?, self.model.layout(), check))
    }

    fn encode_index(&self) -> usize {
        CONFIG_SECTIONS + self.config.tasks.len()
    }

    fn read_head(&self, task: usize, check: bool) -> Result<EntryWeights<'a>, Error> {
        let mut cursor = self.cursor(CONFIG_SECTIONS + task, SectionKind::TaskHead, check)?;
        let features = self.config.features;
        let [a, b, c, d] = self.section.task(task).blocks;
        let entry = conv(&mut cursor, "head.0", OUTER_KERNEL, [COLOURS, features], Precision::F16);
        let mut block = |first, second| {
            [
                conv(&mut cursor, "head.body.0", BLOCK_KERNEL, [features, features], first),
                conv_of_positive(&mut cursor, "head.body.2", BLOCK_KERNEL, [features, features], second),
            ]
        };
        let blocks = [block(a, b), block(c, d)];
        cursor.finish(EntryWeights { entry, blocks })
    }

    pub(super) fn head(&self, task: usize) -> Result<EntryWeights<'a>, Error> {
        self.read_head(task, false)
    }

    fn read_encode(&self, check: bool) -> Result<EncodeWeights<'a>, Error> {
        let c = &self.config;
        let mut cursor = self.cursor(self.encode_index(), SectionKind::Encode, check)?;
        let precision = self.section.body().encoding;
        let weights = EncodeWeights {
            encoding: cursor.linear("linear_encoding", c.dim(), c.dim(), precision),
            positions: cursor.f16s("position_encoding", c.tokens() * c.dim()),
        };
        cursor.finish(weights)
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

    fn layer(&self, layer: usize) -> LayerShape {
        let (c, precision) = (&self.config, self.section.layer(layer));
        let cross = AttentionPrecision { qkv: precision.cross_qkv, proj: precision.cross_proj };
        LayerShape {
            dim: c.dim(),
            heads: c.heads,
            hidden: c.hidden,
            activation: Activation::Relu,
            norm_eps: c.norm_eps,
            layout: self.model.layout(),
            own: AttentionPrecision { qkv: precision.qkv, proj: precision.proj },
            cross: self.is_decoder(layer).then_some(cross),
            mlp: [precision.fc1, precision.fc2],
        }
    }

    /// The MLP of a layer with its norm.
    pub(super) fn mlp(&self, layer: usize) -> Result<MlpWeights<'a>, Error> {
        self.layer(layer).mlp(self.layer_cursor(layer, false)?)
    }

    fn read_mlp_head(&self, check: bool) -> Result<MlpWeights<'a>, Error> {
        let (c, precision) = (&self.config, self.section.body());
        let index = self.encode_index() + 1 + c.encoder_layers + c.decoder_layers;
        let mut cursor = self.cursor(index, SectionKind::MlpHead, check)?;
        let (dim, hidden) = (c.dim(), c.head_hidden);
        let weights = MlpWeights {
            norm: None,
            fc1: cursor.linear("mlp_head.0", dim, hidden, precision.fc1),
            fc2: cursor.linear_for_zero_points("mlp_head.3", hidden, dim, precision.fc2),
            activation: Activation::Relu,
            hidden,
        };
        cursor.finish(weights)
    }

    pub(super) fn mlp_head(&self) -> Result<MlpWeights<'a>, Error> {
        self.read_mlp_head(false)
    }

    fn read_tail(&self, task: usize, check: bool) -> Result<TailWeights<'a>, Error> {
        let c = &self.config;
        let index = self.encode_index() + 2 + c.encoder_layers + c.decoder_layers + task;
        let mut cursor = self.cursor(index, SectionKind::TaskTail, check)?;
        let query = cursor.f16s("query_embed", c.tokens() * c.dim());
        let steps = c.tasks.get(task).ok_or(Fault::Weights)?.upsampler();
        let mut upsampler = [None, None];
        let precisions = self.section.task(task).upsampler;
        for ((step, factor), precision) in upsampler.iter_mut().zip(steps).zip(precisions) {
            let outputs = c.features * factor * factor;
            *step = Some(conv(&mut cursor, "tail.0", OUTER_KERNEL, [c.features, outputs], precision));
        }
        let exit = conv(&mut cursor, "tail.1", OUTER_KERNEL, [c.features, COLOURS], Precision::F16);
        cursor.finish(TailWeights { query, upsampler, exit })
    }

    pub(super) fn tail(&self, task: usize) -> Result<TailWeights<'a>, Error> {
        self.read_tail(task, false)
    }
}

impl<'a> AttentionWeights<'a> for Ipt<'a> {
    fn heads(&self) -> usize {
        self.config.heads
    }

    fn norm(&self, layer: usize, is_cross: bool) -> Result<NormWeights<'a>, Error> {
        self.layer(layer).norm(self.layer_cursor(layer, false)?, is_cross)
    }

    fn head(&self, layer: usize, is_cross: bool, head: usize) -> Result<HeadWeights<'a>, Error> {
        self.layer(layer).head(self.layer_cursor(layer, false)?, is_cross, head)
    }
}

/// A convolution of `[inputs, outputs]` channels.
fn conv<'a>(
    cursor: &mut Cursor<'a>,
    tensor: &'static str,
    kernel: usize,
    [inputs, outputs]: [usize; 2],
    precision: Precision,
) -> Conv<'a> {
    let linear = cursor.linear(tensor, kernel * kernel * inputs, outputs, precision);
    Conv { linear, kernel, inputs, outputs }
}

/// The same whose inputs are never negative, so that they have zero points.
fn conv_of_positive<'a>(
    cursor: &mut Cursor<'a>,
    tensor: &'static str,
    kernel: usize,
    [inputs, outputs]: [usize; 2],
    precision: Precision,
) -> Conv<'a> {
    let linear = cursor.linear_for_zero_points(tensor, kernel * kernel * inputs, outputs, precision);
    Conv { linear, kernel, inputs, outputs }
}
