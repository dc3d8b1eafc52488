//! The tensor names of the libraries that ViTs come from, and their translation to timm's.

use crate::checkpoint::archive::signatures;

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It is the canonical tensor of this name.
    Tensor(&'static str),
    /// It is one of three row blocks (0: query, 1: key, 2: value) of this canonical tensor.
    Part(&'static str, usize),
    /// It plays no role at inference.
    Ignore,
}

/// `(name in the file, target)`: `#` stands for a block's number, a final `.*` for `.weight` or `.bias`.
type Rule = (&'static str, Target);

/// One library's naming scheme.
#[derive(Debug)]
pub(crate) struct Naming {
    pub library: &'static str,
    /// Every model of the library has this tensor, and no other library's has. What stands before it is a
    /// prefix.
    pub signature: &'static str,
    /// The library's default ε of layer norms.
    pub default_norm_eps: f32,
    rules: &'static [Rule],
    /// Beginnings of names that play no role at inference, such as decoders of masked autoencoders.
    ignored: &'static [&'static str],
}

use Target::{Ignore, Part, Tensor};

const TIMM: Naming = Naming {
    library: "timm",
    signature: signatures::TIMM,
    default_norm_eps: 1e-6,
    rules: &[
        ("cls_token", Tensor("cls_token")),
        ("dist_token", Tensor("dist_token")),
        ("pos_embed", Tensor("pos_embed")),
        ("patch_embed.proj.*", Tensor("patch_embed.proj.*")),
        ("blocks.#.norm1.*", Tensor("blocks.#.norm1.*")),
        ("blocks.#.attn.qkv.*", Tensor("blocks.#.attn.qkv.*")),
        ("blocks.#.attn.proj.*", Tensor("blocks.#.attn.proj.*")),
        ("blocks.#.ls1.gamma", Tensor("blocks.#.ls1.gamma")),
        ("blocks.#.norm2.*", Tensor("blocks.#.norm2.*")),
        ("blocks.#.mlp.fc1.*", Tensor("blocks.#.mlp.fc1.*")),
        ("blocks.#.mlp.fc2.*", Tensor("blocks.#.mlp.fc2.*")),
        ("blocks.#.ls2.gamma", Tensor("blocks.#.ls2.gamma")),
        ("norm.*", Tensor("norm.*")),
        ("fc_norm.*", Tensor("fc_norm.*")),
        ("head_dist.*", Tensor("head_dist.*")),
        // BEiT's and EVA's way to write LayerScale, and biases without one of the keys.
        ("blocks.#.gamma_1", Tensor("blocks.#.ls1.gamma")),
        ("blocks.#.gamma_2", Tensor("blocks.#.ls2.gamma")),
        ("blocks.#.attn.q_bias", Part("blocks.#.attn.qkv.bias", 0)),
        ("blocks.#.attn.k_bias", Part("blocks.#.attn.qkv.bias", 1)),
        ("blocks.#.attn.v_bias", Part("blocks.#.attn.qkv.bias", 2)),
        ("mask_token", Ignore),
    ],
    ignored: &["decoder_", "decoder.", "n_averaged"],
};

const HUGGING_FACE: Naming = Naming {
    library: "Hugging Face transformers",
    signature: signatures::HUGGING_FACE,
    default_norm_eps: 1e-12,
    rules: &[
        ("embeddings.cls_token", Tensor("cls_token")),
        ("embeddings.distillation_token", Tensor("dist_token")),
        ("embeddings.mask_token", Ignore),
        ("embeddings.position_ids", Ignore),
        ("embeddings.position_embeddings", Tensor("pos_embed")),
        ("embeddings.patch_embeddings.projection.*", Tensor("patch_embed.proj.*")),
        ("encoder.layer.#.layernorm_before.*", Tensor("blocks.#.norm1.*")),
        ("encoder.layer.#.attention.attention.query.*", Part("blocks.#.attn.qkv.*", 0)),
        ("encoder.layer.#.attention.attention.key.*", Part("blocks.#.attn.qkv.*", 1)),
        ("encoder.layer.#.attention.attention.value.*", Part("blocks.#.attn.qkv.*", 2)),
        ("encoder.layer.#.attention.output.dense.*", Tensor("blocks.#.attn.proj.*")),
        ("encoder.layer.#.layernorm_after.*", Tensor("blocks.#.norm2.*")),
        ("encoder.layer.#.intermediate.dense.*", Tensor("blocks.#.mlp.fc1.*")),
        ("encoder.layer.#.output.dense.*", Tensor("blocks.#.mlp.fc2.*")),
        // The names that transformers 5 uses inside the model, and may write.
        ("layers.#.layernorm_before.*", Tensor("blocks.#.norm1.*")),
        ("layers.#.attention.q_proj.*", Part("blocks.#.attn.qkv.*", 0)),
        ("layers.#.attention.k_proj.*", Part("blocks.#.attn.qkv.*", 1)),
        ("layers.#.attention.v_proj.*", Part("blocks.#.attn.qkv.*", 2)),
        ("layers.#.attention.o_proj.*", Tensor("blocks.#.attn.proj.*")),
        ("layers.#.layernorm_after.*", Tensor("blocks.#.norm2.*")),
        ("layers.#.mlp.fc1.*", Tensor("blocks.#.mlp.fc1.*")),
        ("layers.#.mlp.fc2.*", Tensor("blocks.#.mlp.fc2.*")),
        // DINOv2.
        ("encoder.layer.#.norm1.*", Tensor("blocks.#.norm1.*")),
        ("encoder.layer.#.norm2.*", Tensor("blocks.#.norm2.*")),
        ("encoder.layer.#.layer_scale1.lambda1", Tensor("blocks.#.ls1.gamma")),
        ("encoder.layer.#.layer_scale2.lambda1", Tensor("blocks.#.ls2.gamma")),
        ("encoder.layer.#.mlp.fc1.*", Tensor("blocks.#.mlp.fc1.*")),
        ("encoder.layer.#.mlp.fc2.*", Tensor("blocks.#.mlp.fc2.*")),
        // BEiT and Data2Vec with absolute positions.
        ("encoder.layer.#.lambda_1", Tensor("blocks.#.ls1.gamma")),
        ("encoder.layer.#.lambda_2", Tensor("blocks.#.ls2.gamma")),
        ("pooler.layernorm.*", Tensor("fc_norm.*")),
        ("layers.#.norm1.*", Tensor("blocks.#.norm1.*")),
        ("layers.#.norm2.*", Tensor("blocks.#.norm2.*")),
        ("layers.#.layer_scale1.lambda1", Tensor("blocks.#.ls1.gamma")),
        ("layers.#.layer_scale2.lambda1", Tensor("blocks.#.ls2.gamma")),
        ("layernorm.*", Tensor("norm.*")),
        ("distillation_classifier.*", Tensor("head_dist.*")),
    ],
    ignored: &["pooler.dense.", "decoder.", "n_averaged"],
};

const TORCHVISION: Naming = Naming {
    library: "torchvision",
    signature: signatures::TORCHVISION,
    default_norm_eps: 1e-6,
    rules: &[
        ("class_token", Tensor("cls_token")),
        ("encoder.pos_embedding", Tensor("pos_embed")),
        ("conv_proj.*", Tensor("patch_embed.proj.*")),
        ("encoder.layers.encoder_layer_#.ln_1.*", Tensor("blocks.#.norm1.*")),
        ("encoder.layers.encoder_layer_#.self_attention.in_proj_weight", Tensor("blocks.#.attn.qkv.weight")),
        ("encoder.layers.encoder_layer_#.self_attention.in_proj_bias", Tensor("blocks.#.attn.qkv.bias")),
        ("encoder.layers.encoder_layer_#.self_attention.out_proj.*", Tensor("blocks.#.attn.proj.*")),
        ("encoder.layers.encoder_layer_#.ln_2.*", Tensor("blocks.#.norm2.*")),
        ("encoder.layers.encoder_layer_#.mlp.0.*", Tensor("blocks.#.mlp.fc1.*")),
        ("encoder.layers.encoder_layer_#.mlp.3.*", Tensor("blocks.#.mlp.fc2.*")),
        // Files saved before torchvision 0.13.
        ("encoder.layers.encoder_layer_#.mlp.linear_1.*", Tensor("blocks.#.mlp.fc1.*")),
        ("encoder.layers.encoder_layer_#.mlp.linear_2.*", Tensor("blocks.#.mlp.fc2.*")),
        ("encoder.ln.*", Tensor("norm.*")),
    ],
    ignored: &["n_averaged"],
};

/// A translated name: canonical name, row block if it is only a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Translated {
    Whole(String),
    Part(String, usize),
    Ignored,
    Unknown,
}

