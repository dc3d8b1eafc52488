//! What must hold between a configuration and its tensors.
use crate::checkpoint::checks::check_eps;
use crate::checkpoint::error::CheckpointError;
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
    // The format's bounds (docs/format.md), with what sets each size.
    let sizes = [
        ("the image's height", c.image_height, 16_384, "--image-size"),
        ("the image's width", c.image_width, 16_384, "--image-size"),
        ("the patches' height", c.patch_height, 16_384, "--patch"),
        ("the patches' width", c.patch_width, 16_384, "--patch"),
        ("the tokens' width", c.dim, 16_384, "--dim"),
        // More blocks than the format takes are missed first, where a file has a gap.
        ("the number of blocks", c.depth, 1 << 12, "--depth"),
        ("the number of heads", c.heads, 1024, "--heads"),
        ("the MLP's hidden width", c.hidden, 65_535, "--hidden"),
    ];
    if let Some((name, size, most, option)) =
        sizes.into_iter().find(|(_, n, most, _)| !(1..=*most).contains(n))
    {
        let beyond = if size > 0 { ", which is beyond all reason" } else { "" };
        return fail(
            format!("{name} is {size}{beyond}: expected 1 to {most}"),
            &format!("check the file and config.json; in a training {option} sets it"),
        );
    }
    if c.classes > 1 << 20 {
        return fail(format!("{} classes, expected at most 1,048,576", c.classes), "check the classifier");
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
    if c.patch_bytes() > 131_071 {
        let what = format!("a patch of {}×{} pixels is too large", c.patch_height, c.patch_width);
        return fail(what, "its height, width and channels multiply to at most 131,071");
    }
    if c.patches() + 2 > 65_535 {
        let patches = (c.image_height / c.patch_height, c.image_width / c.patch_width);
        return fail(
            format!("an image of {}×{} patches is too large", patches.0, patches.1),
            "there are at most 65,533 of them; pass a smaller --image-size",
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
        let has = if c.head == Head::None { "without" } else { "with" };
        return fail(format!("{} classes {has} a classifier", c.classes), "check the file's tensors");
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
    check_eps(path, c.norm_eps)
}

/// Checks that a preprocessing can be run.
pub fn validate_preprocess(path: &Path, p: &Preprocess) -> Result<(), CheckpointError> {
    let fail = |what: String, way_out: &str| {
        Err(CheckpointError::Config { path: path.to_path_buf(), what, way_out: way_out.into() })
    };
    if !(1..=1 << 16).contains(&p.resize) {
        return fail(
            format!("photographs are to be resized to {} pixels", p.resize),
            "give --resize 1 to 65536",
        );
    }
    if !p.mean.iter().all(|m| m.is_finite()) {
        return fail(format!("the mean of the pixels is {:?}", p.mean), "pass --mean");
    }
    if !p.std.iter().all(|s| s.is_finite() && *s > 0.0) {
        return fail(format!("the deviation of the pixels is {:?}", p.std), "pass a positive --std");
    }
    Ok(())
}

/// What the ViT's shapes follow from, for messages.
pub(crate) fn shapes_hint(config: &VitConfig) -> String {
    format!("the model has {} blocks of dim {}", config.depth, config.dim)
}
