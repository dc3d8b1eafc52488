//! Well-known architectures: what a name says of a model that its tensors do not say.
//!
//! timm's come from a table that `tests/goldens/architectures.py` makes from timm itself; transformers' model
//! types, which are few, stand here.
use std::sync::LazyLock;
use vitreous::models::vit::Pool;

/// timm's architectures; see the script for the columns.
const TABLE: &str = include_str!("architectures.tsv");
/// Releases under other names: of file names, and of the architectures that trainings note.
const RELEASES: &str = include_str!("releases.tsv");

/// Mean and standard deviation of ImageNet's pixels, per channel, of 0..1.
pub(crate) const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// One of timm's architectures or of its pretrained tags, or a release under another name.
#[derive(Debug)]
pub(crate) struct Known {
    pub name: &'static str,
    /// Whose release it is, if it is not timm's.
    pub release: Option<&'static str>,
    /// What it needs beyond a plain pre-norm ViT, in words; empty for a plain one.
    pub features: Vec<&'static str>,
    /// Whether a norm stands behind the blocks or behind the pooling.
    pub final_norm: bool,
    pub dim: Option<usize>,
    pub depth: Option<usize>,
    pub heads: Option<usize>,
    pub activation: Option<&'static str>,
    pub norm_eps: Option<f32>,
    pub pool: Option<&'static str>,
    /// (height, width) in pixels.
    pub image: Option<(usize, usize)>,
    pub mean: Option<Vec<f64>>,
    pub std: Option<Vec<f64>>,
    pub interpolation: Option<&'static str>,
    /// The crop's share of the resized image.
    pub crop_pct: Option<f64>,
    pub crop_mode: Option<&'static str>,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| rows(TABLE));
static RELEASED: LazyLock<Vec<Known>> = LazyLock::new(|| rows(RELEASES));

fn rows(table: &'static str) -> Vec<Known> {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines.filter_map(|line| Known::of_row(&header, line)).collect()
}

impl Known {
    fn of_row(header: &[&'static str], line: &'static str) -> Option<Self> {
        let cells: Vec<&str> = line.split('\t').collect();
        let text = |column: &str| {
            let at = header.iter().position(|name| *name == column)?;
            cells.get(at).copied().filter(|cell| !cell.is_empty() && *cell != "-")
        };
        let size = |column: &str| text(column)?.parse::<usize>().ok();
        let numbers = |column: &str| {
            let list = text(column)?.split(',').map(|n| n.trim().parse::<f64>().ok());
            list.collect::<Option<Vec<_>>>()
        };
        let status = text("status")?;
        let features = status.split(',').map(str::trim).filter(|code| !HARMLESS.contains(code));
        let number = |column: &str| text(column)?.parse::<f64>().ok();
        let of_crop = number("crop").zip(number("resize")).map(|(crop, resize)| crop / resize);
        Some(Self {
            name: text("name")?,
            release: text("release"),
            features: features.map(feature_in_words).collect(),
            final_norm: !status.split(',').any(|code| code.trim() == NO_FINAL_NORM),
            dim: size("dim"),
            depth: size("depth"),
            heads: size("heads"),
            activation: text("activation"),
            norm_eps: text("eps").and_then(|eps| eps.parse().ok()),
            pool: text("global_pool"),
            image: size("height").zip(size("width")),
            mean: numbers("mean"),
            std: numbers("std"),
            interpolation: text("interpolation"),
            crop_pct: number("crop_pct").or(of_crop),
            crop_mode: text("crop_mode").or(of_crop.map(|_| "center")),
        })
    }

    /// What it needs that the engine does not have; the activation is judged apart, since an option can
    /// replace it.
    pub fn obstacle(&self) -> Option<String> {
        (!self.features.is_empty()).then(|| self.features.join(" and "))
    }
}

/// Codes of the table that stand in no one's way: packed at import, or an activation, which an option can
/// replace.
const HARMLESS: [&str; 5] = ["plain", "split_qkv", "split_qkv_bias", "quick_gelu", NO_FINAL_NORM];

/// The code of an architecture without a norm behind its blocks or its pooling.
const NO_FINAL_NORM: &str = "no_final_norm";

/// A code of the table, in words.
fn feature_in_words(code: &'static str) -> &'static str {
    match code {
        "post_norm" => "norms behind attention and MLP (post-norm)",
        "rotary" => "rotary positions",
        "register_tokens" => "register tokens",
        "swiglu" => "gated MLPs (SwiGLU)",
        "attention_pooling" => "attention pooling",
        "qk_norm" => "norms of queries and keys",
        "pre_norm_layer" => "a norm in front of the blocks (as CLIP's)",
        "relative_positions" => "relative positions",
        "class_attention" => "class attention",
        "parallel_blocks" => "parallel attention and MLP",
        "hybrid_stem" => "a convolutional stem",
        "windowed_attention" => "windowed attention",
        "no_positions" => "no learned positions",
        "patch_norm" => "a norm behind the patches",
        "differential_attention" => "differential attention",
        "gated_attention" => "gated attention",
        "grouped_query" => "grouped queries",
        "inner_norm" => "norms inside of attention or MLP",
        "rms_norm" => "norms that do not subtract the mean (RMSNorm)",
        "geglu" => "gated MLPs (GEGLU)",
        "partial_patches" => "images that are no whole number of patches",
        "silu" => "SiLU as activation",
        "other_pooling" => "another pooling than class token or mean",
        "head_width" => "heads of another width than dim / heads",
        "uneven_blocks" => "blocks of different widths",
        "no_proj_bias" => "layers without bias",
        "other" => "layers of its own",
        other => other,
    }
}

/// An architecture by its name, `vit_tiny_patch16_224`, with or without a tag, `.augreg_in21k`: of a tag,
/// where the table has it, else of the architecture.
pub(crate) fn timm(name: &str) -> Option<&'static Known> {
    let name = name.trim().trim_start_matches("timm/");
    let find = |name: &str| KNOWN.iter().find(|known| known.name == name);
    find(name).or_else(|| find(name.split_once('.')?.0))
}

/// What a name of a release stands for, with the width of its tokens: MoCo v3 and DINO both have a
/// `vit_small`, of which `is_moco` tells one. `None` where several releases differ.
pub(crate) fn released(name: &str, dim: usize, is_moco: bool) -> Option<&'static Known> {
    let is_of = |known: &&Known| {
        known.name == name && known.dim == Some(dim) && (known.release == Some("MoCo-v3")) == is_moco
    };
    let mut found = RELEASED.iter().filter(is_of);
    let first = found.next()?;
    found.all(|other| (other.heads, &other.mean) == (first.heads, &first.mean)).then_some(first)
}

/// A file's name without the hash that releases of DeiT and torchvision have:
/// `deit_tiny_patch16_224-a1311bcf`.
pub(crate) fn without_hash(stem: &str) -> &str {
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => stem,
    }
}

