//! What a training noted of itself in its checkpoint: the arguments of timm's, DeiT's, MAE's and Lightning's
//! programs.
use crate::checkpoint::archive::Archive;
use crate::checkpoint::json::Json;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Where programs keep their arguments.
const PLACES: [&str; 4] = ["args", "hyper_parameters", "hparams", "config"];
/// Arguments of the model, which timm also takes as `model_kwargs`.
const MODEL: [&str; 6] = ["num_heads", "act_layer", "block_fn", "norm_layer", "mlp_layer", "norm_eps"];
/// Arguments of the preprocessing.
const PREPROCESS: [&str; 5] = ["mean", "std", "interpolation", "crop_pct", "crop_mode"];
/// Arguments of the image's size: timm's, and those of DeiT and MAE.
const SIZES: [&str; 3] = ["model_kwargs.img_size", "img_size", "input_size"];
/// Arguments of the pooling: timm's `gp` and others' `pool` are names, MAE's `global_pool` a truth.
const POOLS: [&str; 4] = ["model_kwargs.global_pool", "gp", "global_pool", "pool"];

/// The image size (height, width) of the training, if its record says it, with its place.
pub(crate) fn image_size(archive: &Archive) -> Option<((usize, usize), String)> {
    let size = |value: &Value| value.as_u64().and_then(|side| usize::try_from(side).ok());
    SIZES.iter().find_map(|key| {
        let (key, value) = fact(archive, key)?;
        let sides = match &value {
            Value::Number(_) => (size(&value)?, size(&value)?),
            // timm's `input_size` has the channels first.
            Value::Array(sides) => match &sides[..] {
                [height, width] | [_, height, width] => (size(height)?, size(width)?),
                _ => return None,
            },
            _ => return None,
        };
        let file = archive.path.file_name().unwrap_or_default().to_string_lossy();
        Some((sides, format!("{file} `{key}`")))
    })
}

/// A value that the record has under one of the usual places, with its key.
fn fact(archive: &Archive, key: &str) -> Option<(String, Value)> {
    let keys = PLACES.iter().map(|place| format!("{place}.{key}")).chain([key.to_string()]);
    let (key, text) = keys.into_iter().find_map(|key| Some((key.clone(), archive.facts.get(&key)?)))?;
    Some((key, serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))))
}

/// The record in the form of timm's config.json, or `None` where a file has none. Only what cannot mean
/// anything else is taken: sizes are read from the tensors.
pub(crate) fn of(archive: &Archive) -> Option<Json> {
    let mut places = BTreeMap::new();
    let mut object = |name: &str, keys: &[&str]| -> Map<String, Value> {
        let mut values = Map::new();
        for key in keys {
            let found = fact(archive, &format!("model_kwargs.{key}")).or_else(|| fact(archive, key));
            if let Some((place, value)) = found {
                places.insert(format!("{name}.{key}"), place);
                values.insert(key.to_string(), value);
            }
        }
        values
    };
    let mut record = Map::new();
    record.insert("model_args".into(), object("model_args", &MODEL).into());
    record.insert("pretrained_cfg".into(), object("pretrained_cfg", &PREPROCESS).into());
    if let Some((place, pool)) = POOLS.iter().find_map(|key| fact(archive, key)) {
        let is_any = !place.ends_with("pool") || place.ends_with("global_pool");
        let name = match pool {
            Value::String(name) if name == "mean" || name == "avg" => Some("avg".to_string()),
            Value::String(name) if name == "cls" || name == "token" => Some("token".to_string()),
            // `pool` alone may be of anything.
            Value::String(name) if is_any => Some(name),
            Value::Bool(mean) if is_any => Some(if mean { "avg" } else { "token" }.to_string()),
            _ => None,
        };
        if let Some(name) = name {
            places.insert("global_pool".into(), place);
            record.insert("global_pool".into(), name.into());
        }
    }
    let is_empty = record.values().all(|value| value.as_object().is_some_and(Map::is_empty));
    (!is_empty).then(|| Json::of_record(&archive.path, record.into(), places))
}
