//! What must hold between a configuration and its tensors.
use super::{CheckpointError, FloatTensor};
use std::collections::BTreeMap;
use std::path::Path;
use vitreous::format::Preprocess;
use vitreous::models::vit::{Head, Output, Pool, VitConfig};

/// Name and shape of every tensor that a ViT of this configuration has, in the order of the forward pass.
pub fn tensor_shapes(config: &VitConfig) -> Vec<(String, Vec<usize>)> {
    let VitConfig { dim, hidden, classes, .. } = *config;
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    let patch = [dim, config.channels, config.patch_height, config.patch_width];
    add("patch_embed.proj.weight".into(), &patch);
    add("patch_embed.proj.bias".into(), &[dim]);
    if config.class_token {
        add("cls_token".into(), &[1, 1, dim]);
    }
    if config.distill_token {
        add("dist_token".into(), &[1, 1, dim]);
    }
    add("pos_embed".into(), &[1, config.tokens(), dim]);
    let mut layer = |name: String, weight: &[usize]| {
        add(format!("{name}.weight"), weight);
        add(format!("{name}.bias"), &weight[..1]);
    };
    for block in 0..config.depth {
        layer(format!("blocks.{block}.norm1"), &[dim]);
        layer(format!("blocks.{block}.attn.qkv"), &[3 * dim, dim]);
        layer(format!("blocks.{block}.attn.proj"), &[dim, dim]);
        layer(format!("blocks.{block}.norm2"), &[dim]);
        layer(format!("blocks.{block}.mlp.fc1"), &[hidden, dim]);
        layer(format!("blocks.{block}.mlp.fc2"), &[dim, hidden]);
    }
    if config.norm_before_pool {
        layer("norm".into(), &[dim]);
    }
    if config.norm_after_pool {
        layer("fc_norm".into(), &[dim]);
    }
    if config.head != Head::None {
        layer("head".into(), &[classes, dim]);
    }
    if config.second_head_token().is_some() {
        layer("head_dist".into(), &[classes, dim]);
    }
    shapes
}

/// Checks every relation inside of a configuration.
pub fn validate_config(path: &Path, c: &VitConfig) -> Result<(), CheckpointError> {
    let fail = |what: String, way_out: &str| {
        Err(CheckpointError::Config { path: path.to_path_buf(), what, way_out: way_out.into() })
    };
    let sizes =
        [c.image_height, c.image_width, c.patch_height, c.patch_width, c.dim, c.depth, c.heads, c.hidden];
    if sizes.contains(&0) {
        return fail(
            format!("a size is 0: {c:?}"),
            "image, patch, dim, depth, heads and hidden must be at least 1",
        );
    }
    if sizes.iter().any(|size| *size > 1 << 20) || c.depth > 1 << 12 || c.classes > 1 << 24 {
        return fail(format!("a size is beyond all reason: {c:?}"), "check config.json and the options");
    }
    if !(1..=4).contains(&c.channels) {
        return fail(format!("{} colour channels", c.channels), "supported are 1 to 4");
    }
    if !c.image_height.is_multiple_of(c.patch_height) || !c.image_width.is_multiple_of(c.patch_width) {
        let image = format!("{}×{}", c.image_height, c.image_width);
        let patch = format!("{}×{}", c.patch_height, c.patch_width);
        return fail(
            format!("an image of {image} is no whole number of {patch} patches"),
            "pass --image-size",
        );
    }
    if !c.dim.is_multiple_of(c.heads) {
        return fail(format!("dim {} is no multiple of {} heads", c.dim, c.heads), "pass the right --heads");
    }
    if c.pool == Pool::Token && !c.class_token {
        return fail("the class token is to be pooled, but there is none".into(), "pass --pool mean");
    }
    if c.distill_token && !c.class_token {
        return fail("a distillation token without a class token".into(), "check the file's tensors");
    }
    if c.head == Head::Distilled && (!c.distill_token || c.pool != Pool::Token) {
        return fail(
            "two heads without a distillation token to read".into(),
            "check the file's tensors and --pool",
        );
    }
    if c.head == Head::TokenAndMean && (!c.class_token || c.pool != Pool::Mean) {
        return fail(
            "a classifier of class token and mean without a class token".into(),
            "check the file's tensors and --pool",
        );
    }
    if c.second_head_token().is_some() && c.norm_after_pool {
        return fail(
            "two classifiers behind a norm of the pooled features".into(),
            "check the file's tensors",
        );
    }
    if (c.classes == 0) != (c.head == Head::None) {
        return fail(format!("{} classes with head {:?}", c.classes, c.head), "check config.json");
    }
    if c.classes == 1 && c.output == Output::Softmax {
        return fail(
            "the softmax of a single output is always 1".into(),
            "pass --scores values if it is a value, or --scores sigmoid if it is a logit",
        );
    }
    if c.head == Head::None && c.output != Output::Softmax {
        return fail("a model without head gives features, no scores".into(), "leave out --scores");
    }
    if !(c.norm_eps.is_finite() && c.norm_eps >= 0.0) {
        return fail(format!("layer norm's epsilon is {}", c.norm_eps), "pass --norm-eps");
    }
    Ok(())
}

