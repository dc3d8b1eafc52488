//! Hugging Face's format: JSON that describes the tensors, then their data.
use super::contents::{bounded, Contents};
use super::elements::{self, Elements};
use super::sets::{self, Set, Wanted};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::tensor::FloatTensor;
use crate::output;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use sha2::Digest;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the tensors of the set that is meant; the file's bytes go into `hash` too.
pub(crate) fn read(
    path: &Path,
    wanted: Wanted,
    hash: &mut sha2::Sha256,
) -> Result<Contents, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|e| CheckpointError::io(path, e))?;
    hash.update(&bytes);
    let parsed = SafeTensors::deserialize(&bytes).map_err(|e| damaged(path, &bytes, e))?;
    let shapes = parsed.iter().map(|(name, view)| (name.to_string(), view.shape().len()));
    let shapes: BTreeMap<String, usize> = shapes.collect();
    let has_matrices = shapes.values().any(|axes| *axes >= 2);
    let whole = Set {
        key: String::new(),
        tensors: parsed.names().into_iter().map(|name| (name.to_string(), name.to_string())).collect(),
        has_matrices,
    };
    let (set, choice) = sets::choose(path, vec![whole], wanted)?;
    let mut contents = Contents { choice, ..Contents::default() };
    for (name, stored) in &set.tensors {
        let view = parsed.tensor(stored).map_err(|e| damaged(path, &bytes, e))?;
        let (shape, elements) = (view.shape().to_vec(), Elements::of(view.dtype()));
        elements::check(path, stored, &shape, &elements, parsed.names().into_iter())?;
        contents.bytes += view.data().len() as u64;
        contents.warnings.extend(elements::warning_of_lost(name, view.dtype(), view.data()));
        let data = elements::to_f32(view.dtype(), view.data()).unwrap_or_default();
        contents.tensors.insert(name.clone(), FloatTensor { shape, data });
    }
    contents.facts = facts(&bytes);
    Ok(contents)
}

/// The header alone.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// The strings of `__metadata__`.
fn facts(bytes: &[u8]) -> BTreeMap<String, String> {
    let parsed = header(bytes).and_then(|header| serde_json::from_slice::<Metadata>(header).ok());
    let strings = parsed.as_ref().and_then(|metadata| metadata.metadata().as_ref());
    strings.map(|strings| bounded(strings.clone())).unwrap_or_default()
}

/// A file that was cut off is told apart from one that holds nonsense.
fn damaged(path: &Path, bytes: &[u8], error: SafeTensorError) -> CheckpointError {
    let truncated = |what: String| CheckpointError::Truncated { path: path.to_path_buf(), what };
    let found = bytes.len() as u64;
    let length = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    if length.saturating_add(8) > found {
        return truncated(format!("its header alone has {length} bytes, the file {found}"));
    }
    let promised = header(bytes).and_then(|header| serde_json::from_slice::<Metadata>(header).ok());
    let promised = promised.map(|metadata| (metadata.data_len() as u64).saturating_add(length + 8));
    match promised {
        Some(promised) if promised > found => {
            truncated(format!("its header promises {promised} bytes, the file has {found}"))
        }
        Some(promised) if promised < found => CheckpointError::NotSafetensors {
            path: path.to_path_buf(),
            reason: format!(
                "its header describes {promised} bytes, and the file has {found}: something is appended"
            ),
        },
        _ => CheckpointError::NotSafetensors { path: path.to_path_buf(), reason: error.to_string() },
    }
}

/// Writes `tensors` as f32.
pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, FloatTensor>) -> Result<(), CheckpointError> {
    let views = tensors.iter().map(|(name, tensor)| {
        // The format is little-endian; so are all hosts that the tool is built for.
        let bytes: &[u8] = bytemuck::cast_slice(&tensor.data);
        safetensors::tensor::TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (name, view))
    });
    let invalid = |e: SafeTensorError| CheckpointError::io(path, std::io::Error::other(e));
    let views = views.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    Ok(output::write(path, safetensors::serialize(views, None).map_err(invalid)?)?)
}
