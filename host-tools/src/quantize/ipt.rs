//! The sections of an IPT.

use anyhow::Result;
use vitreous::format::SectionKind;
use vitreous::models::ipt::{IptConfig, IptSection, BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use vitreous::tensor::{PanelLayout, Precision};

use super::balance::balance_ipt;
use super::file::{Quantize, QuantizeOptions};
use super::ipt_layers::{ipt_layers, ipt_layers_named, IptLayer, IptPrecision};
use super::layers::{values, weights_and_bias, LayerWriter, ZeroPoint};
use super::stream::{ipt_trial, scale_ipt_stream, scaled_eps, Trial};
use crate::checkpoint::ipt::{FloatIpt, RGB_MEAN};
use crate::checkpoint::Settings;
use crate::vtr::{Family, SectionWriter, VtrWriter};

impl Quantize for FloatIpt {
    type Layer = IptLayer;
    const FAMILY: Family = Family::Ipt;

    fn header(&self) -> (&str, [u8; 32], &Settings) {
        (&self.name, self.source_sha256, &self.settings)
    }

    fn layers(&self) -> Vec<IptLayer> {
        ipt_layers(&self.config)
    }

    fn layers_named(&self, pattern: &str) -> Result<Vec<IptLayer>> {
        ipt_layers_named(&self.config, pattern)
    }

    fn trial(&self, windows: &[Vec<u8>]) -> Result<Trial> {
        ipt_trial(self, windows)
    }

    fn write_sections(&self, options: &QuantizeOptions<IptLayer>, writer: &mut VtrWriter) -> Result<()> {
        let mut rewritten = self.clone();
        if options.stream_exponent != 0 {
            scale_ipt_stream(&mut rewritten.tensors, options.stream_exponent);
            rewritten.config.norm_eps = scaled_eps(self.config.norm_eps, options.stream_exponent);
        }
        balance_ipt(&mut rewritten.tensors, &self.config)?;
        let config = &rewritten.config;
        let quantizer = Quantizer {
            float: &rewritten,
            config,
            layout: options.layout,
            precision: IptPrecision::new(config, &options.keep_f16),
            order: pixel_major(config),
        };
        writer.bytes(SectionKind::Config, quantizer.config_section());
        for task in 0..config.tasks.len() {
            writer.tensors(SectionKind::TaskHead, quantizer.head(task)?);
        }
        writer.tensors(SectionKind::Encode, quantizer.encode()?);
        for layer in 0..config.encoder_layers {
            writer.tensors(SectionKind::EncoderLayer, quantizer.encoder_layer(layer)?);
        }
        for layer in 0..config.decoder_layers {
            writer.tensors(SectionKind::DecoderLayer, quantizer.decoder_layer(layer)?);
        }
        writer.tensors(SectionKind::MlpHead, quantizer.mlp_head()?);
        for task in 0..config.tasks.len() {
            writer.tensors(SectionKind::TaskTail, quantizer.tail(task)?);
        }
        Ok(())
    }
}

/// Place in the authors' tokens, ordered (channel, row, column), of each element of the engine's, ordered
/// (row, column, channel) as the pixels of an image are.
fn pixel_major(config: &IptConfig) -> Vec<usize> {
    let area = config.patch * config.patch;
    (0..config.dim()).map(|i| i % config.features * area + i / config.features).collect()
}

struct Quantizer<'a> {
    float: &'a FloatIpt,
    config: &'a IptConfig,
    layout: PanelLayout,
    precision: IptPrecision,
    order: Vec<usize>,
}

/// The shape of a convolution `(outputs, inputs, kernel, kernel)`.
struct Conv<'a> {
    kernel: usize,
    inputs: usize,
    /// The outputs in the engine's order.
    outputs: &'a [usize],
}

impl<'a> Quantizer<'a> {
    fn section(&self) -> LayerWriter {
        LayerWriter::new(self.layout)
    }