/// A model type of transformers.
#[derive(Debug)]
pub(crate) struct ModelType {
    pub name: &'static str,
    /// What it needs that the engine does not have.
    pub obstacle: Option<&'static str>,
    /// How its classifier pools.
    pub pool: TypePool,
    /// ε of its layer norms, where config.json does not say it.
    pub norm_eps: f32,
}

/// What a model type's classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypePool {
    /// One row, as the engine's own kinds.
    Of(Pool),
    /// The class token and the mean of the patch tokens, side by side.
    TokenAndMean,
}

/// Model types of transformers that are vision transformers, or that people take for one.
const MODEL_TYPES: &[ModelType] = &[
    plain("vit", TypePool::Of(Pool::Token), 1e-12),
    plain("deit", TypePool::Of(Pool::Token), 1e-12),
    plain("vit_mae", TypePool::Of(Pool::Token), 1e-12),
    plain("vit_msn", TypePool::Of(Pool::Token), 1e-6),
    plain("ijepa", TypePool::Of(Pool::Mean), 1e-6),
    plain("dinov2", TypePool::TokenAndMean, 1e-6),
    other("dinov2_with_registers", "register tokens"),
    other("dinov3_vit", "rotary positions and register tokens"),
    plain("beit with absolute positions", TypePool::Of(Pool::Token), 1e-12),
    other("beit", "relative positions"),
    other("data2vec-vision", "relative positions"),
    other("clip", "a text model beside the image model"),
    other("clip_vision_model", "a norm in front of the blocks (as CLIP's)"),
    other("siglip", "a text model beside the image model"),
    other("siglip_vision_model", "attention pooling"),
    other("siglip2_vision_model", "attention pooling"),
    other("yolos", "detection tokens"),
    other("vivit", "tokens of videos"),
    other("videomae", "tokens of videos"),
    other("timesformer", "tokens of videos"),
    other("vit_hybrid", "a convolutional stem"),
    other("vitdet", "windowed attention and relative positions"),
    other("vitmatte", "windowed attention and relative positions"),
    other("vitpose", "a head for keypoints"),
    other("vitpose_backbone", "experts and a head for keypoints"),
    other("dpt", "a head for dense prediction"),
    other("depth_anything", "a head for dense prediction"),
    other("sam", "windowed attention and relative positions"),
    other("swin", "shifted windows"),
    other("swinv2", "shifted windows"),
    other("levit", "convolutions and attention biases"),
    other("cvt", "convolutional projections"),
    other("pvt", "spatial reduction of keys and values"),
    other("mobilevit", "convolutions between the blocks"),
    other("convnext", "convolutions instead of attention"),
    other("resnet", "convolutions instead of attention"),
    other("hiera", "pooled windows"),
];

