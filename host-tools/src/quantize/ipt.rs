//! A float IPT to a `.vtr`.

use anyhow::{Context, Result};
use vitreous::format::{SectionKind, ARCHITECTURE_IPT};
use vitreous::models::ipt::{IptConfig, IptSection, BLOCK_KERNEL, COLOURS, DEFAULT_TILE_ROWS, OUTER_KERNEL};
use vitreous::tensor::{PanelLayout, Precision};

use super::balance::balance_ipt;
use super::ipt_layers::{IptLayer, IptPrecision};
use super::linear::{write_linear, ZeroPoint};
use super::stream::{f16s, scale_ipt_stream, scaled_eps};
use crate::checkpoint::ipt::{FloatIpt, RGB_MEAN};
use crate::vtr::{arena_of, AlignedBytes, SectionWriter, VtrHeader, VtrWriter};

/// What a user may choose.
#[derive(Clone, Debug)]
pub struct IptQuantizeOptions {
    /// Layers that keep f16 weights and float activations.
    pub keep_f16: Vec<IptLayer>,
    /// Order of the int8 weights.
    pub layout: PanelLayout,
    /// The model's own version.
    pub model_version: u32,
    /// Name in the header, if not the checkpoint's.
    pub name: Option<String>,
    /// Power of two on all that writes the feature maps and the residual stream, as
    /// [`ipt_trial`](super::ipt_trial) finds it.
    pub stream_exponent: i32,
}

impl Default for IptQuantizeOptions {
    fn default() -> Self {
        Self {
            keep_f16: Vec::new(),
            layout: PanelLayout::ROW_MAJOR,
            model_version: 1,
            name: None,
            stream_exponent: 0,
        }
    }
}

