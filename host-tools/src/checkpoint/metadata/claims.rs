//! What files state of a model that its tensors show too, and what they must agree in.
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Json;

/// A statement that the tensors prove or disprove.
pub(crate) struct Claim {
    pub what: &'static str,
    pub stated: Stated,
    pub place: String,
}

/// The forms of statements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stated {
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
pub(crate) const HEAD_WIDTH: &str = "values per head";

/// Keys that say whether something is there.
const PRESENCES: [(&str, &str); 4] =
    [("class_token", CLASS_TOKEN), ("qkv_bias", QKV_BIAS), ("fc_norm", FC_NORM), ("final_norm", FINAL_NORM)];
pub(crate) const CLASS_TOKEN: &str = "a class token";
pub(crate) const QKV_BIAS: &str = "biases of query, key and value";
pub(crate) const FC_NORM: &str = "a norm behind the pooling (`fc_norm`)";
pub(crate) const FINAL_NORM: &str = "a norm behind the blocks";
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
pub(crate) fn read(config: &Json, json: &Json, prefix: &str) -> Result<Vec<Claim>, CheckpointError> {
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
pub(crate) fn feature(config: &Json, json: &Json, prefix: &str) -> Option<String> {
    let place = |key: &str| config.place(&format!("{prefix}{key}"));
    let is_set = |key: &str| json.get(key).is_some_and(|value| value.as_bool() == Some(true));
    if json.get("pos_embed").is_some_and(|value| matches!(value.as_str(), Some("none" | ""))) {
        return Some(format!("{} says that the model has no learned positions", place("pos_embed")));
    }
    let (key, feature) = FEATURES.into_iter().find(|(key, _)| is_set(key))?;
    Some(format!("{} says that the model has {feature}", place(key)))
}

/// Arguments of timm's models of which nothing is known.
pub(crate) fn unknown_arguments(arguments: &Json) -> Vec<&str> {
    let is_known = |key: &&str| {
        PASSED_OVER.contains(key)
            || SIZES.iter().any(|(known, _)| known == key)
            || PRESENCES.iter().chain(&FEATURES).any(|(known, _)| known == key)
    };
    arguments.keys().filter(|key| !is_known(key) && arguments.get(key).is_some()).collect()
}

/// The value that several places of a file state alike.
pub(crate) fn agreed<T: PartialEq + serde::Serialize>(
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
