//! Where each tensor of an IPT lies in the file, read in place. One function per section serves the
//! check at load and every access.

use half::f16;

use super::config::{IptConfig, Task, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, OUTER_KERNEL};
use super::section::{BodyPrecision, IptSection};
use crate::blocks::{LayerSection, Layers, MlpWeights};
use crate::error::Error;
use crate::format::{Cursor, Model, SectionKind, Values, ARCHITECTURE_IPT};
use crate::kernels::Activation;
use crate::ops::{Conv, Inputs};
use crate::tensor::{Linear, Precision};

/// An IPT in a checked model file: every tensor has its length, and every float is in the range that the
/// engine computes with (example: [`crate::models::ipt`]).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ipt<'a> {
    model: Model<'a>,
    config: IptConfig,
    section: IptSection<'a>,
}

/// The weights of a task's head.
pub(super) struct EntryWeights<'a> {
    /// RGB to features.
    pub entry: Conv<'a>,
    /// Both convolutions of each residual block.
    pub blocks: [[Conv<'a>; 2]; HEAD_BLOCKS],
}

/// The weights that make tokens of patches.
pub(super) struct EncodeWeights<'a> {
    /// `(dim, dim)`.
    pub encoding: Linear<'a>,
    /// `(tokens, dim)`.
    pub positions: &'a [f16],
}

/// The weights of a task's query and tail.
pub(super) struct TailWeights<'a> {
    /// `(tokens, dim)`.
    pub query: &'a [f16],
    /// Convolutions of the upsampler, in order.
    pub upsampler: [Option<Conv<'a>>; 2],
    /// Features to RGB.
    pub exit: Conv<'a>,
}

/// Number of sections before the heads of the tasks: the configuration.
const CONFIG_SECTIONS: usize = 1;

impl<'a> Ipt<'a> {
    /// Checks the configuration and every tensor of an IPT: shapes against the sections' lengths, and scales
    /// and other floats against their range.
    ///
    /// # Errors
    /// [`Error::Architecture`], [`Error::SectionKind`], [`Error::SectionLength`], [`Error::Field`],
    /// [`Error::NotFinite`]; [`Error::PlanTooLarge`] if the activations exceed the address space.
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
            ipt.head(task, Values::New)?;
            ipt.tail(task, Values::New)?;
            ipt.plan(task)?;
        }
        ipt.encode(Values::New)?;
        for layer in 0..c.encoder_layers + c.decoder_layers {
            ipt.body_layer(layer, Values::New)?.check()?;
        }
        ipt.mlp_head(Values::New)?;
        Ok(ipt)
    }

    /// The hyperparameters.
    pub fn config(&self) -> &IptConfig {
        &self.config
    }

    /// The model file.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// The configuration section: precisions, and the mean colour.
    pub fn section(&self) -> &IptSection<'a> {
        &self.section
    }

    fn encode_index(&self) -> usize {
        CONFIG_SECTIONS + self.config.tasks.len()
    }

    pub(super) fn head(&self, task: usize, values: Values) -> Result<EntryWeights<'a>, Error> {
        let features = self.config.features;
        let [a, b, c, d] = self.section.task(task).blocks;
        let mut cursor = Cursor::new(&self.model, CONFIG_SECTIONS + task, SectionKind::TaskHead, values)?;
        let mut conv = |tensor, kernel, inputs, range, precision| {
            Conv::read(&mut cursor, tensor, kernel, [inputs, features], range, precision)
        };
        let entry = conv("head.0", OUTER_KERNEL, COLOURS, Inputs::Signed, Precision::F16);
        let mut block = |first, second| {
            [
                conv("head.body.0", BLOCK_KERNEL, features, Inputs::Signed, first),
                conv("head.body.2", BLOCK_KERNEL, features, Inputs::NotNegative, second),
            ]
        };
        let blocks = [block(a, b), block(c, d)];
        cursor.finish(EntryWeights { entry, blocks })
    }

    pub(super) fn encode(&self, values: Values) -> Result<EncodeWeights<'a>, Error> {
        let c = &self.config;
        let mut cursor = Cursor::new(&self.model, self.encode_index(), SectionKind::Encode, values)?;
        let precision = self.section.body().encoding;
        let weights = EncodeWeights {
            encoding: cursor.linear("linear_encoding", c.dim(), c.dim(), precision),
            positions: cursor.f16s("position_encoding", c.tokens() * c.dim()),
        };
        cursor.finish(weights)
    }

    /// Whether a layer is one of the decoder's, which are numbered after the encoder's.
    pub(super) fn is_decoder(&self, layer: usize) -> bool {
        layer >= self.config.encoder_layers
    }

    fn body_layer(&self, layer: usize, values: Values) -> Result<LayerSection<'a>, Error> {
        let (c, is_decoder) = (&self.config, self.is_decoder(layer));
        let kind = if is_decoder { SectionKind::DecoderLayer } else { SectionKind::EncoderLayer };
        Ok(LayerSection {
            cursor: Cursor::new(&self.model, self.encode_index() + 1 + layer, kind, values)?,
            dim: c.dim(),
            heads: c.heads,
            hidden: c.hidden,
            activation: Activation::Relu,
            norm_eps: c.norm_eps,
            precision: self.section.layer(layer),
            has_cross: is_decoder,
        })
    }

    /// The MLP behind the decoder.
    pub(super) fn mlp_head(&self, values: Values) -> Result<MlpWeights<'a>, Error> {
        let (c, BodyPrecision { fc1, fc2, .. }) = (&self.config, self.section.body());
        let index = self.encode_index() + 1 + c.encoder_layers + c.decoder_layers;
        let mut cursor = Cursor::new(&self.model, index, SectionKind::MlpHead, values)?;
        let (names, widths) = (["mlp_head.0", "mlp_head.3"], [c.dim(), c.head_hidden]);
        let weights = MlpWeights::read(&mut cursor, None, names, widths, Activation::Relu, [fc1, fc2]);
        cursor.finish(weights)
    }

    pub(super) fn tail(&self, task: usize, values: Values) -> Result<TailWeights<'a>, Error> {
        let c = &self.config;
        let index = self.encode_index() + 2 + c.encoder_layers + c.decoder_layers + task;
        let mut cursor = Cursor::new(&self.model, index, SectionKind::TaskTail, values)?;
        let query = cursor.f16s("query_embed", c.tokens() * c.dim());
        let mut conv = |tensor, outputs, precision| {
            let channels = [c.features, outputs];
            Conv::read(&mut cursor, tensor, OUTER_KERNEL, channels, Inputs::Signed, precision)
        };
        let mut upsampler = [None, None];
        let precisions = self.section.task(task).upsampler;
        for ((step, factor), precision) in
            upsampler.iter_mut().zip(self.task(task)?.upsampler()).zip(precisions)
        {
            *step = Some(conv("tail.0", c.features * factor * factor, precision));
        }
        let exit = conv("tail.1", COLOURS, Precision::F16);
        cursor.finish(TailWeights { query, upsampler, exit })
    }

    /// A task of the model.
    ///
    /// # Errors
    /// [`Error::Task`].
    pub(super) fn task(&self, task: usize) -> Result<&Task, Error> {
        let tasks = &self.config.tasks;
        tasks.get(task).ok_or(Error::Task { found: task, tasks: tasks.len() })
    }
}

impl<'a> Layers<'a> for Ipt<'a> {
    fn heads(&self) -> usize {
        self.config.heads
    }

    fn layer(&self, layer: usize) -> Result<LayerSection<'a>, Error> {
        self.body_layer(layer, Values::Checked)
    }
}
