//! What a training noted of itself in its checkpoint: the arguments of timm's, DeiT's, MAE's and Lightning's
//! programs.
use super::archive::Archive;
use super::json::Json;
use serde_json::{Map, Value};

/// Where programs keep their arguments.
const PLACES: [&str; 4] = ["args", "hyper_parameters", "hparams", "config"];
/// Arguments of the model, which timm also takes as `model_kwargs`.
const MODEL: [&str; 5] = ["num_heads", "act_layer", "block_fn", "norm_layer", "mlp_layer"];
/// Arguments of the preprocessing.
const PREPROCESS: [&str; 5] = ["mean", "std", "interpolation", "crop_pct", "crop_mode"];

/// The image size (height, width) of the training, if its record says it under timm's name.
pub(super) fn image_size(archive: &Archive) -> Option<(usize, usize)> {
    match fact(archive, "model_kwargs.img_size").or_else(|| fact(archive, "img_size"))? {
        Value::Number(side) => {
            side.as_u64().and_then(|side| usize::try_from(side).ok()).map(|side| (side, side))
        }
        Value::Array(sides) => match sides.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?[..] {
            [height, width] => Some((usize::try_from(height).ok()?, usize::try_from(width).ok()?)),
            _ => None,
        },
        _ => None,
    }
}

/// A value that the record has under one of the usual places.
fn fact(archive: &Archive, key: &str) -> Option<Value> {
    let place = PLACES.iter().find_map(|place| archive.facts.get(&format!("{place}.{key}")));
    let text = place.or_else(|| archive.facts.get(key))?;
    Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
}

/// The record in the form of timm's config.json, or `None` where a file has none. Only what cannot mean
/// anything else is taken: sizes are read from the tensors.
pub(super) fn of(archive: &Archive) -> Option<Json> {
    let fact = |key: &str| fact(archive, key);
    let object = |keys: &[&str]| -> Map<String, Value> {
        let value = |key: &&str| fact(&format!("model_kwargs.{key}")).or_else(|| fact(key));
        keys.iter().filter_map(|key| Some((key.to_string(), value(key)?))).collect()
    };
    let mut record = Map::new();
    record.insert("model_args".into(), object(&MODEL).into());
    record.insert("pretrained_cfg".into(), object(&PREPROCESS).into());
    // timm's `gp` is a name, MAE's `global_pool` a truth.
    let pool = fact("model_kwargs.global_pool").or_else(|| fact("gp")).or_else(|| fact("global_pool"));
    match pool {
        Some(Value::String(name)) => drop(record.insert("global_pool".into(), name.into())),
        Some(Value::Bool(mean)) => {
            drop(record.insert("global_pool".into(), if mean { "avg" } else { "token" }.into()))
        }
        _ => {}
    }
    let is_empty = record.values().all(|value| value.as_object().is_some_and(Map::is_empty));
    (!is_empty).then(|| Json::of_record(&archive.path, record.into()))
}
