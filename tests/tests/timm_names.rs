//! timm's ViTs, as timm saves them: plain ones are accepted, others are refused with the feature that they
//! have.
use anyhow::{ensure, Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::path::Path;
use vitreous_tools::checkpoint::{CheckpointError, FloatVit, LoadOptions};

/// Names, shapes and config.json of small timm models, by `goldens/timm_names.py`.
const MODELS: &str = include_str!("../goldens/timm_names.json");

/// The words with which a refusal may name a feature of `goldens/architectures.py`. A model without such a
/// feature must not be refused.
const WORDS: [(&str, &[&str]); 17] = [
    ("post_norm", &["post-norm"]),
    ("relative_positions", &["relative position"]),
    ("rotary", &["rotary"]),
    ("no_positions", &["no learned position"]),
    ("register_tokens", &["register"]),
    ("pre_norm_layer", &["in front of the blocks"]),
    ("hybrid_stem", &["convolutional stem"]),
    ("parallel_blocks", &["parallel"]),
    ("windowed_attention", &["window"]),
    ("qk_norm", &["queries and keys"]),
    ("inner_norm", &["inside of"]),
    ("rms_norm", &["rms"]),
    ("swiglu", &["swiglu"]),
    ("quick_gelu", &["quick_gelu"]),
    ("silu", &["silu"]),
    ("attention_pooling", &["attention pooling"]),
    ("other_pooling", &["global_pool"]),
];

/// Codes of features that concern names only: the model computes what a plain ViT does.
const NAMES_ONLY: [&str; 2] = ["split_qkv_bias", "split_qkv"];

fn save(model: &Value, folder: &Path) -> Result<()> {
    std::fs::create_dir(folder)?;
    std::fs::write(folder.join("config.json"), model["config"].to_string())?;
    let mut shapes = Vec::new();
    for (name, shape) in model["tensors"].as_object().context("tensors")? {
        shapes.push((name, serde_json::from_value::<Vec<usize>>(shape.clone())?));
    }
    let largest = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).max().unwrap_or(0);
    let zeros = vec![0u8; 4 * largest];
    let mut views = Vec::new();
    for (name, shape) in shapes {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        views.push((name, TensorView::new(Dtype::F32, shape, bytes)?));
    }
    Ok(safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))?)
}

fn check(features: &[&str], loaded: std::result::Result<FloatVit, CheckpointError>) -> Result<()> {
    let real: Vec<_> = features.iter().filter(|code| !NAMES_ONLY.contains(code)).collect();
    match loaded {
        Ok(_) if real.is_empty() => Ok(()),
        Ok(_) => anyhow::bail!("taken, though it has {features:?}"),
        Err(error) if real.is_empty() => anyhow::bail!("refused: {error}"),
        Err(error) => {
            let message = error.to_string().to_lowercase();
            let named = |code: &str| {
                let of_code = WORDS.iter().filter(|(known, _)| *known == code);
                of_code.flat_map(|(_, words)| words.iter()).any(|word| message.contains(word))
            };
            ensure!(real.iter().any(|code| named(code)), "no word of {features:?}: {error}");
            ensure!(!message.contains("incomplete"), "the file is complete: {error}");
            Ok(())
        }
    }
}

#[test]
fn timm_models_are_taken_or_refused_by_what_they_have() -> Result<()> {
    let models: Vec<Value> = serde_json::from_str(MODELS)?;
    let scratch = tempfile::tempdir()?;
    let mut failures = Vec::new();
    for (index, model) in models.iter().enumerate() {
        let folder = scratch.path().join(index.to_string());
        save(model, &folder)?;
        let features: Vec<_> =
            model["features"].as_array().context("features")?.iter().filter_map(Value::as_str).collect();
        if let Err(error) = check(&features, FloatVit::load(&folder, &LoadOptions::default())) {
            failures.push(format!("{}: {error}", model["config"]["architecture"]));
        }
    }
    ensure!(failures.is_empty(), "{} of {}:\n{}", failures.len(), models.len(), failures.join("\n"));
    Ok(())
}
