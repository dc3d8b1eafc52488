//! A trained model's folder: model.safetensors with the authors' tensor names, and config.json.

use super::super::super::checkpoint::write_atomically;
use super::super::network::{Network, Parameter};
use super::{Ipt, IptRecipe};
use crate::checkpoint::ipt::{parse_task, tensor_shapes};
use anyhow::{anyhow, bail, ensure, Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::SafeTensors;
use serde_json::{json, Value};
use std::collections::HashMap;
use std::path::Path;
use vitreous::models::ipt::{IptConfig, Task, TaskKind};

const WEIGHTS_FILE: &str = "model.safetensors";
const CONFIG_FILE: &str = "config.json";
/// The object in config.json that describes the network.
const CONFIG_KEY: &str = "vitreous_ipt";

/// Writes the model to `dir`.
pub fn save(dir: &Path, name: &str, model: &Ipt, values: &[Vec<f32>]) -> Result<()> {
    let mut tensors: HashMap<&str, Vec<f32>> = HashMap::new();
    for (p, values) in model.parameters.iter().zip(values) {
        tensors.entry(&p.file_name).or_default().extend(values.iter().map(|v| v * p.unit));
    }
    let mut views = Vec::new();
    for (name, shape) in tensor_shapes(&model.config) {
        let data = &tensors[name.as_str()];
        views.push((name, TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(data))?));
    }
    let bytes = safetensors::serialize(views, None)?;
    write_atomically(&dir.join(WEIGHTS_FILE), &bytes)?;
    let config = json!({ "architecture": name, CONFIG_KEY: config_json(&model.config) });
    write_atomically(&dir.join(CONFIG_FILE), (serde_json::to_string_pretty(&config)? + "\n").as_bytes())
}

fn config_json(c: &IptConfig) -> Value {
    let tasks: Vec<String> = c.tasks.iter().map(Task::to_string).collect();
    json!({
        "features": c.features, "window": c.window, "patch": c.patch, "heads": c.heads, "hidden": c.hidden,
        "head_hidden": c.head_hidden, "encoder_layers": c.encoder_layers, "decoder_layers": c.decoder_layers,
        "tasks": tasks, "norm_eps": c.norm_eps,
    })
}

