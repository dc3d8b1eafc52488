//! A model's hyperparameters from the shapes of its tensors, its metadata and the caller's options.
use super::canonical::Canonical;
use super::metadata::Metadata;
use super::{CheckpointError, FloatTensor, LoadOptions};
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};

/// Number of heads by token width in every ViT and DeiT that was published under these sizes (tiny to giant).
fn usual_heads(dim: usize) -> Option<usize> {
    [(192, 3), (384, 6), (512, 8), (768, 12), (1024, 16), (1280, 16), (1408, 16), (1664, 16)]
        .into_iter()
        .find_map(|(d, heads)| (d == dim).then_some(heads))
}

/// The first block's or the stem's tensor, whose shape gives hyperparameters, so that the rank must be right.
fn shape_of<const RANK: usize>(
    model: &Canonical,
    name: &str,
    axes: &str,
) -> Result<[usize; RANK], CheckpointError> {
    let Some(tensor) = model.tensors.get(name) else {
        return Err(CheckpointError::MissingTensor {
            path: model.path.clone(),
            tensor: model.source_name(name),
            expected: vec![],
            hint: format!("its shape {axes} gives the model's size: the file is incomplete"),
        });
    };
    let shape: Option<[usize; RANK]> = tensor.shape.as_slice().try_into().ok();
    shape.filter(|s| s.iter().all(|d| *d > 0)).ok_or_else(|| CheckpointError::Shape {
        path: model.path.clone(),
        tensor: model.source_name(name),
        expected: axes.into(),
        found: tensor.shape.clone(),
        hint: "the model's size is read from it".into(),
    })
}

fn depth_of(model: &Canonical) -> usize {
    let number = |name: &String| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    model.tensors.keys().filter_map(number).max().map_or(0, |last| last + 1)
}

/// Reads the configuration; afterwards `model`'s position embedding has one row per token.
pub(super) fn config(
    model: &mut Canonical,
    metadata: &Metadata,
    options: &LoadOptions,
) -> Result<VitConfig, CheckpointError> {
    let [dim, channels, patch_height, patch_width] =
        shape_of(model, "patch_embed.proj.weight", "[dim, channels, patch height, patch width]")?;
    let [hidden, _] = shape_of(model, "blocks.0.mlp.fc1.weight", "[hidden, dim]")?;
    let depth = depth_of(model);
    let has = |name: &str| model.tensors.contains_key(name);
    let classes =
        if has("head.weight") { shape_of::<2>(model, "head.weight", "[classes, dim]")?[0] } else { 0 };
    let head = match (classes, has("head_dist.weight")) {
        (0, _) => Head::None,
        (_, false) => Head::Linear,
        (_, true) => Head::Distilled,
    };
    let (class_token, distill_token) = (has("cls_token"), has("dist_token"));
    let norm_after_pool = has("fc_norm.weight");
    let norm_before_pool = has("norm.weight");
    let heads = options.heads.or(metadata.heads).or(usual_heads(dim));
    let heads = heads.ok_or_else(|| CheckpointError::HeadsUnknown { path: model.path.clone(), dim })?;
    // timm gives a model an `fc_norm` if and only if it averages the tokens.
    let pool_of_names = if class_token && !norm_after_pool { Pool::Token } else { Pool::Mean };
    let mut config = VitConfig {
        image_height: 0,
        image_width: 0,
        channels,
        patch_height,
        patch_width,
        dim,
        depth,
        heads,
        hidden,
        classes,
        class_token,
        distill_token,
        pool: options.pool.or(metadata.pool).unwrap_or(pool_of_names),
        norm_before_pool,
        norm_after_pool,
        head,
        activation: options.activation.or(metadata.activation).unwrap_or(Activation::GeluErf),
        // timm and torchvision use 1e-6, transformers 1e-12 (their defaults).
        norm_eps: options.norm_eps.or(metadata.norm_eps).unwrap_or(model.naming.default_norm_eps),
        output: output(model, classes, metadata.output, options),
    };
    let image = options.image_size.or(metadata.image);
    (config.image_height, config.image_width) = fit_position_embedding(model, &config, image)?;
    Ok(config)
}

