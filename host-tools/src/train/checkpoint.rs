//! Training checkpoints: everything that a resumed run needs to end with the same bits.
//!
//! One safetensors file holds values, moments, moving average and the history; its metadata holds the step and the recipe.
//! There is no generator state: [`super::augment::stream`] derives every random number from seed and position.

use super::history::{EpochRecord, Running};
use super::model::ParameterSpec;
use super::optimizer::State;
use anyhow::{bail, ensure, Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

const VERSION: &str = "vitreous-training-1";

/// Position and state of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Optimizer state, which knows the step.
    pub state: State,
    /// Finished epochs.
    pub history: Vec<EpochRecord>,
    /// Sums of the current epoch.
    pub running: Running,
}

/// The four tensors that are kept per parameter.
const KINDS: [&str; 4] = ["value", "first", "second", "average"];

/// Writes the checkpoint to a temporary file beside `path`, then renames it: a kill leaves the old one or the new one.
pub fn write(path: &Path, checkpoint: &Checkpoint, specs: &[ParameterSpec], recipe: &Value) -> Result<()> {
    let state = &checkpoint.state;
    let parts = [&state.values, &state.first, &state.second, &state.average];
    let mut views = Vec::new();
    for (kind, tensors) in KINDS.iter().zip(parts) {
        for (spec, data) in specs.iter().zip(tensors) {
            let view = TensorView::new(Dtype::F32, spec.shape.clone(), bytemuck::cast_slice(data))?;
            views.push((format!("{kind}.{}", spec.name), view));
        }
    }
    let history: Vec<f64> = checkpoint.history.iter().flat_map(EpochRecord::to_array).collect();
    let rows = vec![checkpoint.history.len(), EpochRecord::FIELDS];
    views.push(("history".to_owned(), TensorView::new(Dtype::F64, rows, bytemuck::cast_slice(&history))?));
    let running = checkpoint.running.to_array();
    views.push(("running".to_owned(), TensorView::new(Dtype::F64, vec![running.len()], bytemuck::cast_slice(&running))?));
    let metadata = HashMap::from([
        ("format".to_owned(), VERSION.to_owned()),
        ("step".to_owned(), state.step.to_string()),
        ("recipe".to_owned(), recipe.to_string()),
    ]);
    let bytes = safetensors::serialize(views, Some(metadata))?;
    write_atomically(path, &bytes)
}

/// Replaces `path` by `bytes` in one step.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("{}: cannot write", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

/// Reads a checkpoint, which must come from the same recipe and data.
pub fn read(path: &Path, specs: &[ParameterSpec], recipe: &Value) -> Result<Checkpoint> {
    let bytes = std::fs::read(path).with_context(|| {
        format!("{}: no checkpoint to resume from; leave out --resume to start a new run", path.display())
    })?;
    let damaged = || format!("{}: damaged checkpoint; delete it and start without --resume", path.display());
    let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
    let metadata = header.metadata().clone().with_context(damaged)?;
    let field = |name: &str| metadata.get(name).with_context(damaged);
    ensure!(field("format")? == VERSION, "{}: made by another version, expected {VERSION}", path.display());
    let theirs: Value = serde_json::from_str(field("recipe")?).with_context(damaged)?;
    refuse_other_recipe(path, &theirs, recipe)?;
    let tensors = SafeTensors::deserialize(&bytes).with_context(damaged)?;
    let read_kind = |kind: &str| -> Result<Vec<Vec<f32>>> {
        let read_one = |spec: &ParameterSpec| {
            let view = tensors.tensor(&format!("{kind}.{}", spec.name)).with_context(damaged)?;
            ensure!(view.dtype() == Dtype::F32 && view.shape() == spec.shape, damaged());
            Ok(bytemuck::pod_collect_to_vec(view.data()))
        };
        specs.iter().map(read_one).collect()
    };
    let read_f64 = |name: &str| -> Result<Vec<f64>> {
        Ok(bytemuck::pod_collect_to_vec(tensors.tensor(name).with_context(damaged)?.data()))
    };
    let [values, first, second, average] = KINDS.map(read_kind);
    let step = field("step")?.parse().with_context(damaged)?;
    let state = State { step, values: values?, first: first?, second: second?, average: average? };
    let history = read_f64("history")?.chunks_exact(EpochRecord::FIELDS).map(EpochRecord::from_slice).collect();
    let running = Running::from_slice(&read_f64("running")?).with_context(damaged)?;
    Ok(Checkpoint { state, history, running })
}

/// Names every setting in which the checkpoint differs from this run.
fn refuse_other_recipe(path: &Path, theirs: &Value, ours: &Value) -> Result<()> {
    if theirs == ours {
        return Ok(());
    }
    let mut differences = Vec::new();
    collect_differences("", theirs, ours, &mut differences);
    bail!(
        "{}: checkpoint of another run ({}); use the same options, another --out, or leave out --resume",
        path.display(),
        differences.join(", ")
    )
}

fn collect_differences(name: &str, theirs: &Value, ours: &Value, out: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))).collect();
            keys.sort();
            for key in keys {
                let inner = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                collect_differences(&inner, a, b, out);
            }
        }
        _ if theirs != ours => out.push(format!("{name}: {theirs} there, {ours} now")),
        _ => {}
    }
}