impl Naming {
    /// The naming scheme of a file and every prefix before a backbone's names (`vit.`, `module.`, …): more
    /// than one if the file holds several models.
    pub fn recognise<'a>(
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<(&'static Naming, Vec<&'a str>)> {
        [&TIMM, &HUGGING_FACE, &TORCHVISION].into_iter().find_map(|naming| {
            let is_prefix = |p: &&str| p.is_empty() || p.ends_with('.');
            let prefixes = names.clone().filter_map(|n| n.strip_suffix(naming.signature)).filter(is_prefix);
            Some((naming, prefixes.collect::<Vec<_>>())).filter(|(_, prefixes)| !prefixes.is_empty())
        })
    }

    pub fn translate(&self, prefix: &str, name: &str) -> Translated {
        let name = name.strip_prefix(prefix).unwrap_or(name);
        if self.ignored.iter().any(|start| name.starts_with(start)) {
            return Translated::Ignored;
        }
        let unchunked = unchunked(name);
        let name = unchunked.as_deref().unwrap_or(name);
        for (template, target) in self.rules {
            let Some(captures) = match_template(template, name) else { continue };
            return match *target {
                Tensor(to) => Translated::Whole(fill_template(to, captures)),
                Part(to, index) => Translated::Part(fill_template(to, captures), index),
                Ignore => Translated::Ignored,
            };
        }
        Translated::Unknown
    }