/// Checks that a preprocessing can be run.
pub fn validate_preprocess(path: &Path, p: &Preprocess) -> Result<(), CheckpointError> {
    let good = p.mean.iter().all(|m| m.is_finite()) && p.std.iter().all(|s| s.is_finite() && *s > 0.0);
    if good && (1..=1 << 16).contains(&p.resize) {
        return Ok(());
    }
    Err(CheckpointError::Config {
        path: path.to_path_buf(),
        what: format!("preprocessing cannot be run: {p:?}"),
        way_out: "resize must be 1 to 65,536, mean finite and std positive".into(),
    })
}

/// Takes tensors of exactly these names and shapes out of `tensors`. Leaves the others. `hint` says where the
/// shapes come from.
pub(super) fn take_tensors(
    path: &Path,
    shapes: Vec<(String, Vec<usize>)>,
    tensors: &mut BTreeMap<String, FloatTensor>,
    hint: &str,
    source_name: &dyn Fn(&str) -> String,
) -> Result<BTreeMap<String, FloatTensor>, CheckpointError> {
    let mut taken = BTreeMap::new();
    for (name, shape) in shapes {
        let Some(mut tensor) = tensors.remove(&name) else {
            return Err(CheckpointError::MissingTensor {
                path: path.to_path_buf(),
                tensor: source_name(&name),
                expected: shape,
                hint: hint.to_string(),
            });
        };
        // Axes of length 1 do not change the layout, and libraries differ in them.
        let significant = |shape: &[usize]| shape.iter().copied().filter(|d| *d != 1).collect::<Vec<_>>();
        if significant(&tensor.shape) != significant(&shape)
            || tensor.data.len() != shape.iter().product::<usize>()
        {
            return Err(CheckpointError::Shape {
                path: path.to_path_buf(),
                tensor: source_name(&name),
                expected: format!("{shape:?}"),
                found: tensor.shape,
                hint: "the rest of the model asks for it; is the file of one model, and config.json beside \
                       it of the same?"
                    .into(),
            });
        }
        if let Some(index) = tensor.data.iter().position(|v| !v.is_finite()) {
            return Err(CheckpointError::NotFinite {
                path: path.to_path_buf(),
                tensor: source_name(&name),
                index,
                value: tensor.data[index],
            });
        }
        tensor.shape = shape;
        taken.insert(name, tensor);
    }
    Ok(taken)
}

/// What the ViT's shapes follow from, for messages.
pub(super) fn shapes_hint(config: &VitConfig) -> String {
    format!("the model has {} blocks of dim {}", config.depth, config.dim)
}
