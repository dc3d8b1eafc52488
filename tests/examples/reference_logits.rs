//! The float reference's logits, for scripts that compare them with another framework's.
//!
//! Each line of the input names a checkpoint and, after a tab, a file of raw pixels (images one after
//! another, each height × width × channels bytes). Each answer is a line of JSON: what the importer read and
//! the logits, or its error. The checkpoint is loaded with default options.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{json, Value};
use vitreous::format::Preprocess;
use vitreous::models::vit::VitConfig;
use vitreous_tools::checkpoint::{FloatVit, LoadOptions};
use vitreous_tools::reference::ReferenceVit;

fn main() -> Result<()> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (checkpoint, pixels) = line.split_once('\t').context("expected CHECKPOINT, a tab, PIXELS")?;
        let answer = answer(Path::new(checkpoint), Path::new(pixels))?;
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

/// A refusal by the importer is an answer; pixels that can't be read are an error of the caller.
fn answer(checkpoint: &Path, pixels: &Path) -> Result<Value> {
    let model = match FloatVit::load(checkpoint, &LoadOptions::default()) {
        Ok(model) => model,
        Err(error) => return Ok(json!({ "error": error.to_string() })),
    };
    let pixels = std::fs::read(pixels).with_context(|| pixels.display().to_string())?;
    let reference = ReferenceVit::new(&model)?;
    let warnings: Vec<_> = model.settings.warnings().chain(model.warnings.iter().cloned()).collect();
    let images: Vec<&[u8]> = pixels.chunks_exact(reference.input_len()).collect();
    Ok(json!({
        "name": model.name,
        "config": config(&model.config),
        "preprocess": preprocess(&model.preprocess, model.config.channels),
        "warnings": warnings,
        "logits": reference.logits_batch(&images)?,
    }))
}

fn config(config: &VitConfig) -> Value {
    json!({
        "height": config.image_height,
        "width": config.image_width,
        "dim": config.dim,
        "depth": config.depth,
        "heads": config.heads,
        "hidden": config.hidden,
        "classes": config.classes,
        "pool": format!("{:?}", config.pool).to_lowercase(),
        "activation": format!("{:?}", config.activation).to_lowercase(),
        "eps": config.norm_eps,
    })
}

fn preprocess(preprocess: &Preprocess, channels: usize) -> Value {
    json!({
        "filter": format!("{:?}", preprocess.filter).to_lowercase(),
        "crop": format!("{:?}", preprocess.crop).to_lowercase(),
        "resize": preprocess.resize,
        "mean": preprocess.mean[..channels],
        "std": preprocess.std[..channels],
    })
}