    /// The name that this scheme gives to a canonical tensor (or to row block `part` of it), for messages.
    pub fn source_name(&self, prefix: &str, canonical: &str, part: usize) -> String {
        let found = self.rules.iter().find_map(|(from, target)| match target {
            Part(_, index) if *index != part => None,
            Tensor(to) | Part(to, _) => match_template(to, canonical).map(|c| fill_template(from, c)),
            Ignore => None,
        });
        // The second classifier of transformers' models stands outside of the prefixed backbone.
        let prefix = if canonical.starts_with("head") { "" } else { prefix };
        format!("{prefix}{}", found.as_deref().unwrap_or(canonical))
    }
}

/// DINOv2 may keep its blocks in chunks, `blocks.CHUNK.BLOCK.…`; a block's number counts from the model's
/// start in every chunk.
fn unchunked(name: &str) -> Option<String> {
    let (chunk, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let (block, _) = rest.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(chunk) && is_number(block)).then(|| format!("blocks.{rest}"))
}

/// What `#` and `.*` stood for.
type Captures<'a> = (&'a str, &'a str);

fn match_template<'a>(template: &str, name: &'a str) -> Option<Captures<'a>> {
    let (template, name, leaf) = match template.strip_suffix(".*") {
        None => (template, name, ""),
        Some(stem) => {
            let leaf = if name.ends_with(".weight") { ".weight" } else { ".bias" };
            (stem, name.strip_suffix(leaf)?, leaf)
        }
    };
    let Some((before, after)) = template.split_once('#') else {
        return (template == name).then_some(("", leaf));
    };
    let number = name.strip_prefix(before)?.strip_suffix(after)?;
    let canonical_number = number.parse::<u32>().is_ok_and(|n| n.to_string() == number);
    canonical_number.then_some((number, leaf))
}

fn fill_template(template: &str, (number, leaf): Captures) -> String {
    let stem = template.strip_suffix(".*").unwrap_or(template);
    stem.replace('#', number) + leaf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_library_is_recognised_by_its_signature_and_prefix() {
        for (name, library, prefix) in [
            ("patch_embed.proj.weight", "timm", ""),
            ("module.patch_embed.proj.weight", "timm", "module."),
            ("vit.embeddings.patch_embeddings.projection.weight", "Hugging Face transformers", "vit."),
            ("embeddings.patch_embeddings.projection.weight", "Hugging Face transformers", ""),
            ("conv_proj.weight", "torchvision", ""),
        ] {
            let (naming, found) = Naming::recognise(["x.weight", name].into_iter()).unwrap();
            assert_eq!((naming.library, found), (library, vec![prefix]));
        }
        assert!(Naming::recognise(["layer1.0.conv1.weight", "xconv_proj.weight"].into_iter()).is_none());
    }

    #[test]
    fn names_translate_to_canonical_ones_and_back() {
        let part = HUGGING_FACE.translate("deit.", "deit.encoder.layer.11.attention.attention.value.bias");
        assert_eq!(part, Translated::Part("blocks.11.attn.qkv.bias".into(), 2));
        let chunked = TIMM.translate("", "blocks.2.11.attn.qkv.bias");
        assert_eq!(chunked, Translated::Whole("blocks.11.attn.qkv.bias".into()));
        assert_eq!(TIMM.translate("", "decoder_blocks.0.norm1.bias"), Translated::Ignored);
        assert_eq!(HUGGING_FACE.translate("vit.", "vit.pooler.dense.bias"), Translated::Ignored);
        assert_eq!(HUGGING_FACE.translate("", "encoder.layer.x.output.dense.bias"), Translated::Unknown);
        let name = "encoder.layers.encoder_layer_3.self_attention.in_proj_weight";
        assert_eq!(TORCHVISION.translate("", name), Translated::Whole("blocks.3.attn.qkv.weight".into()));
        assert_eq!(TORCHVISION.source_name("", "blocks.3.attn.qkv.weight", 0), name);
        assert_eq!(HUGGING_FACE.source_name("vit.", "norm.weight", 0), "vit.layernorm.weight");
    }
}
