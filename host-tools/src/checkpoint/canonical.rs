//! From a library's tensors to canonical ones: renaming, packing query/key/value, folding LayerScale.
use super::archive::Archive;
use super::naming::{Naming, Translated};
use super::{CheckpointError, FloatTensor};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tensors under canonical names, with the names that they had.
pub(super) struct Canonical {
    pub path: PathBuf,
    pub naming: &'static Naming,
    prefix: String,
    pub tensors: BTreeMap<String, FloatTensor>,
    /// Query, key and value of a packed tensor that is stored in parts.
    parts: BTreeMap<String, [Option<FloatTensor>; 3]>,
    source_names: BTreeMap<String, String>,
    /// Names that the scheme does not know.
    pub unknown: Vec<String>,
    pub warnings: Vec<String>,
}

impl Canonical {
    /// Renames every tensor and packs what is stored in parts; shapes are not yet checked.
    pub fn new(archive: Archive) -> Result<Self, CheckpointError> {
        let Archive { path, tensors, .. } = archive;
        let tensors = super::unwrapped(tensors);
        let Some((naming, prefix)) = Naming::recognise(tensors.keys().map(String::as_str)) else {
            return Err(CheckpointError::unknown_architecture(&path, tensors.keys()));
        };
        let mut result = Self {
            path,
            naming,
            prefix: prefix.to_string(),
            tensors: BTreeMap::new(),
            parts: BTreeMap::new(),
            source_names: BTreeMap::new(),
            unknown: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, tensor) in tensors {
            result.insert(name, tensor);
        }
        result.pack_parts()?;
        Ok(result)
    }

    fn insert(&mut self, name: String, tensor: FloatTensor) {
        match self.naming.translate(&self.prefix, &name) {
            Translated::Whole(canonical) => {
                self.source_names.insert(canonical.clone(), name);
                self.tensors.insert(canonical, tensor);
            }
            Translated::Part(canonical, index) => {
                self.parts.entry(canonical).or_default()[index] = Some(tensor)
            }
            Translated::Ignored => {
                self.warnings.push(format!("tensor `{name}` plays no role in inference: left out"))
            }
            Translated::Unknown => self.unknown.push(name),
        }
    }

    /// The name of a canonical tensor in the file.
    pub fn source_name(&self, canonical: &str) -> String {
        let known = self.source_names.get(canonical).cloned();
        known.unwrap_or_else(|| self.naming.source_name(&self.prefix, canonical, 0))
    }

    /// Stacks query, key and value rows: weights (dim, dim) to (3·dim, dim), biases (dim) to (3·dim).
    fn pack_parts(&mut self) -> Result<(), CheckpointError> {
        for (canonical, parts) in std::mem::take(&mut self.parts) {
            let shape = parts.iter().flatten().next().map(|t| t.shape.clone()).unwrap_or_default();
            let mut packed = FloatTensor { shape: shape.clone(), data: Vec::new() };
            for (index, part) in parts.into_iter().enumerate() {
                let tensor = self.naming.source_name(&self.prefix, &canonical, index);
                match part {
                    Some(part) if part.shape == shape => packed.data.extend(part.data),
                    Some(part) => {
                        return Err(CheckpointError::Shape {
                            path: self.path.clone(),
                            tensor,
                            expected: format!("{shape:?}"),
                            found: part.shape,
                            hint: "query, key and value must have the same shape".into(),
                        })
                    }
                    None if canonical.ends_with(".bias") => {
                        packed.data.extend(vec![0.0; shape.iter().product()])
                    }
                    None => {
                        let hint = "query, key and value are all needed".into();
                        return Err(CheckpointError::MissingTensor {
                            path: self.path.clone(),
                            tensor,
                            expected: shape,
                            hint,
                        });
                    }
                }
            }
            if let Some(rows) = packed.shape.first_mut() {
                *rows *= 3;
            }
            self.tensors.insert(canonical, packed);
        }
        Ok(())
    }

    /// Multiplies LayerScale's γ (Touvron et al., arXiv 2103.17239, §2) into the linear layer before it:
    /// `γ ⊙ (W·x + b) = (diag(γ)·W)·x + γ ⊙ b`.
    pub fn fold_layer_scale(&mut self) -> Result<(), CheckpointError> {
        let gammas: Vec<_> = self.tensors.keys().filter(|n| n.ends_with(".gamma")).cloned().collect();
        for name in &gammas {
            let Some(gamma) = self.tensors.remove(name) else { continue };
            let linear = name.replace(".ls1.gamma", ".attn.proj").replace(".ls2.gamma", ".mlp.fc2");
            for leaf in ["weight", "bias"] {
                let Some(tensor) = self.tensors.get_mut(&format!("{linear}.{leaf}")) else { continue };
                if tensor.shape.first() != Some(&gamma.data.len()) {
                    return Err(CheckpointError::Shape {
                        path: self.path.clone(),
                        expected: format!("[{}]", tensor.shape.first().unwrap_or(&0)),
                        tensor: self.source_name(name),
                        found: gamma.shape,
                        hint: format!("it scales the rows of `{linear}.{leaf}`"),
                    });
                }
                let columns = (tensor.data.len() / gamma.data.len().max(1)).max(1);
                for (row, gamma) in tensor.data.chunks_exact_mut(columns).zip(&gamma.data) {
                    row.iter_mut().for_each(|w| *w *= gamma);
                }
            }
        }
        if !gammas.is_empty() {
            self.warnings
                .push(format!("LayerScale is folded into the weights before it ({} tensors)", gammas.len()));
        }
        Ok(())
    }

    /// Adds zero biases to attention layers that have none. A layer without weights gets none, so that no file becomes larger than
    /// its own size accounts for.
    pub fn fill_qkv_biases(&mut self, depth: usize, dim: usize) {
        for block in 0..depth {
            let weight = self.tensors.get(&format!("blocks.{block}.attn.qkv.weight"));
            if weight.is_some_and(|weight| weight.shape.first() == Some(&(3 * dim))) {
                self.tensors
                    .entry(format!("blocks.{block}.attn.qkv.bias"))
                    .or_insert_with(|| FloatTensor { shape: vec![3 * dim], data: vec![0.0; 3 * dim] });
            }
        }
    }
}
