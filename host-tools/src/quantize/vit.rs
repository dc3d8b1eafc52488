//! A float ViT to a `.vtr`.

use anyhow::{ensure, Context, Result};
use vitreous::format::{SectionKind, ARCHITECTURE_VIT};
use vitreous::models::vit::{BlockPrecision, ConfigSection, Head, VitConfig, DEFAULT_TILE_ROWS};
use vitreous::tensor::{PanelLayout, Precision};

use super::balance::{balance_block, balance_head, Extents, Tensors};
use super::linear::{write_linear, ZeroPoint};
use super::stream::{f16s, scale_vit_stream, scaled_eps};
use crate::checkpoint::FloatVit;
use crate::text::printable;
use crate::vtr::{arena_of, AlignedBytes, SectionWriter, VtrHeader, VtrWriter};

/// A linear layer whose precision can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerName {
    /// Query, key and value of a block.
    Qkv(usize),
    /// The projection behind a block's attention.
    Proj(usize),
    /// First layer of a block's MLP.
    Fc1(usize),
    /// Second layer of a block's MLP.
    Fc2(usize),
    /// The classifiers.
    Head,
}

impl std::fmt::Display for LayerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LayerName::Qkv(block) => write!(f, "blocks.{block}.qkv"),
            LayerName::Proj(block) => write!(f, "blocks.{block}.proj"),
            LayerName::Fc1(block) => write!(f, "blocks.{block}.fc1"),
            LayerName::Fc2(block) => write!(f, "blocks.{block}.fc2"),
            LayerName::Head => write!(f, "head"),
        }
    }
}

impl std::str::FromStr for LayerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no layer: write head or blocks.N.qkv, blocks.N.proj, blocks.N.fc1, blocks.N.fc2"
            )
        };
        if text == "head" {
            return Ok(LayerName::Head);
        }
        let (block, layer) =
            text.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).ok_or_else(wrong)?;
        let block = block.parse().map_err(|_| wrong())?;
        match layer {
            "qkv" => Ok(LayerName::Qkv(block)),
            "proj" => Ok(LayerName::Proj(block)),
            "fc1" => Ok(LayerName::Fc1(block)),
            "fc2" => Ok(LayerName::Fc2(block)),
            _ => Err(wrong()),
        }
    }
}

/// Every layer of a ViT whose precision can be chosen, in the order of the forward pass.
pub fn vit_layers(config: &VitConfig) -> Vec<LayerName> {
    let block = |b| [LayerName::Qkv(b), LayerName::Proj(b), LayerName::Fc1(b), LayerName::Fc2(b)];
    let head = (config.head != Head::None).then_some(LayerName::Head);
    (0..config.depth).flat_map(block).chain(head).collect()
}

/// Layers by a pattern, whose parts may be `*`: `blocks.*.qkv` is that of every block.
///
/// # Errors
/// No layer of this model has such a name.
pub fn vit_layers_named(config: &VitConfig, pattern: &str) -> Result<Vec<LayerName>> {
    if !pattern.split('.').any(|part| part == "*") {
        return Ok(vec![pattern.parse().map_err(anyhow::Error::msg)?]);
    }
    let matches = |name: &str| {
        let (name, pattern): (Vec<_>, Vec<_>) = (name.split('.').collect(), pattern.split('.').collect());
        name.len() == pattern.len() && name.iter().zip(pattern).all(|(n, p)| p == "*" || *n == p)
    };
    let mut found = vit_layers(config);
    found.retain(|layer| matches(&layer.to_string()));
    ensure!(
        !found.is_empty(),
        "no layer is named `{pattern}`; layers are head and blocks.0.qkv, blocks.0.proj, blocks.0.fc1, \
         blocks.0.fc2 and so on, and * stands for any one part"
    );
    Ok(found)
}

/// What a user may choose.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    /// Layers that keep f16 weights and float activations.
    pub keep_f16: Vec<LayerName>,
    /// Order of the int8 weights.
    pub layout: PanelLayout,
    /// The model's own version.
    pub model_version: u32,
    /// Name in the header, if not the checkpoint's.
    pub name: Option<String>,
    /// Power of two on all that writes the residual stream, as [`vit_trial`](super::vit_trial) finds it.
    pub stream_exponent: i32,
    /// What the norms were seen to make in that trial; of what is not there one standard deviation is
    /// assumed.
    pub extents: Extents,
}

