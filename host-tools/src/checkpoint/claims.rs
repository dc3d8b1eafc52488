//! What files state of a model that its tensors show too, and what they must agree in.
use super::canonical::Canonical;
use super::json::Json;
use super::metadata::Metadata;
use super::CheckpointError;
use vitreous::models::vit::VitConfig;

/// A statement that the tensors prove or disprove.
pub(super) struct Claim {
    pub what: &'static str,
    pub stated: Stated,
    pub place: String,
}

/// The forms of statements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stated {
    Size(usize),
    /// (height, width) in pixels.
    Patch((usize, usize)),
    /// Of the hidden width to the tokens'.
    Ratio(f64),
    There(bool),
}

/// Keys of timm's `model_args` and of transformers' config.json that state a size, and of which tensor's
/// axis.
const SIZES: [(&str, &str); 14] = [
    ("depth", "blocks"),
    ("num_hidden_layers", "blocks"),
    ("embed_dim", "dim"),
    ("hidden_size", "dim"),
    ("num_features", "dim"),
    ("intermediate_size", "hidden"),
    ("in_chans", "channels"),
    ("num_channels", "channels"),
    ("num_classes", "classes"),
    ("num_labels", "classes"),
    ("num_register_tokens", "register tokens"),
    ("reg_tokens", "register tokens"),
    ("head_dim", HEAD_WIDTH),
    ("attention_head_dim", HEAD_WIDTH),
];
const HEAD_WIDTH: &str = "values per head";

/// Keys that say whether something is there.
const PRESENCES: [(&str, &str); 4] =
    [("class_token", CLASS_TOKEN), ("qkv_bias", QKV_BIAS), ("fc_norm", FC_NORM), ("final_norm", FINAL_NORM)];
const CLASS_TOKEN: &str = "a class token";
const QKV_BIAS: &str = "biases of query, key and value";
const FC_NORM: &str = "a norm behind the pooling (`fc_norm`)";
const FINAL_NORM: &str = "a norm behind the blocks";
const LAYER_SCALE: &str = "LayerScale";

/// Keys that say that the model has what the engine has not, where they are true.
const FEATURES: [(&str, &str); 12] = [
    ("qk_norm", "norms of queries and keys"),
    ("use_qk_norm", "norms of queries and keys"),
    ("pre_norm", "a norm in front of the blocks (as CLIP's)"),
    ("pool_include_prefix", "a pooling of the prefix tokens too"),
    ("scale_attn_norm", "a norm inside of the attention"),
    ("scale_attn_inner_norm", "a norm inside of the attention"),
    ("scale_mlp_norm", "a norm inside of the MLP"),
    ("use_swiglu_ffn", "gated MLPs (SwiGLU)"),
    ("use_rot_pos_emb", "rotary positions"),
    ("use_relative_position_bias", "relative positions"),
    ("use_shared_relative_position_bias", "relative positions"),
    ("use_rel_pos_bias", "relative positions"),
];

/// Other arguments of timm's models, which change nothing at inference or are read elsewhere.
const PASSED_OVER: [&str; 30] = [
    "patch_size",
    "mlp_ratio",
    "init_values",
    "num_heads",
    "img_size",
    "act_layer",
    "block_fn",
    "norm_layer",
    "mlp_layer",
    "attn_layer",
    "embed_layer",
    "pos_embed",
    "norm_eps",
    "global_pool",
    "no_embed_class",
    "proj_bias",
    "dynamic_img_size",
    "dynamic_img_pad",
    "drop_rate",
    "drop_path_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "weight_init",
    "fix_init",
    "strict_img_size",
    "pretrained",
    "device",
    "dtype",
];

/// The statements of one object of a file.
pub(super) fn read(config: &Json, json: &Json, prefix: &str) -> Result<Vec<Claim>, CheckpointError> {
    let mut claims = vec![];
    let mut claim = |key: &str, what, stated: Option<Stated>| {
        if let Some(stated) = stated {
            claims.push(Claim { what, stated, place: config.place(&format!("{prefix}{key}")) });
        }
    };
    for (key, what) in SIZES {
        claim(key, what, json.integer(key)?.map(Stated::Size));
    }
    claim("patch_size", "pixels of a patch", json.height_width("patch_size")?.map(Stated::Patch));
    claim("mlp_ratio", "hidden", json.number("mlp_ratio")?.map(Stated::Ratio));
    for (key, what) in PRESENCES {
        claim(key, what, json.boolean(key)?.map(Stated::There));
    }
    let has_scale = json.number("init_values")?.filter(|value| *value != 0.0);
    claim("init_values", LAYER_SCALE, has_scale.map(|_| Stated::There(true)));
    Ok(claims)
}

/// What a file says the model has and the engine has not, in a sentence.
pub(super) fn feature(config: &Json, json: &Json, prefix: &str) -> Option<String> {
    let place = |key: &str| config.place(&format!("{prefix}{key}"));
    let is_set = |key: &str| json.get(key).is_some_and(|value| value.as_bool() == Some(true));
    if json.get("pos_embed").is_some_and(|value| matches!(value.as_str(), Some("none" | ""))) {
        return Some(format!("{} says that the model has no learned positions", place("pos_embed")));
    }
    let (key, feature) = FEATURES.into_iter().find(|(key, _)| is_set(key))?;
    Some(format!("{} says that the model has {feature}", place(key)))
}

