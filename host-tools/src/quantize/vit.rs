//! The sections of a ViT.

use anyhow::Result;
use vitreous::format::SectionKind;
use vitreous::models::vit::{ConfigSection, Head, VitConfig};
use vitreous::tensor::Precision;

use super::balance::{balance_block, balance_head, Tensors};
use super::file::{Quantize, QuantizeOptions};
use super::layers::{values, weights_and_bias, LayerWriter, ZeroPoint};
use super::stream::{f16s, scale_vit_stream, scaled_eps, vit_trial, Trial};
use super::vit_layers::{vit_layers, vit_layers_named, VitLayer, VitPrecision};
use crate::checkpoint::{FloatVit, Settings};
use crate::text::printable;
use crate::vtr::{Family, SectionWriter, VtrWriter};

impl Quantize for FloatVit {
    type Layer = VitLayer;
    const FAMILY: Family = Family::Vit;

    fn header(&self) -> (&str, [u8; 32], &Settings) {
        (&self.name, self.source_sha256, &self.settings)
    }

    fn layers(&self) -> Vec<VitLayer> {
        vit_layers(&self.config)
    }

    fn layers_named(&self, pattern: &str) -> Result<Vec<VitLayer>> {
        vit_layers_named(&self.config, pattern)
    }

    fn trial(&self, images: &[Vec<u8>]) -> Result<Trial> {
        vit_trial(self, images)
    }

    fn write_sections(&self, options: &QuantizeOptions<VitLayer>, writer: &mut VtrWriter) -> Result<()> {
        let quantizer = Quantizer::new(self, options)?;
        writer.bytes(SectionKind::Config, quantizer.config_section());
        writer.bytes(SectionKind::Preprocess, self.preprocess.to_bytes().to_vec());
        let labels: String = self.labels.iter().map(|label| format!("{}\n", printable(label))).collect();
        writer.bytes(SectionKind::Labels, labels.into_bytes());
        writer.tensors(SectionKind::Embed, quantizer.embed()?);
        for layer in 0..self.config.depth {
            writer.tensors(SectionKind::Block, quantizer.block(layer)?);
        }
        writer.tensors(SectionKind::Head, quantizer.head()?);
        Ok(())
    }
}

struct Quantizer<'a> {
    float: &'a FloatVit,
    config: VitConfig,
    options: &'a QuantizeOptions<VitLayer>,
    precision: VitPrecision,
}

impl<'a> Quantizer<'a> {
    fn new(float: &'a FloatVit, options: &'a QuantizeOptions<VitLayer>) -> Result<Self> {
        let precision = VitPrecision::new(&float.config, &options.keep_f16)?;
        let norm_eps = scaled_eps(float.config.norm_eps, options.stream_exponent);
        Ok(Self { float, config: VitConfig { norm_eps, ..float.config }, options, precision })
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
        let fixed = ConfigSection::fixed_words(&self.config, self.precision.head);
        let blocks = self.precision.blocks.iter().map(|block| block.to_word());
        fixed.into_iter().chain(blocks).flat_map(u32::to_le_bytes).collect()
    }

    /// The patch embedding on pixels − 128: `w′ = w/(255·std)`, `b′ = b − Σ w·mean/std + 128·Σ w′`, inputs
    /// ordered as an image is: `(row, column, channel)`. The bias is that of the float weights, so that the
    /// error of the quantized weights meets centred pixels only.
    fn embed(&self) -> Result<SectionWriter> {
        let c = &self.config;
        let part = self.part(|name| !name.starts_with("blocks."));
        let name = "patch_embed.proj";
        let (weights, bias) = weights_and_bias(&part, name)?;
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
        let mut section = LayerWriter::new(self.options.layout);
        section.linear(name, (&folded, &folded_bias), Precision::Int8, ZeroPoint::No)?;
        self.tokens(&mut section, &part)?;
        Ok(section.finish())
    }

    /// Class and distillation token with their positions, then the positions of the patches, as f16.
    fn tokens(&self, section: &mut LayerWriter, part: &Tensors) -> Result<()> {
        let c = &self.config;
        let positions = values(part, "pos_embed")?;
        let mut prefix = Vec::new();
        for (there, name) in [(c.class_token, "cls_token"), (c.distill_token, "dist_token")] {
            if there {
                let token = values(part, name)?.iter().zip(&positions[prefix.len()..]);
                let placed: Vec<f32> = token.map(|(t, p)| t + p).collect();
                prefix.extend(f16s(&format!("{name} + pos_embed"), &placed)?);
            }
        }
        section.tensor(&prefix);
        section.f16s("pos_embed", &positions[prefix.len()..])
    }

    fn block(&self, index: usize) -> Result<SectionWriter> {
        let precision = self.precision.blocks[index];
        let prefix = format!("blocks.{index}.");
        let mut part = self.part(|name| name.starts_with(&prefix));
        balance_block(&mut part, &self.config, index, &self.options.extents)?;
        let layer = |name: &str| weights_and_bias(&part, name);
        let [norm1, norm2, qkv, proj, fc1, fc2] =
            ["norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
                .map(|name| format!("{prefix}{name}"));
        let mut section = LayerWriter::new(self.options.layout);
        section.norm(layer(&norm1)?);
        section.attention(
            self.config.heads,
            [&qkv, &proj],
            layer(&qkv)?,
            layer(&proj)?,
            [precision.qkv, precision.proj],
        )?;
        section.norm(layer(&norm2)?);
        section.mlp([&fc1, &fc2], layer(&fc1)?, layer(&fc2)?, [precision.fc1, precision.fc2])?;
        Ok(section.finish())
    }

    fn head(&self) -> Result<SectionWriter> {
        let c = &self.config;
        let mut part = self.part(|name| name.contains("norm.") || name.starts_with("head"));
        balance_head(&mut part, c, &self.options.extents)?;
        let mut section = LayerWriter::new(self.options.layout);
        for (there, name) in [(c.norm_before_pool, "norm"), (c.norm_after_pool, "fc_norm")] {
            if there {
                section.norm(weights_and_bias(&part, name)?);
            }
        }
        for (there, name) in [(c.head != Head::None, "head"), (c.second_head_token().is_some(), "head_dist")]
        {
            if there {
                section.linear(name, weights_and_bias(&part, name)?, self.precision.head, ZeroPoint::No)?;
            }
        }
        Ok(section.finish())
    }
}
