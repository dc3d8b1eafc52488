//! Training checkpoints: everything that a resumed run needs to end with the same bits.
//!
//! One safetensors file holds values, moments, moving average and the history; its metadata holds the step
//! and the run's identity. There is no generator state: [`super::random::stream`] derives every random number
//! from seed and position.

use super::digest::hexadecimal;
use super::folder::RunFolder;
use super::history::{Record, Running};
use super::optimizer::State;
use super::parameter::ParameterSpec;
use crate::{console, output};
use anyhow::{bail, ensure, Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The version of the format. It also says what [`digest`] covers.
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
    /// What was recorded.
    pub history: Vec<Record>,
    /// Sums since the last record.
    pub running: Running,
}

/// The four tensors that are kept per parameter.
const KINDS: [&str; 4] = ["value", "first", "second", "average"];

/// The tensors of numbers beside the parameters'.
const HISTORY: &str = "history";
const RUNNING: &str = "running";

/// The field of a file's metadata that holds the run's identity.
const IDENTITY: &str = "recipe";

/// Writes the checkpoint: a kill leaves the old one or the new one. A record has `scores` scores.
pub fn write(
    folder: &RunFolder,
    checkpoint: &Checkpoint,
    specs: &[ParameterSpec],
    scores: usize,
    identity: &Value,
    which: Which,
) -> Result<()> {
    let Checkpoint { state, history, running } = checkpoint;
    let parts = [&state.values, &state.first, &state.second, &state.average];
    let mut views = Vec::new();
    for (kind, tensors) in KINDS.iter().zip(parts) {
        for (spec, data) in specs.iter().zip(tensors) {
            let view = TensorView::new(Dtype::F32, spec.shape.clone(), bytemuck::cast_slice(data))?;
            views.push((format!("{kind}.{}", spec.name), view));
        }
    }
    let (history, running): (Vec<f64>, _) =
        (history.iter().flat_map(Record::to_vec).collect(), running.to_array());
    for (name, columns, data) in
        [(HISTORY, Record::fields(scores), &history[..]), (RUNNING, running.len(), &running)]
    {
        let shape = vec![data.len() / columns, columns];
        views.push((name.to_owned(), TensorView::new(Dtype::F64, shape, bytemuck::cast_slice(data))?));
    }
    let mut metadata = HashMap::from([
        ("format".to_owned(), VERSION.to_owned()),
        ("step".to_owned(), state.step.to_string()),
        (IDENTITY.to_owned(), identity.to_string()),
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
    hexadecimal(hasher)
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

/// The newest checkpoint that is whole. A warning says so if a newer one is damaged.
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

fn damaged(path: &Path) -> String {
    format!("{}: damaged checkpoint; --overwrite starts again", path.display())
}

/// Reads a checkpoint, which must come from a run of the same identity. A record has `scores` scores.
///
/// # Errors
/// There is no checkpoint that is whole, or it is another run's: the message says in which settings.
pub fn read(
    folder: &RunFolder,
    specs: &[ParameterSpec],
    scores: usize,
    identity: &Value,
) -> Result<Checkpoint> {
    let (path, bytes) = read_newest(folder)?;
    let path = path.as_path();
    let damaged = || damaged(path);
    let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
    let metadata = header.metadata().clone().with_context(damaged)?;
    let field = |name: &str| metadata.get(name).with_context(damaged);
    let theirs: Value = serde_json::from_str(field(IDENTITY)?).with_context(damaged)?;
    refuse_other_run(path, &theirs, identity)?;
    let saved = SafeTensors::deserialize(&bytes).with_context(damaged)?;
    let read_kind = |kind: &str| -> Result<Vec<Vec<f32>>> {
        let read_one = |spec: &ParameterSpec| {
            let view = saved.tensor(&format!("{kind}.{}", spec.name)).with_context(damaged)?;
            ensure!(view.dtype() == Dtype::F32 && view.shape() == spec.shape, damaged());
            Ok(bytemuck::pod_collect_to_vec(view.data()))
        };
        specs.iter().map(read_one).collect()
    };
    let numbers = |name: &str| -> Result<Vec<f64>> {
        Ok(bytemuck::pod_collect_to_vec(saved.tensor(name).with_context(damaged)?.data()))
    };
    let history = numbers(HISTORY)?.chunks_exact(Record::fields(scores)).map(Record::from_slice).collect();
    let running = Running::from_slice(&numbers(RUNNING)?).with_context(damaged)?;
    let [values, first, second, average] = KINDS.map(read_kind);
    let step = field("step")?.parse().with_context(damaged)?;
    let state = State { step, values: values?, first: first?, second: second?, average: average? };
    Ok(Checkpoint { state, history, running })
}

/// Names every setting in which the checkpoint differs from this run.
fn refuse_other_run(path: &Path, theirs: &Value, ours: &Value) -> Result<()> {
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