/// Arguments of timm's models of which nothing is known.
pub(super) fn unknown_arguments(arguments: &Json) -> Vec<&str> {
    let is_known = |key: &&str| {
        PASSED_OVER.contains(key)
            || SIZES.iter().any(|(known, _)| known == key)
            || PRESENCES.iter().chain(&FEATURES).any(|(known, _)| known == key)
    };
    arguments.keys().filter(|key| !is_known(key) && arguments.get(key).is_some()).collect()
}

/// The value that several places of a file state alike.
pub(super) fn agreed<T: PartialEq + serde::Serialize>(
    config: &Json,
    stated: impl IntoIterator<Item = (Option<T>, String)>,
) -> Result<Option<(T, String)>, CheckpointError> {
    let mut stated = stated.into_iter().filter_map(|(value, place)| Some((value?, place)));
    let Some((value, place)) = stated.next() else { return Ok(None) };
    let Some((other, other_place)) = stated.find(|(other, _)| *other != value) else {
        return Ok(Some((value, place)));
    };
    let shown = |value: &T| serde_json::to_string(value).unwrap_or_default();
    let (value, other) = (shown(&value), shown(&other));
    Err(config.error(format!("{place} says {value}, and {other_place} says {other}; correct the wrong one")))
}

/// Refuses a model whose tensors are not those that the files beside them, or a well-known name, say.
pub(super) fn check(
    model: &Canonical,
    config: &VitConfig,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    let size = |what: &str| match what {
        "blocks" => Some(config.depth),
        "dim" => Some(config.dim),
        "hidden" => Some(config.hidden),
        "channels" => Some(config.channels),
        "register tokens" => Some(0),
        // A model without classifier may keep the number of the one that it had.
        "classes" => (config.classes > 0).then_some(config.classes),
        _ => None,
    };
    let is_there = |what: &str| match what {
        CLASS_TOKEN => config.class_token,
        QKV_BIAS => model.tensors.contains_key("blocks.0.attn.qkv.bias"),
        FC_NORM => config.norm_after_pool,
        FINAL_NORM => config.norm_before_pool || config.norm_after_pool,
        _ => model.has_layer_scale,
    };
    let fail = |what: String| Err(mismatch(model, what));
    for Claim { what, stated, place } in &metadata.claims {
        match *stated {
            Stated::Size(value) => {
                if let Some(found) = size(what).filter(|found| *found != value) {
                    return fail(format!("{place} says {value} {what}, the tensors have {found}"));
                }
            }
            Stated::Patch((height, width))
                if (height, width) != (config.patch_height, config.patch_width) =>
            {
                let (found_height, found_width) = (config.patch_height, config.patch_width);
                return fail(format!(
                    "{place} says {height}×{width} {what}, the tensors have {found_height}×{found_width}"
                ));
            }
            Stated::Ratio(ratio) if (config.dim as f64 * ratio - config.hidden as f64).abs() >= 1.0 => {
                let (dim, hidden) = (config.dim, config.hidden);
                return fail(format!("{place} says {ratio}, the tensors have {hidden} hidden for {dim} dim"));
            }
            Stated::There(true) if !is_there(what) => {
                return fail(format!("{place} says that the model has {what}, and the tensors have none"));
            }
            Stated::There(false) if is_there(what) => {
                return fail(format!(
                    "{place} says that the model is without {what}, and the tensors have it"
                ));
            }
            _ => {}
        }
    }
    let Some(known) = metadata.identity.timm.filter(|_| !metadata.identity.is_file_name) else {
        return Ok(());
    };
    let says_depth = metadata.claims.iter().any(|claim| claim.what == "blocks");
    match known.depth.filter(|depth| known.dim == Some(config.dim) && config.depth < *depth && !says_depth) {
        Some(depth) => {
            let name = metadata.identity.name.as_deref().unwrap_or_default();
            fail(format!("{name} has {depth} blocks, the tensors have {}", config.depth))
        }
        None => Ok(()),
    }
}

/// The same for what depends on the number of heads, which no tensor shows.
pub(super) fn check_heads(
    model: &Canonical,
    config: &VitConfig,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    for Claim { what, stated, place } in &metadata.claims {
        let Stated::Size(width) = *stated else { continue };
        if *what == HEAD_WIDTH && width.saturating_mul(config.heads) != config.dim {
            let (heads, dim) = (config.heads, config.dim);
            return Err(mismatch(
                model,
                format!("{place} says {width} {what}, and {heads} heads of them are not {dim} dim"),
            ));
        }
    }
    Ok(())
}

fn mismatch(model: &Canonical, what: String) -> CheckpointError {
    CheckpointError::Config {
        path: model.path.clone(),
        what,
        way_out: "are the weights whole (one shard of several?), and config.json of the same model?".into(),
    }
}