    fn values(&self, name: &str) -> Result<&'a [f32]> {
        values(&self.float.tensors, name)
    }

    fn config_section(&self) -> Vec<u8> {
        let mean = RGB_MEAN.map(|mean| 255.0 * mean);
        let words = IptSection::words(self.config, mean, self.precision.body, &self.precision.tasks);
        let layers = self.precision.layers.iter().map(|layer| layer.to_word());
        words.into_iter().chain(layers).flat_map(u32::to_le_bytes).collect()
    }

    /// Elements of a token, or of each of several, brought into the engine's order.
    fn token(&self, values: &[f32]) -> Vec<f32> {
        let dim = self.order.len();
        values.chunks_exact(dim).flat_map(|row| self.order.iter().map(|&i| row[i])).collect()
    }

    /// Rows `(dim, inputs)` of a matrix whose outputs are a token.
    fn token_rows(&self, weights: &[f32]) -> Vec<f32> {
        let inputs = weights.len() / self.order.len();
        self.order.iter().flat_map(|&row| &weights[row * inputs..][..inputs]).copied().collect()
    }

    /// A convolution, its inputs reordered to (row, column, channel).
    fn conv(
        &self,
        section: &mut LayerWriter,
        name: &str,
        Conv { kernel, inputs, outputs }: Conv,
        precision: Precision,
        zero_point: ZeroPoint,
    ) -> Result<()> {
        let (weights, bias) = weights_and_bias(&self.float.tensors, name)?;
        let (area, taps) = (kernel * kernel, kernel * kernel * inputs);
        let reordered: Vec<f32> = outputs
            .iter()
            .flat_map(|n| {
                let filter = &weights[n * taps..][..taps];
                (0..taps).map(move |k| filter[k % inputs * area + k / inputs])
            })
            .collect();
        let bias: Vec<f32> = outputs.iter().map(|n| bias[*n]).collect();
        section.linear(name, (&reordered, &bias), precision, zero_point)
    }

    fn head(&self, task: usize) -> Result<SectionWriter> {
        let (mut section, features) = (self.section(), self.config.features);
        let all: Vec<usize> = (0..features).collect();
        let (name, first) = (format!("head.{task}"), format!("head.{task}.0"));
        let entry = Conv { kernel: OUTER_KERNEL, inputs: COLOURS, outputs: &all };
        self.conv(&mut section, &first, entry, Precision::F16, ZeroPoint::No)?;
        for (conv, precision) in self.precision.tasks[task].blocks.iter().enumerate() {
            // Each block's second convolution reads what a ReLU has left.
            let (block, second) = (1 + conv / 2, conv % 2 == 1);
            let name = format!("{name}.{block}.body.{}", if second { 2 } else { 0 });
            let zero_point = if second { ZeroPoint::Yes } else { ZeroPoint::No };
            let conv = Conv { kernel: BLOCK_KERNEL, inputs: features, outputs: &all };
            self.conv(&mut section, &name, conv, *precision, zero_point)?;
        }
        Ok(section.finish())
    }

    fn encode(&self) -> Result<SectionWriter> {
        let (mut section, name) = (self.section(), "body.linear_encoding");
        let (weights, bias) = weights_and_bias(&self.float.tensors, name)?;
        let (weights, bias) = (self.token(&self.token_rows(weights)), self.token(bias));
        section.linear(name, (&weights, &bias), self.precision.body.encoding, ZeroPoint::No)?;
        let positions = "body.position_encoding.pe.weight";
        section.f16s(positions, &self.token(self.values(positions)?))?;
        Ok(section.finish())
    }

    fn norm(&self, section: &mut LayerWriter, name: &str) -> Result<()> {
        let (gamma, beta) = weights_and_bias(&self.float.tensors, name)?;
        section.norm((&self.token(gamma), &self.token(beta)));
        Ok(())
    }

    /// An attention, none of whose layers has a bias.
    fn attention(&self, section: &mut LayerWriter, name: &str, precision: [Precision; 2]) -> Result<()> {
        let qkv = self.token(self.values(&format!("{name}.in_proj_weight"))?);
        let projection = self.token_rows(self.values(&format!("{name}.out_proj.weight"))?);
        let zeros = vec![0f32; 3 * self.config.dim()];
        let projection = (projection.as_slice(), &zeros[..self.config.dim()]);
        section.attention(self.config.heads, [name; 2], (&qkv, &zeros), projection, precision)
    }

    fn mlp(&self, section: &mut LayerWriter, names: [&str; 2], precision: [Precision; 2]) -> Result<()> {
        let (weights, bias) = weights_and_bias(&self.float.tensors, names[0])?;
        let first = self.token(weights);
        let (rows, rows_bias) = weights_and_bias(&self.float.tensors, names[1])?;
        let second = (self.token_rows(rows), self.token(rows_bias));
        section.mlp(names, (&first, bias), (&second.0, &second.1), precision)
    }

    fn encoder_layer(&self, layer: usize) -> Result<SectionWriter> {
        let (mut section, precision) = (self.section(), self.precision.layers[layer]);
        let name = |part: &str| format!("body.encoder.layers.{layer}.{part}");
        self.norm(&mut section, &name("norm1"))?;
        self.attention(&mut section, &name("self_attn"), [precision.qkv, precision.proj])?;
        self.norm(&mut section, &name("norm2"))?;
        let mlp = [precision.fc1, precision.fc2];
        self.mlp(&mut section, [&name("linear1"), &name("linear2")], mlp)?;
        Ok(section.finish())
    }

    fn decoder_layer(&self, layer: usize) -> Result<SectionWriter> {
        let mut section = self.section();
        let precision = self.precision.layers[self.config.encoder_layers + layer];
        let name = |part: &str| format!("body.decoder.layers.{layer}.{part}");
        self.norm(&mut section, &name("norm1"))?;
        self.attention(&mut section, &name("self_attn"), [precision.qkv, precision.proj])?;
        self.norm(&mut section, &name("norm2"))?;
        let cross = [precision.cross_qkv, precision.cross_proj];
        self.attention(&mut section, &name("multihead_attn"), cross)?;
        self.norm(&mut section, &name("norm3"))?;
        let mlp = [precision.fc1, precision.fc2];
        self.mlp(&mut section, [&name("linear1"), &name("linear2")], mlp)?;
        Ok(section.finish())
    }

    fn mlp_head(&self) -> Result<SectionWriter> {
        let (mut section, precision) = (self.section(), self.precision.body);
        let names = ["body.mlp_head.0", "body.mlp_head.3"];
        self.mlp(&mut section, names, [precision.fc1, precision.fc2])?;
        Ok(section.finish())
    }

    fn tail(&self, task: usize) -> Result<SectionWriter> {
        let (mut section, inputs) = (self.section(), self.config.features);
        let query = self.config.tokens() * self.config.dim();
        let queries = "body.query_embed.weight";
        let own = &self.values(queries)?[task * query..][..query];
        section.f16s(queries, &self.token(own))?;
        let steps = self.config.tasks[task].upsampler();
        for (step, (factor, precision)) in steps.iter().zip(self.precision.tasks[task].upsampler).enumerate()
        {
            // Channel c·factor² + i goes to pixel i of the square; the engine wants (pixel, feature).
            let area = factor * factor;
            let outputs: Vec<usize> = (0..inputs * area).map(|n| n % inputs * area + n / inputs).collect();
            let conv = Conv { kernel: OUTER_KERNEL, inputs, outputs: &outputs };
            let name = format!("tail.{task}.0.{}", 2 * step);
            self.conv(&mut section, &name, conv, precision, ZeroPoint::No)?;
        }
        let exit = Conv { kernel: OUTER_KERNEL, inputs, outputs: &[0, 1, 2] };
        self.conv(&mut section, &format!("tail.{task}.1"), exit, Precision::F16, ZeroPoint::No)?;
        Ok(section.finish())
    }
}