/// What the outputs mean: as the caller says, as config.json says, else what is meant where nothing is said.
fn output(model: &mut Canonical, classes: usize, said: Option<Output>, options: &LoadOptions) -> Output {
    let said = said.filter(|said| classes > 0 && !(classes == 1 && *said == Output::Softmax));
    if classes == 1 && said.is_none() && options.output.is_none() {
        let warning = "the model has one output, of which the value is shown: pass --scores sigmoid if it is a logit, or \
                       --scores values if that is right";
        model.warnings.push(warning.into());
    }
    options.output.or(said).unwrap_or(Output::unsaid(classes))
}

/// A saved configuration with the caller's options put over it.
pub(super) fn overridden(mut config: VitConfig, options: &LoadOptions) -> VitConfig {
    config.heads = options.heads.unwrap_or(config.heads);
    config.activation = options.activation.unwrap_or(config.activation);
    config.norm_eps = options.norm_eps.unwrap_or(config.norm_eps);
    config.pool = options.pool.unwrap_or(config.pool);
    // Earlier versions saved nothing of it.
    let saved = if config.output == Output::Softmax { Output::unsaid(config.classes) } else { config.output };
    config.output = options.output.unwrap_or(saved);
    (config.image_height, config.image_width) =
        options.image_size.unwrap_or((config.image_height, config.image_width));
    config
}

/// Finds the image size that fits the number of rows of the position embedding, or checks the one given.
/// Prefix tokens without a row (timm's `no_embed_class`) get one of zeros.
fn fit_position_embedding(
    model: &mut Canonical,
    config: &VitConfig,
    image: Option<(usize, usize)>,
) -> Result<(usize, usize), CheckpointError> {
    let (patch_height, patch_width, prefix) =
        (config.patch_height, config.patch_width, config.prefix_tokens());
    let shape = model.tensors.get("pos_embed").map(|t| t.shape.clone()).unwrap_or_default();
    // (1, tokens, dim), or without the leading 1.
    let rows = match shape[..] {
        [1, rows, _] | [rows, _] => rows,
        _ => shape_of::<3>(model, "pos_embed", "[1, tokens, dim]")?[1],
    };
    let error = |what: String, way_out: &str| CheckpointError::Config {
        path: model.path.clone(),
        what: format!("`{}` has {rows} rows, {what}", model.source_name("pos_embed")),
        way_out: way_out.into(),
    };
    let square = |n: usize| Some(n.isqrt()).filter(|side| *side > 0 && side * side == n);
    let (height, width, patches) = match image {
        Some((height, width)) => {
            if height == 0 || width == 0 || height % patch_height != 0 || width % patch_width != 0 {
                let what = format!(
                    "and a {height}×{width} image is no whole number of {patch_height}×{patch_width} patches"
                );
                return Err(error(what, "pass the right --image-size"));
            }
            (height, width, (height / patch_height) * (width / patch_width))
        }
        None => {
            let side = rows.checked_sub(prefix).and_then(square).or(square(rows));
            let side = side.ok_or_else(|| {
                error(
                    format!("which with {prefix} prefix tokens is no square grid of patches"),
                    "pass --image-size HEIGHTxWIDTH",
                )
            })?;
            (side * patch_height, side * patch_width, side * side)
        }
    };
    if rows == patches && prefix > 0 {
        prepend_zero_rows(model.tensors.get_mut("pos_embed"), prefix, config.dim);
    } else if rows != patches + prefix {
        let what = format!(
            "but a {height}×{width} image has {patches} patches of {patch_height}×{patch_width}, with {prefix} prefix tokens"
        );
        return Err(error(what, "pass the --image-size that the weights were trained with"));
    }
    Ok((height, width))
}

fn prepend_zero_rows(tensor: Option<&mut FloatTensor>, rows: usize, dim: usize) {
    if let Some(tensor) = tensor {
        tensor.data.splice(0..0, std::iter::repeat_n(0.0, rows * dim));
        tensor.shape = vec![1, tensor.data.len() / dim, dim];
    }
}
