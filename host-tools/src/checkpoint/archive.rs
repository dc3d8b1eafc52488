//! A file of weights, safetensors or PyTorch's, as named f32 tensors.
use super::{torch, CheckpointError, FloatTensor};
use crate::output;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Every float tensor of one file, under the names that the file gives.
pub(super) struct Archive {
    pub path: PathBuf,
    pub sha256: [u8; 32],
    pub tensors: BTreeMap<String, FloatTensor>,
}

/// What a tensor in a file holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Elements {
    /// Weights.
    Float(Dtype),
    /// Counters and index tables (torch buffers such as `position_ids`), which are no weights: kept without their data.
    Integer(Dtype),
}

impl Archive {
    /// Reads a file, whose format its first bytes tell.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let io = |e| CheckpointError::io(path, e);
        let mut start = Vec::new();
        std::fs::File::open(path).map_err(io)?.take(16).read_to_end(&mut start).map_err(io)?;
        if torch::is_torch(&start) {
            return torch::read(path);
        }
        Self::read_safetensors(path)
    }

    fn read_safetensors(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(path).map_err(|e| CheckpointError::io(path, e))?;
        let parsed = SafeTensors::deserialize(&bytes).map_err(|e| CheckpointError::NotSafetensors {
            path: path.to_path_buf(),
            reason: e.to_string(),
        })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in parsed.iter() {
            let Some(data) = to_f32(view.dtype(), view.data()) else {
                // As `Elements::Integer`.
                if matches!(view.dtype(), Dtype::I64 | Dtype::I32 | Dtype::BOOL) && view.shape().len() <= 2 {
                    tensors
                        .insert(name.to_string(), FloatTensor { shape: view.shape().to_vec(), data: vec![] });
                    continue;
                }
                return Err(CheckpointError::ElementType {
                    path: path.to_path_buf(),
                    tensor: name.to_string(),
                    found: format!("{:?}", view.dtype()),
                });
            };
            tensors.insert(name.to_string(), FloatTensor { shape: view.shape().to_vec(), data });
        }
        Ok(Self { path: path.to_path_buf(), sha256: Sha256::digest(&bytes).into(), tensors })
    }
}

/// `None` for a type that is no float.
pub(super) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}

/// Writes `tensors` as f32 safetensors.
pub(super) fn write(path: &Path, tensors: &BTreeMap<String, FloatTensor>) -> Result<(), CheckpointError> {
    let views = tensors.iter().map(|(name, tensor)| {
        // The format is little-endian; so are all hosts that the tool is built for.
        let bytes: &[u8] = bytemuck::cast_slice(&tensor.data);
        safetensors::tensor::TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (name, view))
    });
    let invalid = |e: safetensors::SafeTensorError| CheckpointError::io(path, std::io::Error::other(e));
    let views = views.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    Ok(output::write(path, safetensors::serialize(views, None).map_err(invalid)?)?)
}