/// Quantizes and packs an IPT; the result has been read back by the engine.
///
/// # Errors
/// A model that the engine refuses, with its reason.
pub fn quantize_ipt(float: &FloatIpt, options: &IptQuantizeOptions) -> Result<Vec<u8>> {
    let mut rewritten = float.clone();
    if options.stream_exponent != 0 {
        scale_ipt_stream(&mut rewritten.tensors, options.stream_exponent);
        rewritten.config.norm_eps = scaled_eps(float.config.norm_eps, options.stream_exponent);
    }
    balance_ipt(&mut rewritten.tensors, &float.config)?;
    let float = &rewritten;
    let quantizer = Quantizer {
        float,
        config: &float.config,
        layout: options.layout,
        precision: IptPrecision::new(&float.config, &options.keep_f16),
        order: pixel_major(&float.config),
    };
    let mut writer = VtrWriter::default();
    writer.bytes(SectionKind::Config, quantizer.config_section());
    for task in 0..float.config.tasks.len() {
        writer.tensors(SectionKind::TaskHead, quantizer.head(task)?);
    }
    writer.tensors(SectionKind::Encode, quantizer.encode()?);
    for layer in 0..float.config.encoder_layers {
        writer.tensors(SectionKind::EncoderLayer, quantizer.encoder_layer(layer)?);
    }
    for layer in 0..float.config.decoder_layers {
        writer.tensors(SectionKind::DecoderLayer, quantizer.decoder_layer(layer)?);
    }
    writer.tensors(SectionKind::MlpHead, quantizer.mlp_head()?);
    for task in 0..float.config.tasks.len() {
        writer.tensors(SectionKind::TaskTail, quantizer.tail(task)?);
    }
    writer.settings(&float.settings.to_text());
    let mut header = VtrHeader {
        architecture: ARCHITECTURE_IPT,
        model_version: options.model_version,
        layout: options.layout,
        arena_bytes: 0,
        tile_rows: DEFAULT_TILE_ROWS as u32,
        source_sha256: float.source_sha256,
        name: options.name.clone().unwrap_or_else(|| float.name.clone()),
    };
    // The engine itself plans the arena, from a first version of the file.
    let draft = AlignedBytes::copy_of(&writer.finish(&header)?);
    header.arena_bytes = arena_of(draft.as_slice()).context("the engine refuses the converted model")?;
    writer.finish(&header)
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

impl<'a> Quantizer<'a> {
    fn data(&self, name: &str) -> Result<&'a [f32]> {
        let tensor =
            self.float.tensors.get(name).with_context(|| format!("the checkpoint has no tensor `{name}`"))?;
        Ok(&tensor.data)
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

    /// A convolution `(outputs, inputs, k, k)`, its inputs reordered to (row, column, channel); `outputs`
    /// lists the outputs in the engine's order.
    #[allow(clippy::too_many_arguments, reason = "a layer's shape has that many numbers")]
    fn conv(
        &self,
        section: &mut SectionWriter,
        name: &str,
        kernel: usize,
        inputs: usize,
        outputs: &[usize],
        precision: Precision,
        zero_point: ZeroPoint,
    ) -> Result<()> {
        let (weights, bias) = (self.data(&format!("{name}.weight"))?, self.data(&format!("{name}.bias"))?);
        let (area, taps) = (kernel * kernel, kernel * kernel * inputs);
        let reordered: Vec<f32> = outputs
            .iter()
            .flat_map(|n| {
                let filter = &weights[n * taps..][..taps];
                (0..taps).map(move |k| filter[k % inputs * area + k / inputs])
            })
            .collect();
        let bias: Vec<f32> = outputs.iter().map(|n| bias[*n]).collect();
        write_linear(section, self.layout, &reordered, &bias, precision, zero_point)
            .with_context(|| format!("cannot store `{name}`"))
    }

    fn head(&self, task: usize) -> Result<SectionWriter> {
        let mut section = SectionWriter::default();
        let features = self.config.features;
        let all: Vec<usize> = (0..features).collect();
        let name = format!("head.{task}");
        let first = format!("{name}.0");
        self.conv(&mut section, &first, OUTER_KERNEL, COLOURS, &all, Precision::F16, ZeroPoint::No)?;
        for (conv, precision) in self.precision.tasks[task].blocks.iter().enumerate() {
            // Each block's second convolution reads what a ReLU has left.
            let (block, second) = (1 + conv / 2, conv % 2 == 1);
            let name = format!("{name}.{block}.body.{}", if second { 2 } else { 0 });
            let zero_point = if second { ZeroPoint::Yes } else { ZeroPoint::No };
            self.conv(&mut section, &name, BLOCK_KERNEL, features, &all, *precision, zero_point)?;
        }
        Ok(section)
    }

    fn encode(&self) -> Result<SectionWriter> {
        let mut section = SectionWriter::default();
        let rows = self.token_rows(self.data("body.linear_encoding.weight")?);
        let (weights, bias) = (self.token(&rows), self.token(self.data("body.linear_encoding.bias")?));
        let layer = (weights.as_slice(), bias.as_slice());
        self.linear(
            &mut section,
            "body.linear_encoding",
            layer,
            self.precision.body.encoding,
            ZeroPoint::No,
        )?;
        let positions = "body.position_encoding.pe.weight";
        self.f16s(&mut section, positions, self.data(positions)?)?;
        Ok(section)
    }

    fn linear(
        &self,
        section: &mut SectionWriter,
        name: &str,
        (weights, bias): (&[f32], &[f32]),
        precision: Precision,
        zero_point: ZeroPoint,
    ) -> Result<()> {
        write_linear(section, self.layout, weights, bias, precision, zero_point)
            .with_context(|| format!("cannot store `{name}`"))
    }

    /// Tokens as f16.
    fn f16s(&self, section: &mut SectionWriter, name: &str, values: &[f32]) -> Result<()> {
        section.tensor(&f16s(name, &self.token(values))?);
        Ok(())
    }

    fn norm(&self, section: &mut SectionWriter, name: &str) -> Result<()> {
        section.floats(&self.token(self.data(&format!("{name}.weight"))?));
        section.floats(&self.token(self.data(&format!("{name}.bias"))?));
        Ok(())
    }

    /// Query, key, value and projection, head by head; none of them has a bias.
    fn attention(
        &self,
        section: &mut SectionWriter,
        name: &str,
        qkv: Precision,
        proj: Precision,
    ) -> Result<()> {
        let (dim, head_dim) = (self.config.dim(), self.config.head_dim());
        let packed = self.token(self.data(&format!("{name}.in_proj_weight"))?);
        let projection = self.token_rows(self.data(&format!("{name}.out_proj.weight"))?);
        let zeros = vec![0f32; dim];
        for head in 0..self.config.heads {
            for part in 0..3 {
                let first = (part * dim + head * head_dim) * dim;
                let weights = &packed[first..first + head_dim * dim];
                self.linear(section, name, (weights, &zeros[..head_dim]), qkv, ZeroPoint::No)?;
            }
            let columns = head * head_dim..(head + 1) * head_dim;
            let weights: Vec<f32> =
                projection.chunks_exact(dim).flat_map(|row| &row[columns.clone()]).copied().collect();
            self.linear(section, name, (&weights, &zeros), proj, ZeroPoint::No)?;
        }
        Ok(())
    }

    /// Two layers with a ReLU between.
    fn mlp(
        &self,
        section: &mut SectionWriter,
        names: [&str; 2],
        fc1: Precision,
        fc2: Precision,
    ) -> Result<()> {
        let [first, second] = names;
        let weights = self.token(self.data(&format!("{first}.weight"))?);
        let bias = self.data(&format!("{first}.bias"))?;
        self.linear(section, first, (&weights, bias), fc1, ZeroPoint::No)?;
        let weights = self.token_rows(self.data(&format!("{second}.weight"))?);
        let bias = self.token(self.data(&format!("{second}.bias"))?);
        self.linear(section, second, (&weights, &bias), fc2, ZeroPoint::Yes)?;
        Ok(())
    }

    fn encoder_layer(&self, layer: usize) -> Result<SectionWriter> {
        let (mut section, precision) = (SectionWriter::default(), self.precision.layers[layer]);
        let name = format!("body.encoder.layers.{layer}");
        self.norm(&mut section, &format!("{name}.norm1"))?;
        self.attention(&mut section, &format!("{name}.self_attn"), precision.qkv, precision.proj)?;
        self.norm(&mut section, &format!("{name}.norm2"))?;
        let names = [format!("{name}.linear1"), format!("{name}.linear2")];
        self.mlp(&mut section, names.each_ref().map(String::as_str), precision.fc1, precision.fc2)?;
        Ok(section)
    }

    fn decoder_layer(&self, layer: usize) -> Result<SectionWriter> {
        let mut section = SectionWriter::default();
        let precision = self.precision.layers[self.config.encoder_layers + layer];
        let name = format!("body.decoder.layers.{layer}");
        self.norm(&mut section, &format!("{name}.norm1"))?;
        self.attention(&mut section, &format!("{name}.self_attn"), precision.qkv, precision.proj)?;
        self.norm(&mut section, &format!("{name}.norm2"))?;
        let cross = format!("{name}.multihead_attn");
        self.attention(&mut section, &cross, precision.cross_qkv, precision.cross_proj)?;
        self.norm(&mut section, &format!("{name}.norm3"))?;
        let names = [format!("{name}.linear1"), format!("{name}.linear2")];
        self.mlp(&mut section, names.each_ref().map(String::as_str), precision.fc1, precision.fc2)?;
        Ok(section)
    }

    fn mlp_head(&self) -> Result<SectionWriter> {
        let (mut section, precision) = (SectionWriter::default(), self.precision.body);
        self.mlp(&mut section, ["body.mlp_head.0", "body.mlp_head.3"], precision.fc1, precision.fc2)?;
        Ok(section)
    }

    fn tail(&self, task: usize) -> Result<SectionWriter> {
        let mut section = SectionWriter::default();
        let features = self.config.features;
        let query = self.config.tokens() * self.config.dim();
        let queries = "body.query_embed.weight";
        self.f16s(&mut section, queries, &self.data(queries)?[task * query..][..query])?;
        let steps = self.config.tasks[task].upsampler();
        for (step, (factor, precision)) in steps.iter().zip(self.precision.tasks[task].upsampler).enumerate()
        {
            // Channel c·factor² + i goes to pixel i of the square; the engine wants (pixel, feature).
            let area = factor * factor;
            let outputs: Vec<usize> =
                (0..features * area).map(|n| n % features * area + n / features).collect();
            let name = format!("tail.{task}.0.{}", 2 * step);
            self.conv(&mut section, &name, OUTER_KERNEL, features, &outputs, precision, ZeroPoint::No)?;
        }
        let colours: Vec<usize> = (0..COLOURS).collect();
        let last = format!("tail.{task}.1");
        self.conv(&mut section, &last, OUTER_KERNEL, features, &colours, Precision::F16, ZeroPoint::No)?;
        Ok(section)
    }
}