impl Default for QuantizeOptions {
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

/// Quantizes and packs a ViT; the result has been read back by the engine.
///
/// # Errors
/// A layer name that the model does not have; a model that the engine refuses, with its reason.
pub fn quantize_vit(float: &FloatVit, options: &QuantizeOptions) -> Result<Vec<u8>> {
    let quantizer = Quantizer::new(float, options)?;
    let mut writer = VtrWriter::default();
    writer.bytes(SectionKind::Config, quantizer.config_section());
    writer.bytes(SectionKind::Preprocess, float.preprocess.to_bytes().to_vec());
    let labels: String = float.labels.iter().map(|label| format!("{}\n", printable(label))).collect();
    writer.bytes(SectionKind::Labels, labels.into_bytes());
    writer.tensors(SectionKind::Embed, quantizer.embed()?);
    for layer in 0..float.config.depth {
        writer.tensors(SectionKind::Block, quantizer.block(layer)?);
    }
    writer.tensors(SectionKind::Head, quantizer.head()?);
    writer.settings(&float.settings.to_text());
    let mut header = VtrHeader {
        architecture: ARCHITECTURE_VIT,
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

struct Quantizer<'a> {
    float: &'a FloatVit,
    config: VitConfig,
    options: &'a QuantizeOptions,
    blocks: Vec<BlockPrecision>,
    head: Precision,
}

impl<'a> Quantizer<'a> {
    fn new(float: &'a FloatVit, options: &'a QuantizeOptions) -> Result<Self> {
        let mut blocks = vec![BlockPrecision::INT8; float.config.depth];
        let mut head = Precision::Int8;
        for &layer in &options.keep_f16 {
            let depth = float.config.depth;
            match layer {
                LayerName::Head => head = Precision::F16,
                LayerName::Qkv(block)
                | LayerName::Proj(block)
                | LayerName::Fc1(block)
                | LayerName::Fc2(block) => {
                    ensure!(
                        block < depth,
                        "there is no layer {layer}: the model has {depth} blocks, counted from 0"
                    );
                    let precision = &mut blocks[block];
                    *match layer {
                        LayerName::Qkv(_) => &mut precision.qkv,
                        LayerName::Proj(_) => &mut precision.proj,
                        LayerName::Fc1(_) => &mut precision.fc1,
                        _ => &mut precision.fc2,
                    } = Precision::F16;
                }
            }
        }
        let config = VitConfig {
            norm_eps: scaled_eps(float.config.norm_eps, options.stream_exponent),
            ..float.config
        };
        Ok(Self { float, config, options, blocks, head })
    }

    /// The tensors that `belongs` names, the residual stream scaled.
    fn part(&self, belongs: impl Fn(&str) -> bool) -> Tensors {
        let named = self.float.tensors.iter().filter(|(name, _)| belongs(name));
        let mut part: Tensors = named.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        if self.options.stream_exponent != 0 {
            scale_vit_stream(&mut part, &self.config, self.options.stream_exponent);
        }
        part
    }

    fn config_section(&self) -> Vec<u8> {
        let fixed = ConfigSection::fixed_words(&self.config, self.head);
        fixed.into_iter().chain(self.blocks.iter().map(|b| b.to_word())).flat_map(u32::to_le_bytes).collect()
    }

    /// Writes a layer whose weights and bias may be parts of the tensors of that name.
    fn linear(
        &self,
        section: &mut SectionWriter,
        name: &str,
        (weights, bias): (&[f32], &[f32]),
        precision: Precision,
        zero_point: ZeroPoint,
    ) -> Result<()> {
        write_linear(section, self.options.layout, weights, bias, precision, zero_point)
            .with_context(|| format!("cannot store `{name}`"))
    }

    /// The patch embedding on pixels − 128: `w′ = w/(255·std)`, `b′ = b − Σ w·mean/std + 128·Σ w′`, inputs
    /// ordered as an image is: `(row, column, channel)`. The bias is that of the float weights, so that the
    /// error of the quantized weights meets centred pixels only.
    fn embed(&self) -> Result<SectionWriter> {
        let c = &self.config;
        let part = self.part(|name| !name.starts_with("blocks."));
        let name = "patch_embed.proj";
        let (weights, bias) = layer(&part, name)?;
        let (mean, std) = (self.float.preprocess.mean, self.float.preprocess.std);
        let area = c.patch_height * c.patch_width;
        let mut folded = vec![0f32; weights.len()];
        let mut folded_bias = Vec::with_capacity(c.dim);
        for (n, row) in weights.chunks_exact(c.patch_bytes()).enumerate() {
            let mut offset = f64::from(bias[n]);
            for (channel, plane) in row.chunks_exact(area).enumerate() {
                let (mean, std) = (f64::from(mean[channel]), f64::from(std[channel]));
                for (pixel, w) in plane.iter().enumerate() {
                    let w = f64::from(*w) / std;
                    folded[n * c.patch_bytes() + pixel * c.channels + channel] = (w / 255.0) as f32;
                    offset += w * (128.0 / 255.0 - mean);
                }
            }
            folded_bias.push(offset as f32);
        }
        let mut section = SectionWriter::default();
        self.linear(&mut section, name, (&folded, &folded_bias), Precision::Int8, ZeroPoint::No)?;
        self.tokens(&mut section, &part)?;
        Ok(section)
    }

    /// Class and distillation token with their positions, then the positions of the patches, as f16.
    fn tokens(&self, section: &mut SectionWriter, part: &Tensors) -> Result<()> {
        let c = &self.config;
        let positions = data(part, "pos_embed")?;
        let mut prefix = Vec::new();
        for (there, name) in [(c.class_token, "cls_token"), (c.distill_token, "dist_token")] {
            if there {
                let token = data(part, name)?.iter().zip(&positions[prefix.len()..]);
                let placed: Vec<f32> = token.map(|(t, p)| t + p).collect();
                prefix.extend(f16s(&format!("{name} + pos_embed"), &placed)?);
            }
        }
        section.tensor(&prefix);
        section.tensor(&f16s("pos_embed", &positions[prefix.len()..])?);
        Ok(())
    }

    fn block(&self, layer_index: usize) -> Result<SectionWriter> {
        let precision = self.blocks[layer_index];
        let prefix = format!("blocks.{layer_index}.");
        let mut part = self.part(|name| name.starts_with(&prefix));
        balance_block(&mut part, &self.config, layer_index, &self.options.extents)?;
        let name = |part: &str| format!("{prefix}{part}");
        let mut section = SectionWriter::default();
        norm(&mut section, &part, &name("norm1"))?;
        self.attention(&mut section, &part, layer_index)?;
        norm(&mut section, &part, &name("norm2"))?;
        let (fc1, fc2) = (name("mlp.fc1"), name("mlp.fc2"));
        self.linear(&mut section, &fc1, layer(&part, &fc1)?, precision.fc1, ZeroPoint::No)?;
        self.linear(&mut section, &fc2, layer(&part, &fc2)?, precision.fc2, ZeroPoint::Yes)?;
        Ok(section)
    }

    /// Query, key, value and projection, head by head; the projection's bias comes with the first head.
    fn attention(&self, section: &mut SectionWriter, part: &Tensors, layer_index: usize) -> Result<()> {
        let (dim, head_dim) = (self.config.dim, self.config.head_dim());
        let precision = self.blocks[layer_index];
        let name = |leaf: &str| format!("blocks.{layer_index}.attn.{leaf}");
        let (qkv, qkv_bias) = layer(part, &name("qkv"))?;
        let (proj, proj_bias) = layer(part, &name("proj"))?;
        let zeros = vec![0f32; dim];
        for head in 0..self.config.heads {
            for index in 0..3 {
                let first = index * dim + head * head_dim;
                let rows = (&qkv[first * dim..(first + head_dim) * dim], &qkv_bias[first..first + head_dim]);
                self.linear(section, &name("qkv"), rows, precision.qkv, ZeroPoint::No)?;
            }
            let columns = head * head_dim..(head + 1) * head_dim;
            let weights: Vec<f32> =
                proj.chunks_exact(dim).flat_map(|row| &row[columns.clone()]).copied().collect();
            let bias = if head == 0 { proj_bias } else { &zeros };
            self.linear(section, &name("proj"), (&weights, bias), precision.proj, ZeroPoint::No)?;
        }
        Ok(())
    }

    fn head(&self) -> Result<SectionWriter> {
        let c = &self.config;
        let mut part = self.part(|name| name.contains("norm.") || name.starts_with("head"));
        balance_head(&mut part, c, &self.options.extents)?;
        let mut section = SectionWriter::default();
        if c.norm_before_pool {
            norm(&mut section, &part, "norm")?;
        }
        if c.norm_after_pool {
            norm(&mut section, &part, "fc_norm")?;
        }
        for (there, name) in [(c.head != Head::None, "head"), (c.second_head_token().is_some(), "head_dist")]
        {
            if there {
                self.linear(&mut section, name, layer(&part, name)?, self.head, ZeroPoint::No)?;
            }
        }
        Ok(section)
    }
}

fn data<'t>(tensors: &'t Tensors, name: &str) -> Result<&'t [f32]> {
    let tensor = tensors.get(name).with_context(|| format!("the checkpoint has no tensor `{name}`"))?;
    Ok(&tensor.data)
}

/// Weights and bias.
fn layer<'t>(tensors: &'t Tensors, name: &str) -> Result<(&'t [f32], &'t [f32])> {
    Ok((data(tensors, &format!("{name}.weight"))?, data(tensors, &format!("{name}.bias"))?))
}

fn norm(section: &mut SectionWriter, tensors: &Tensors, name: &str) -> Result<()> {
    let (gamma, beta) = layer(tensors, name)?;
    section.floats(gamma);
    section.floats(beta);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::small_vit;

    #[test]
    fn a_star_stands_for_any_one_part_of_a_layers_name() {
        let config = small_vit();
        let named = |pattern: &str| vit_layers_named(&config, pattern);
        assert_eq!(named("blocks.*.qkv").unwrap(), [LayerName::Qkv(0), LayerName::Qkv(1)]);
        assert_eq!(named("blocks.1.*").unwrap().len(), 4);
        assert_eq!(named("*").unwrap(), [LayerName::Head]);
        assert_eq!(named("head").unwrap(), [LayerName::Head]);
        assert!(named("encoder.*.qkv").unwrap_err().to_string().contains("no layer is named"));
        assert!(named("qkv").unwrap_err().to_string().contains("is no layer"));
    }
}
