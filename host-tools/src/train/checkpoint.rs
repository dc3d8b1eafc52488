//! Training checkpoints: everything that a resumed run needs to end with the same bits.
//!
//! One safetensors file holds values, moments, moving average and the history; its metadata holds the step
//! and the recipe. There is no generator state: [`super::augment::stream`] derives every random number from
//! seed and position.

use super::folder::RunFolder;
use super::history::{EpochRecord, Running};
use super::model::ParameterSpec;
use super::optimizer::State;
use crate::{console, output};
use anyhow::{bail, ensure, Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// With the version goes what [`digest`] covers.
const VERSION: &str = "vitreous-training-2";

/// The field of a file's metadata that holds its [`digest`].
const DIGEST: &str = "sha256";

/// Which checkpoint of a run is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one at the start: what an older training left is deleted.
    First,
    /// Another one: the one before is kept until the next.
    Later,
}

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

/// Rows of numbers beside the optimizer's state: name, columns, elements.
pub type Table = (&'static str, usize, Vec<f64>);

/// Writes the checkpoint: a kill leaves the old one or the new one.
pub fn write(
    folder: &RunFolder,
    checkpoint: &Checkpoint,
    specs: &[ParameterSpec],
    recipe: &Value,
    which: Which,
) -> Result<()> {
    let history: Vec<f64> = checkpoint.history.iter().flat_map(|record| record.to_array()).collect();
    let running = checkpoint.running.to_array().to_vec();
    let tables = [("history", EpochRecord::FIELDS, history), ("running", running.len(), running)];
    write_state(folder, &checkpoint.state, &tables, specs, recipe, which)
}

/// Writes optimizer state and tables as [`write`] does.
pub fn write_state<'a>(
    folder: &RunFolder,
    state: &State,
    tables: &[Table],
    specs: impl IntoIterator<Item = &'a ParameterSpec> + Clone,
    recipe: &Value,
    which: Which,
) -> Result<()> {
    let parts = [&state.values, &state.first, &state.second, &state.average];
    let mut views = Vec::new();
    for (kind, tensors) in KINDS.iter().zip(parts) {
        for (spec, data) in specs.clone().into_iter().zip(tensors) {
            let view = TensorView::new(Dtype::F32, spec.shape.clone(), bytemuck::cast_slice(data))?;
            views.push((format!("{kind}.{}", spec.name), view));
        }
    }
    for (name, columns, data) in tables {
        let shape = vec![data.len() / columns, *columns];
        views.push(((*name).to_owned(), TensorView::new(Dtype::F64, shape, bytemuck::cast_slice(data))?));
    }
    let mut metadata = HashMap::from([
        ("format".to_owned(), VERSION.to_owned()),
        ("step".to_owned(), state.step.to_string()),
        ("recipe".to_owned(), recipe.to_string()),
    ]);
    metadata.insert(DIGEST.to_owned(), digest(&metadata, &views));
    let bytes = safetensors::serialize(views, Some(metadata))?;
    match which {
        Which::First => {
            output::write(&folder.checkpoint(), bytes)?;
            folder.forget_older()
        }
        Which::Later => Ok(output::write_keeping(&folder.checkpoint(), &bytes, &folder.previous())?),
    }
}

/// SHA-256 of everything that a checkpoint says: its metadata, and names, types, shapes and bytes of its
/// tensors.
fn digest(metadata: &HashMap<String, String>, views: &[(String, TensorView)]) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let fields: BTreeMap<_, _> = metadata.iter().filter(|(name, _)| *name != DIGEST).collect();
    for (name, value) in fields {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    let views: BTreeMap<_, _> = views.iter().map(|(name, view)| (name, view)).collect();
    for (name, view) in views {
        part(name.as_bytes());
        part(format!("{:?} {:?}", view.dtype(), view.shape()).as_bytes());
        part(view.data());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a checkpoint that is whole, as its digest says.
fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let damaged = || damaged(path);
    let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
    let metadata = header.metadata().clone().with_context(damaged)?;
    let version = metadata.get("format").with_context(damaged)?;
    ensure!(version == VERSION, "{}: made by another version, expected {VERSION}", path.display());
    let views = SafeTensors::deserialize(&bytes).with_context(damaged)?.tensors();
    ensure!(metadata.get(DIGEST) == Some(&digest(&metadata, &views)), damaged());
    Ok(bytes)
}

/// The newest checkpoint that is whole; a warning says if it is not the newest of all.
fn read_newest(folder: &RunFolder) -> Result<(PathBuf, Vec<u8>)> {
    let (path, previous) = (folder.checkpoint(), folder.previous());
    let error = match read_whole(&path) {
        Ok(bytes) => return Ok((path, bytes)),
        Err(error) => error,
    };
    let Ok(bytes) = read_whole(&previous) else { return Err(error) };
    console::note(&format!("warning: {error:#}; going on from {}, the one before it", previous.display()));
    Ok((previous, bytes))
}

/// Reads a checkpoint, which must come from the same recipe and data.
pub fn read(folder: &RunFolder, specs: &[ParameterSpec], recipe: &Value) -> Result<Checkpoint> {
    let (state, [history, running]) = read_state(folder, specs, ["history", "running"], recipe)?;
    let history = history.chunks_exact(EpochRecord::FIELDS).map(EpochRecord::from_slice).collect();
    let running = Running::from_slice(&running).with_context(|| damaged(&folder.checkpoint()))?;
    Ok(Checkpoint { state, history, running })
}

fn damaged(path: &Path) -> String {
    format!("{}: damaged checkpoint; --overwrite starts again", path.display())
}

/// Reads optimizer state and tables as [`read`] does.
pub fn read_state<'a, const TABLES: usize>(
    folder: &RunFolder,
    specs: impl IntoIterator<Item = &'a ParameterSpec> + Clone,
    tables: [&str; TABLES],
    recipe: &Value,
) -> Result<(State, [Vec<f64>; TABLES])> {
    let (path, bytes) = read_newest(folder)?;
    let path = path.as_path();
    let damaged = || damaged(path);
    let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
    let metadata = header.metadata().clone().with_context(damaged)?;
    let field = |name: &str| metadata.get(name).with_context(damaged);
    let theirs: Value = serde_json::from_str(field("recipe")?).with_context(damaged)?;
    refuse_other_recipe(path, &theirs, recipe)?;
    let saved = SafeTensors::deserialize(&bytes).with_context(damaged)?;
    let read_kind = |kind: &str| -> Result<Vec<Vec<f32>>> {
        let read_one = |spec: &ParameterSpec| {
            let view = saved.tensor(&format!("{kind}.{}", spec.name)).with_context(damaged)?;
            ensure!(view.dtype() == Dtype::F32 && view.shape() == spec.shape, damaged());
            Ok(bytemuck::pod_collect_to_vec(view.data()))
        };
        specs.clone().into_iter().map(read_one).collect()
    };
    let mut rows = [const { Vec::new() }; TABLES];
    for (name, rows) in tables.iter().zip(&mut rows) {
        *rows = bytemuck::pod_collect_to_vec(saved.tensor(name).with_context(damaged)?.data());
    }
    let [values, first, second, average] = KINDS.map(read_kind);
    let step = field("step")?.parse().with_context(damaged)?;
    Ok((State { step, values: values?, first: first?, second: second?, average: average? }, rows))
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
