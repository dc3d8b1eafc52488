//! The layers of an IPT whose precision can be chosen, and their names.

use std::fmt;

use anyhow::{ensure, Result};
use vitreous::models::ipt::{BodyPrecision, IptConfig, LayerPrecision, TaskPrecision};
use vitreous::tensor::Precision;

use super::file::is_meant;

/// A layer whose precision can be chosen. The first convolution of a head and the last of a tail always have
/// f16 weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IptLayer {
    /// Convolution 0 to 3 of a task's head.
    HeadConv(usize, usize),
    /// Convolution of a task's upsampler.
    TailConv(usize, usize),
    /// The linear encoding.
    Encoding,
    /// Layer 1 or 2 of the MLP behind the decoder.
    MlpHead(usize),
    /// Part of an encoder or decoder layer; the decoder's are counted from 0 too.
    Layer(Stack, usize, Part),
}

/// Encoder or decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stack {
    /// Encoder.
    Encoder,
    /// Decoder.
    Decoder,
}

/// Part of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Query, key and value of the self-attention.
    Qkv,
    /// The projection behind it.
    Proj,
    /// Query, key and value of the cross-attention.
    CrossQkv,
    /// The projection behind it.
    CrossProj,
    /// First layer of the MLP.
    Fc1,
    /// Second layer of the MLP.
    Fc2,
}

impl fmt::Display for IptLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IptLayer::HeadConv(task, conv) => write!(f, "head.{task}.conv{conv}"),
            IptLayer::TailConv(task, conv) => write!(f, "tail.{task}.conv{conv}"),
            IptLayer::Encoding => write!(f, "encoding"),
            IptLayer::MlpHead(layer) => write!(f, "mlp_head.fc{layer}"),
            IptLayer::Layer(stack, layer, part) => {
                let stack = if *stack == Stack::Encoder { "encoder" } else { "decoder" };
                let part = match part {
                    Part::Qkv => "qkv",
                    Part::Proj => "proj",
                    Part::CrossQkv => "cross_qkv",
                    Part::CrossProj => "cross_proj",
                    Part::Fc1 => "fc1",
                    Part::Fc2 => "fc2",
                };
                write!(f, "{stack}.{layer}.{part}")
            }
        }
    }
}

/// Every layer of a model whose precision can be chosen, in the order of the forward pass.
pub fn ipt_layers(config: &IptConfig) -> Vec<IptLayer> {
    let mut layers = Vec::new();
    let tasks = || config.tasks.iter().enumerate();
    layers.extend(tasks().flat_map(|(task, _)| (0..4).map(move |conv| IptLayer::HeadConv(task, conv))));
    layers.push(IptLayer::Encoding);
    let encoder = [Part::Qkv, Part::Proj, Part::Fc1, Part::Fc2];
    let decoder = [Part::Qkv, Part::Proj, Part::CrossQkv, Part::CrossProj, Part::Fc1, Part::Fc2];
    for layer in 0..config.encoder_layers {
        layers.extend(encoder.map(|part| IptLayer::Layer(Stack::Encoder, layer, part)));
    }
    for layer in 0..config.decoder_layers {
        layers.extend(decoder.map(|part| IptLayer::Layer(Stack::Decoder, layer, part)));
    }
    layers.extend([IptLayer::MlpHead(1), IptLayer::MlpHead(2)]);
    layers
        .extend(tasks().flat_map(|(task, of)| {
            (0..of.upsampler().len()).map(move |conv| IptLayer::TailConv(task, conv))
        }));
    layers
}

/// The layers that a name stands for; `*` stands for any one part between dots: `encoder.*.fc2`, `head.*.*`,
/// `decoder.0.*`.
///
/// # Errors
/// No layer of this model has such a name; some that there are.
pub fn ipt_layers_named(config: &IptConfig, pattern: &str) -> Result<Vec<IptLayer>> {
    let all = ipt_layers(config);
    let found: Vec<_> = all.iter().copied().filter(|layer| is_meant(&layer.to_string(), pattern)).collect();
    ensure!(
        !found.is_empty(),
        "no layer is named `{pattern}`; layers are, for example, {}, {}, {}, {}, and * stands for any one \
         part",
        all[0],
        IptLayer::Encoding,
        all[all.len() / 2],
        IptLayer::MlpHead(2)
    );
    Ok(found)
}

/// Precisions of all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IptPrecision {
    /// Around encoder and decoder.
    pub body: BodyPrecision,
    /// Per task.
    pub tasks: Vec<TaskPrecision>,
    /// Encoder layers, then decoder layers.
    pub layers: Vec<LayerPrecision>,
}

impl IptPrecision {
    /// All int8, but for those named.
    pub fn new(config: &IptConfig, keep_f16: &[IptLayer]) -> Self {
        let mut precision = Self {
            body: BodyPrecision::INT8,
            tasks: vec![TaskPrecision::INT8; config.tasks.len()],
            layers: vec![LayerPrecision::INT8; config.encoder_layers + config.decoder_layers],
        };
        for layer in keep_f16 {
            *precision.of(config, *layer) = Precision::F16;
        }
        precision
    }

    fn of(&mut self, config: &IptConfig, layer: IptLayer) -> &mut Precision {
        match layer {
            IptLayer::HeadConv(task, conv) => &mut self.tasks[task].blocks[conv],
            IptLayer::TailConv(task, conv) => &mut self.tasks[task].upsampler[conv],
            IptLayer::Encoding => &mut self.body.encoding,
            IptLayer::MlpHead(1) => &mut self.body.fc1,
            IptLayer::MlpHead(_) => &mut self.body.fc2,
            IptLayer::Layer(stack, layer, part) => {
                let first = if stack == Stack::Encoder { 0 } else { config.encoder_layers };
                let of = &mut self.layers[first + layer];
                match part {
                    Part::Qkv => &mut of.qkv,
                    Part::Proj => &mut of.proj,
                    Part::CrossQkv => &mut of.cross_qkv,
                    Part::CrossProj => &mut of.cross_proj,
                    Part::Fc1 => &mut of.fc1,
                    Part::Fc2 => &mut of.fc2,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::small_ipt;

    #[test]
    fn patterns_name_layers() {
        let config = IptConfig { encoder_layers: 2, ..small_ipt(&["denoise30", "x4"]) };
        let names = |pattern: &str| {
            ipt_layers_named(&config, pattern).unwrap().iter().map(IptLayer::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("encoder.*.fc2"), ["encoder.0.fc2", "encoder.1.fc2"]);
        assert_eq!(names("tail.*.*"), ["tail.1.conv0", "tail.1.conv1"]);
        assert_eq!(names("encoding"), ["encoding"]);
        assert_eq!(names("decoder.0.*").len(), 6);
        let error = ipt_layers_named(&config, "blocks.0.fc1").unwrap_err().to_string();
        assert!(
            error.contains("no layer is named `blocks.0.fc1`") && error.contains("head.0.conv0"),
            "{error}"
        );
        let kept = ipt_layers_named(&config, "decoder.0.cross_qkv").unwrap();
        assert_eq!(IptPrecision::new(&config, &kept).layers[2].cross_qkv, Precision::F16);
        assert_eq!(ipt_layers(&config).len(), 8 + 1 + 8 + 6 + 2 + 2);
    }
}