const fn plain(name: &'static str, pool: TypePool, norm_eps: f32) -> ModelType {
    ModelType { name, obstacle: None, pool, norm_eps }
}

const fn other(name: &'static str, obstacle: &'static str) -> ModelType {
    ModelType { name, obstacle: Some(obstacle), pool: TypePool::Of(Pool::Token), norm_eps: 1e-12 }
}

/// A model type by its name.
pub(crate) fn model_type(name: &str) -> Option<&'static ModelType> {
    MODEL_TYPES.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(KNOWN.len() > 200, "{} rows", KNOWN.len());
        for known in KNOWN.iter().filter(|known| known.features.is_empty()) {
            let sizes = [known.dim, known.depth, known.heads];
            assert!(sizes.iter().all(Option::is_some), "{}: {sizes:?}", known.name);
            assert!(
                known.norm_eps.is_some() && known.mean.is_some() && known.std.is_some(),
                "{}",
                known.name
            );
        }
    }

    #[test]
    fn names_are_found_with_tags_hashes_and_hubs() {
        let tiny = timm("vit_tiny_patch16_224").unwrap();
        assert_eq!((tiny.heads, tiny.dim, tiny.depth), (Some(3), Some(192), Some(12)));
        assert_eq!(timm("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k").unwrap().heads, Some(3));
        let deit = timm(without_hash("deit_tiny_patch16_224-a1311bcf")).unwrap();
        assert_eq!(deit.mean.as_deref(), Some(&IMAGENET[0][..]));
        assert!(timm("vit_base_patch16_rpn_224").unwrap().obstacle().unwrap().contains("post-norm"));
        assert!(timm("vit").is_none() && timm(without_hash("model-12345678")).is_none());
        assert_eq!(released("vit_small", 384, true).unwrap().heads, Some(12));
        assert_eq!(released("vit_small", 384, false).unwrap().heads, Some(6));
        assert_eq!(released("dinov2_vits14_pretrain", 384, false).unwrap().crop_pct, Some(0.875));
        assert!(released("dinov2_vits14_pretrain", 192, false).is_none());
    }
}
