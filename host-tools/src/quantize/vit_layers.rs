//! The layers of a ViT whose precision can be chosen, and their names.

use anyhow::{ensure, Context, Result};
use vitreous::models::vit::{Head, LayerPrecision, VitConfig};
use vitreous::tensor::Precision;

use super::file::is_meant;

/// A linear layer whose precision can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VitLayer {
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

impl std::fmt::Display for VitLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VitLayer::Qkv(block) => write!(f, "blocks.{block}.qkv"),
            VitLayer::Proj(block) => write!(f, "blocks.{block}.proj"),
            VitLayer::Fc1(block) => write!(f, "blocks.{block}.fc1"),
            VitLayer::Fc2(block) => write!(f, "blocks.{block}.fc2"),
            VitLayer::Head => write!(f, "head"),
        }
    }
}

impl std::str::FromStr for VitLayer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no layer: write head or blocks.N.qkv, blocks.N.proj, blocks.N.fc1, blocks.N.fc2"
            )
        };
        if text == "head" {
            return Ok(VitLayer::Head);
        }
        let (block, layer) =
            text.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).ok_or_else(wrong)?;
        let block = block.parse().map_err(|_| wrong())?;
        match layer {
            "qkv" => Ok(VitLayer::Qkv(block)),
            "proj" => Ok(VitLayer::Proj(block)),
            "fc1" => Ok(VitLayer::Fc1(block)),
            "fc2" => Ok(VitLayer::Fc2(block)),
            _ => Err(wrong()),
        }
    }
}

/// Every layer of a ViT whose precision can be chosen, in the order of the forward pass.
pub fn vit_layers(config: &VitConfig) -> Vec<VitLayer> {
    let block = |b| [VitLayer::Qkv(b), VitLayer::Proj(b), VitLayer::Fc1(b), VitLayer::Fc2(b)];
    let head = (config.head != Head::None).then_some(VitLayer::Head);
    (0..config.depth).flat_map(block).chain(head).collect()
}

/// Layers by a pattern, whose parts may be `*`: `blocks.*.qkv` is that of every block.
///
/// # Errors
/// No layer of this model has such a name.
pub fn vit_layers_named(config: &VitConfig, pattern: &str) -> Result<Vec<VitLayer>> {
    if !pattern.split('.').any(|part| part == "*") {
        return Ok(vec![pattern.parse().map_err(anyhow::Error::msg)?]);
    }
    let mut found = vit_layers(config);
    found.retain(|layer| is_meant(&layer.to_string(), pattern));
    ensure!(
        !found.is_empty(),
        "no layer is named `{pattern}`; layers are head and blocks.0.qkv, blocks.0.proj, blocks.0.fc1, \
         blocks.0.fc2 and so on, and * stands for any one part"
    );
    Ok(found)
}

/// Precisions of all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VitPrecision {
    /// Per block.
    pub blocks: Vec<LayerPrecision>,
    /// Of the classifiers.
    pub head: Precision,
}

impl VitPrecision {
    /// All int8, but for those named.
    ///
    /// # Errors
    /// A block that the model does not have.
    pub fn new(config: &VitConfig, keep_f16: &[VitLayer]) -> Result<Self> {
        let depth = config.depth;
        let mut precision = Self { blocks: vec![LayerPrecision::INT8; depth], head: Precision::Int8 };
        for layer in keep_f16 {
            let kept = precision.of(*layer);
            *kept.with_context(|| {
                format!("there is no layer {layer}: the model has {depth} blocks, counted from 0")
            })? = Precision::F16;
        }
        Ok(precision)
    }

    fn of(&mut self, layer: VitLayer) -> Option<&mut Precision> {
        match layer {
            VitLayer::Head => Some(&mut self.head),
            VitLayer::Qkv(block) => self.blocks.get_mut(block).map(|of| &mut of.qkv),
            VitLayer::Proj(block) => self.blocks.get_mut(block).map(|of| &mut of.proj),
            VitLayer::Fc1(block) => self.blocks.get_mut(block).map(|of| &mut of.fc1),
            VitLayer::Fc2(block) => self.blocks.get_mut(block).map(|of| &mut of.fc2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::small_vit;

    #[test]
    fn a_star_stands_for_any_one_part_of_a_layers_name() {
        let config = small_vit();
        let named = |pattern: &str| vit_layers_named(&config, pattern);
        assert_eq!(named("blocks.*.qkv").unwrap(), [VitLayer::Qkv(0), VitLayer::Qkv(1)]);
        assert_eq!(named("blocks.1.*").unwrap().len(), 4);
        assert_eq!(named("*").unwrap(), [VitLayer::Head]);
        assert_eq!(named("head").unwrap(), [VitLayer::Head]);
        assert!(named("encoder.*.qkv").unwrap_err().to_string().contains("no layer is named"));
        assert!(named("qkv").unwrap_err().to_string().contains("is no layer"));
    }
}