/// Reads a folder that [`save`] wrote: the model and its values in trained units.
pub fn load(dir: &Path) -> Result<(Ipt, Vec<Vec<f32>>)> {
    let config = read_config(&dir.join(CONFIG_FILE))?;
    let path = dir.join(WEIGHTS_FILE);
    let bytes = std::fs::read(&path).with_context(|| format!("{}: cannot read", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{}: not a safetensors file", path.display()))?;
    let mut tensors: HashMap<String, std::vec::IntoIter<f32>> = HashMap::new();
    for (name, shape) in tensor_shapes(&config) {
        let view = file.tensor(&name).map_err(|e| anyhow!("{}: {name}: {e}", path.display()))?;
        ensure!(
            view.dtype() == Dtype::F32 && view.shape() == shape,
            "{}: {name} is {:?} {:?}, {CONFIG_FILE} asks for F32 {shape:?}",
            path.display(),
            view.dtype(),
            view.shape()
        );
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
        ensure!(
            values.iter().all(|v| v.is_finite()),
            "{}: {name} holds a value that is not a number",
            path.display()
        );
        tensors.insert(name, values.into_iter());
    }
    let model = Ipt::new(config);
    let mut take = |p: &Parameter| -> Vec<f32> {
        let rest = tensors.get_mut(&p.file_name).into_iter().flatten();
        rest.take(p.spec.elements()).map(|v| v / p.unit).collect()
    };
    let values = model.parameters.iter().map(&mut take).collect();
    Ok((model, values))
}

fn read_config(path: &Path) -> Result<IptConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let all: Value = serde_json::from_str(&text).with_context(|| format!("{}: not JSON", path.display()))?;
    let Some(c) = all.get(CONFIG_KEY) else {
        bail!("{}: no `{CONFIG_KEY}`, so not a model of `train ipt`", path.display())
    };
    let number = |key: &str| -> Result<usize> {
        let value = c.get(key).and_then(Value::as_u64);
        value
            .map(|v| v as usize)
            .with_context(|| format!("{}: `{key}` is not a whole number", path.display()))
    };
    let names = c.get("tasks").and_then(Value::as_array).cloned().unwrap_or_default();
    let tasks: Result<Vec<Task>> = names
        .iter()
        .map(|name| {
            parse_task(name.as_str().unwrap_or_default()).map_err(|e| anyhow!("{}: {e}", path.display()))
        })
        .collect();
    let recipe = IptRecipe {
        features: number("features")?,
        window: number("window")?,
        patch: number("patch")?,
        heads: number("heads")?,
        hidden: number("hidden")?,
        head_hidden: number("head_hidden")?,
        encoder_layers: number("encoder_layers")?,
        decoder_layers: number("decoder_layers")?,
        tasks: tasks?.iter().map(Task::to_string).collect(),
        ..IptRecipe::default()
    };
    let mut config = recipe.config().with_context(|| format!("{}: impossible model", path.display()))?;
    config.norm_eps = c.get("norm_eps").and_then(Value::as_f64).unwrap_or(1e-5) as f32;
    Ok(config)
}

/// Values for `model` taken from another model of the same body.
///
/// A task takes head, query and tail from the same task, else from the nearest strength of its kind, else from the weakest
/// denoiser (photographs to be enlarged are nearly free of noise), else from the first task. An upsampler that the source
/// lacks starts as in an untrained network.
pub fn adopt(model: &Ipt, source: &Ipt, source_values: &[Vec<f32>], seed: u64) -> Result<Vec<Vec<f32>>> {
    let theirs: HashMap<&str, (&Parameter, &Vec<f32>)> =
        source.parameters.iter().zip(source_values).map(|(p, v)| (p.spec.name.as_str(), (p, v))).collect();
    let mut values = model.initial_values(seed);
    for (parameter, value) in model.parameters.iter().zip(&mut values) {
        let name = &parameter.spec.name;
        let from = match parameter.task {
            Some(task) => renamed(name, task, nearest_task(model.config.tasks[task], &source.config.tasks)),
            None => name.clone(),
        };
        match theirs.get(from.as_str()) {
            Some((p, v)) if p.spec.shape == parameter.spec.shape => value.clone_from(v),
            // Only an upsampler may be missing or different.
            _ if name.starts_with("tail.") && name.contains(".0.") => {}
            Some((p, _)) => bail!(
                "--init: {from} is {:?}, this model takes {:?}; give the same model options",
                p.spec.shape,
                parameter.spec.shape
            ),
            None => bail!("--init: {from} is missing; give the same number of layers"),
        }
    }
    let extra = |layers: &str, count: usize| {
        theirs.contains_key(format!("body.{layers}.layers.{count}.norm1.weight").as_str())
    };
    ensure!(
        !extra("encoder", model.config.encoder_layers) && !extra("decoder", model.config.decoder_layers),
        "--init: it has more layers than this model; give the same number of layers"
    );
    Ok(values)
}

/// `head.2.0.weight` → `head.0.0.weight`, and so on.
fn renamed(name: &str, task: usize, source: usize) -> String {
    let number = |n: usize| format!(".{n}");
    match name.strip_suffix(&number(task)) {
        Some(stem) if name.starts_with("body.") => stem.to_owned() + &number(source),
        _ => name.replacen(&number(task), &number(source), 1),
    }
}

fn nearest_task(task: Task, tasks: &[Task]) -> usize {
    let distance = |other: &Task| {
        let strength = other.strength.abs_diff(task.strength) + 1000 * other.scale.abs_diff(task.scale);
        match (other.kind == task.kind, other.kind) {
            (true, _) => strength,
            (false, TaskKind::Denoise) => 10_000 + other.strength,
            (false, _) => 100_000,
        }
    };
    (0..tasks.len()).min_by_key(|&i| distance(&tasks[i])).unwrap_or(0)
}
