//! A float ViT to a `.vtr`.

use anyhow::{ensure, Context, Result};
use half::f16;
use vitreous::format::{SectionKind, ARCHITECTURE_VIT};
use vitreous::models::vit::{BlockPrecision, ConfigSection, Head, VitConfig, DEFAULT_TILE_ROWS};
use vitreous::tensor::{PanelLayout, Precision};

use super::equalize::{equalize, Equalized};
use super::linear::{write_linear, ZeroPoint};
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
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self { keep_f16: Vec::new(), layout: PanelLayout::ROW_MAJOR, model_version: 1, name: None }
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
    layout: PanelLayout,
    blocks: Vec<BlockPrecision>,
    head: Precision,
}

impl<'a> Quantizer<'a> {
    fn new(float: &'a FloatVit, options: &QuantizeOptions) -> Result<Self> {
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
        Ok(Self { float, config: float.config, layout: options.layout, blocks, head })
    }

    fn data(&self, name: &str) -> Result<&'a [f32]> {
        let tensor =
            self.float.tensors.get(name).with_context(|| format!("the checkpoint has no tensor `{name}`"))?;
        Ok(&tensor.data)
    }

    fn config_section(&self) -> Vec<u8> {
        let fixed = ConfigSection::fixed_words(&self.config, self.head);
        fixed.into_iter().chain(self.blocks.iter().map(|b| b.to_word())).flat_map(u32::to_le_bytes).collect()
    }

    fn linear(&self, section: &mut SectionWriter, weights: &[f32], bias: &[f32], precision: Precision) {
        write_linear(section, self.layout, weights, bias, precision, ZeroPoint::No);
    }

    fn norm(&self, section: &mut SectionWriter, name: &str) -> Result<()> {
        section.floats(self.data(&format!("{name}.weight"))?);
        section.floats(self.data(&format!("{name}.bias"))?);
        Ok(())
    }

    /// The patch embedding on pixels − 128: `w′ = w/(255·std)`, `b′ = b − Σ w·mean/std + 128·Σ w′`, inputs ordered as an
    /// image is: `(row, column, channel)`. The bias is that of the float weights, so that the error of the quantized weights
    /// meets centred pixels only.
    fn embed(&self) -> Result<SectionWriter> {
        let c = &self.config;
        let (weights, bias) = (self.data("patch_embed.proj.weight")?, self.data("patch_embed.proj.bias")?);
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
        self.linear(&mut section, &folded, &folded_bias, Precision::Int8);
        self.tokens(&mut section)?;
        Ok(section)
    }

    /// Class and distillation token with their positions, then the positions of the patches, as f16.
    fn tokens(&self, section: &mut SectionWriter) -> Result<()> {
        let c = &self.config;
        let positions = self.data("pos_embed")?;
        let mut prefix = Vec::new();
        for (there, name) in [(c.class_token, "cls_token"), (c.distill_token, "dist_token")] {
            if there {
                let start = prefix.len();
                prefix.extend(
                    self.data(name)?.iter().zip(&positions[start..]).map(|(t, p)| f16::from_f32(t + p)),
                );
            }
        }
        section.tensor(&prefix);
        let patches: Vec<f16> = positions[prefix.len()..].iter().map(|p| f16::from_f32(*p)).collect();
        section.tensor(&patches);
        Ok(())
    }

    fn block(&self, layer: usize) -> Result<SectionWriter> {
        let precision = self.blocks[layer];
        let name = |part: &str| format!("blocks.{layer}.{part}");
        let mut section = SectionWriter::default();
        let qkv = self.equalized(&mut section, &name("norm1"), &name("attn.qkv.weight"), precision.qkv)?;
        self.attention(&mut section, layer, &qkv)?;
        let fc1 = self.equalized(&mut section, &name("norm2"), &name("mlp.fc1.weight"), precision.fc1)?;
        self.linear(&mut section, &fc1, self.data(&name("mlp.fc1.bias"))?, precision.fc1);
        let (fc2, fc2_bias) = (self.data(&name("mlp.fc2.weight"))?, self.data(&name("mlp.fc2.bias"))?);
        write_linear(&mut section, self.layout, fc2, fc2_bias, precision.fc2, ZeroPoint::Yes);
        Ok(section)
    }

    /// Writes a norm and returns the weights that read it, balanced against each other where the weights become int8.
    fn equalized(
        &self,
        section: &mut SectionWriter,
        norm: &str,
        weights: &str,
        precision: Precision,
    ) -> Result<Vec<f32>> {
        let (gamma, beta) = (self.data(&format!("{norm}.weight"))?, self.data(&format!("{norm}.bias"))?);
        let weights = self.data(weights)?;
        let pair = match precision {
            Precision::Int8 => equalize(gamma, beta, weights),
            Precision::F16 => {
                Equalized { gamma: gamma.to_vec(), beta: beta.to_vec(), weights: weights.to_vec() }
            }
        };
        section.floats(&pair.gamma);
        section.floats(&pair.beta);
        Ok(pair.weights)
    }

    /// Query, key, value and projection, head by head; the projection's bias comes with the first head.
    fn attention(&self, section: &mut SectionWriter, layer: usize, qkv: &[f32]) -> Result<()> {
        let (dim, head_dim) = (self.config.dim, self.config.head_dim());
        let precision = self.blocks[layer];
        let name = |part: &str| format!("blocks.{layer}.attn.{part}");
        let qkv_bias = self.data(&name("qkv.bias"))?;
        let (proj, proj_bias) = (self.data(&name("proj.weight"))?, self.data(&name("proj.bias"))?);
        let zeros = vec![0f32; dim];
        for head in 0..self.config.heads {
            for part in 0..3 {
                let first = part * dim + head * head_dim;
                let weights = &qkv[first * dim..(first + head_dim) * dim];
                self.linear(section, weights, &qkv_bias[first..first + head_dim], precision.qkv);
            }
            let columns = head * head_dim..(head + 1) * head_dim;
            let weights: Vec<f32> =
                proj.chunks_exact(dim).flat_map(|row| &row[columns.clone()]).copied().collect();
            self.linear(section, &weights, if head == 0 { proj_bias } else { &zeros }, precision.proj);
        }
        Ok(())
    }

    fn head(&self) -> Result<SectionWriter> {
        let c = &self.config;
        let mut section = SectionWriter::default();
        if c.norm_before_pool {
            self.norm(&mut section, "norm")?;
        }
        if c.norm_after_pool {
            self.norm(&mut section, "fc_norm")?;
        }
        for (there, name) in [(c.head != Head::None, "head"), (c.second_head_token().is_some(), "head_dist")]
        {
            if there {
                let (weights, bias) =
                    (self.data(&format!("{name}.weight"))?, self.data(&format!("{name}.bias"))?);
                self.linear(&mut section, weights, bias, self.head);
            }
        }
        Ok(section)
    }
}
