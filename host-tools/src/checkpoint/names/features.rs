//! What a checkpoint's tensors show of a network that is no plain ViT.
//!
//! It is looked for before anything is reported missing: a model with rotary positions lacks no `pos_embed`.
use std::collections::BTreeMap;
use std::path::Path;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::tensor::FloatTensor;

/// How a tensor's name shows a feature.
enum Sign {
    /// A part of the name, between points or at an end.
    Part(&'static str),
    /// Anywhere in the name.
    Inside(&'static str),
}

use Sign::{Inside, Part};

/// Signs in tensor names and the feature that they show.
const SIGNS: &[(Sign, &str)] = &[
    (Part("reg_token"), REGISTERS),
    (Part("register_tokens"), REGISTERS),
    (Part("detection_tokens"), "detection tokens (YOLOS)"),
    (Part("norm_pre"), PRE_NORM),
    (Part("pre_layrnorm"), PRE_NORM),
    (Part("pre_layernorm"), PRE_NORM),
    (Part("ln_pre"), PRE_NORM),
    (Part("rope"), ROTARY),
    (Part("rope_embeddings"), ROTARY),
    (Part("rotary_emb"), ROTARY),
    (Inside("freqs_c"), ROTARY),
    (Part("inv_freq"), ROTARY),
    (Part("w12"), GATED),
    (Part("w3"), GATED),
    (Part("weights_in"), GATED),
    (Part("fc1_g"), GATED),
    (Part("fc1_x"), GATED),
    (Part("gate_proj"), GATED),
    (Part("attn_pool"), ATTENTION_POOLING),
    (Part("attnpool"), ATTENTION_POOLING),
    (Part("probe"), ATTENTION_POOLING),
    (Part("attention_pool"), ATTENTION_POOLING),
    (Part("q_norm"), QUERY_NORM),
    (Part("k_norm"), QUERY_NORM),
    (Part("ln_q"), QUERY_NORM),
    (Part("inner_attn_ln"), "a norm inside of the attention"),
    (Inside("attn.norm."), "a norm inside of the attention"),
    (Inside("mlp.norm."), "a norm inside of the MLP"),
    (Part("ffn_ln"), "a norm inside of the MLP"),
    (Part("relative_position_bias_table"), RELATIVE),
    (Part("relative_position_bias"), RELATIVE),
    (Inside("rel_pos"), RELATIVE),
    (Part("attention_biases"), "attention biases"),
    (Part("blocks_token_only"), "class attention (CaiT)"),
    (Part("attns"), "parallel attention and MLP"),
    (Part("ffns"), "parallel attention and MLP"),
    (Inside("patch_embed.backbone."), HYBRID),
    (Inside("patch_embeddings.backbone."), HYBRID),
    (Inside("patch_embed.proj.0."), HYBRID),
    (Inside("patch_embed.conv"), HYBRID),
    (Inside("patch_embed.norm."), "a norm behind the patches"),
    (Inside("patch_embed.stem."), HYBRID),
    (Part("pre_logits"), "a layer between features and classifier (`pre_logits`)"),
    (Part("token_scorer"), "token pruning"),
    (Part("spatial_embed"), "spatial and temporal positions (video)"),
    (Part("temporal_embed"), "spatial and temporal positions (video)"),
    (Part("lora_A"), LORA),
    (Part("lora_B"), LORA),
    (Part("experts"), "a mixture of experts"),
    (Part("scale_factor_adapters"), "adapters"),
    (Part("adaptmlp"), "adapters"),
    (Part("qweight"), QUANTIZED),
    (Part("qzeros"), QUANTIZED),
    (Part("quant_state"), QUANTIZED),
    (Part("SCB"), QUANTIZED),
    (Part("weight_scale"), QUANTIZED),
    (Part("zero_point"), QUANTIZED),
    (Part("weight_orig"), "weights under a parametrization; remove it before the export"),
    (Part("parametrizations"), "weights under a parametrization; remove it before the export"),
];

const REGISTERS: &str = "register tokens";
const PRE_NORM: &str = "a norm in front of the blocks (as CLIP's)";
const ROTARY: &str = "rotary positions";
const GATED: &str = "gated MLPs (SwiGLU)";
const ATTENTION_POOLING: &str = "attention pooling";
const QUERY_NORM: &str = "norms of queries and keys";
const RELATIVE: &str = "relative positions";
const HYBRID: &str = "a convolutional stem";
const LORA: &str = "LoRA adapters; merge them into the weights before the export (`merge_and_unload`)";
const QUANTIZED: &str = "quantized weights; export the float ones";

impl Sign {
    fn is_in(&self, name: &str) -> bool {
        match self {
            Part(part) => name.split('.').any(|piece| piece == *part),
            Inside(text) => name.contains(text),
        }
    }
}

/// A feature that the engine does not have, with a tensor that shows it.
pub(crate) fn unsupported<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<(&'static str, &'a str)> {
    SIGNS.iter().find_map(|(sign, feature)| {
        let name = names.clone().find(|name| sign.is_in(name))?;
        Some((*feature, name))
    })
}

/// A feature that only shapes, or tensors that are absent, show; names are canonical.
pub(crate) fn unsupported_by_shape(
    tensors: &BTreeMap<String, FloatTensor>,
) -> Option<(&'static str, String)> {
    let shape = |name: &str| tensors.get(name).map(|tensor| tensor.shape.as_slice());
    if let (Some(&[wide, _]), Some(&[_, narrow])) =
        (shape("blocks.0.mlp.fc1.weight"), shape("blocks.0.mlp.fc2.weight"))
    {
        if narrow > 0 && wide == 2 * narrow {
            return Some((GATED, "blocks.0.mlp.fc1.weight".into()));
        }
    }
    let norm = "blocks.0.norm1.weight";
    if shape(norm).is_some() && shape("blocks.0.norm1.bias").is_none() {
        return Some(("norms without an offset (RMSNorm, or LayerNorm without bias)", norm.into()));
    }
    let embedded = shape("patch_embed.proj.weight").is_some();
    if embedded && shape("pos_embed").is_none() && shape(norm).is_some() {
        return Some(("no learned positions (rotary, relative or fixed ones are computed)", norm.into()));
    }
    None
}

/// Families of networks by a tensor that they have, for files that are no ViT at all.
const FAMILIES: &[(&str, &str)] = &[
    ("text_model.", "a CLIP or SigLIP with its text model"),
    ("visual.transformer.resblocks", "OpenAI's or OpenCLIP's CLIP"),
    ("transformer.resblocks", "OpenAI's or OpenCLIP's CLIP"),
    ("vision_model.embeddings", "CLIP's or SigLIP's image model"),
    ("embeddings.patch_embedding.weight", "CLIP's or SigLIP's image model"),
    ("relative_position_bias_table", "a Swin Transformer or a BEiT, with relative positions"),
    ("image_encoder.", "a Segment Anything model"),
    ("vision_encoder.", "a Segment Anything model"),
    ("layer1.0.conv1.weight", "a ResNet"),
    ("stages.0.0.dwconv.weight", "a ConvNeXt"),
    ("stages.0.blocks.0.conv_dw.weight", "a ConvNeXt"),
    ("model.embed_tokens.weight", "a language model"),
    ("embed_tokens.weight", "a language model"),
    ("embeddings.word_embeddings.weight", "a language model (BERT)"),
    ("features.0.0.weight", "a convolutional network of torchvision"),
    ("body.0.body.0.weight", "a convolutional restoration network"),
];

/// What a file of an unknown architecture seems to be.
pub(crate) fn family<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    FAMILIES
        .iter()
        .find_map(|(sign, family)| names.clone().any(|name| name.contains(sign)).then_some(*family))
}

/// The error for a file of an unknown architecture, with some of its tensors' names.
pub(crate) fn unknown_architecture<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a String> + Clone,
) -> CheckpointError {
    let family = family(names.clone().map(String::as_str));
    let family = family.map_or(String::new(), |family| format!(" (it looks like {family})"));
    let seen: Vec<_> = names.take(5).map(|n| format!("`{n}`")).collect();
    let seen = match seen.is_empty() {
        true => "no tensors".into(),
        false => format!("tensors such as {}", seen.join(", ")),
    };
    CheckpointError::UnknownArchitecture { path: path.to_path_buf(), family, seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_told_by_whole_parts_of_names() {
        let feature = |name: &str| unsupported([name].into_iter()).map(|(feature, _)| feature);
        assert_eq!(feature("blocks.0.mlp.w12.weight"), Some(GATED));
        assert_eq!(feature("reg_token"), Some(REGISTERS));
        assert_eq!(feature("vision_model.pre_layrnorm.weight"), Some(PRE_NORM));
        assert_eq!(feature("blocks.3.attn.q_norm.weight"), Some(QUERY_NORM));
        for plain in
            ["blocks.0.attn.qkv.weight", "pos_embed", "norm.weight", "head.weight", "blocks.0.norm1.bias"]
        {
            assert_eq!(feature(plain), None, "{plain}");
        }
    }

    #[test]
    fn a_gated_mlp_is_told_by_its_shapes() {
        let mut tensors = BTreeMap::new();
        let mut add = |name: &str, shape: [usize; 2]| {
            tensors.insert(name.to_string(), FloatTensor { shape: shape.to_vec(), data: vec![] });
        };
        add("blocks.0.mlp.fc1.weight", [64, 16]);
        add("blocks.0.mlp.fc2.weight", [16, 32]);
        assert_eq!(unsupported_by_shape(&tensors).unwrap().0, GATED);
    }
}
