//! From a library's tensors to canonical ones: renaming, packing query/key/value, folding LayerScale.
use super::features;
use super::head::{self, HeadKind};
use super::naming::{Naming, Translated};
use super::wrappers::{unwrapped, WRAPPERS};
use crate::checkpoint::archive::Archive;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::settings::Said;
use crate::checkpoint::tensor::FloatTensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tensors under canonical names, with the names that they had.
pub(crate) struct Canonical {
    pub path: PathBuf,
    pub naming: &'static Naming,
    /// What stands before the backbone's names.
    pub prefix: String,
    pub tensors: BTreeMap<String, FloatTensor>,
    /// Query, key and value of a packed tensor that is stored in parts.
    parts: BTreeMap<String, [Option<FloatTensor>; 3]>,
    source_names: BTreeMap<String, String>,
    /// Names that the scheme does not know.
    pub unknown: Vec<String>,
    /// What is not certain of the classifier.
    pub head_note: Option<Said<HeadKind>>,
    /// Whether a LayerScale was folded.
    pub has_layer_scale: bool,
    pub warnings: Vec<String>,
}

impl Canonical {
    /// Renames every tensor and packs what is stored in parts; shapes are not yet checked. A network with
    /// features that the engine does not have is refused here, before anything is missed.
    pub fn new(archive: Archive, wanted: Option<HeadKind>) -> Result<Self, CheckpointError> {
        let Archive { path, tensors, .. } = archive;
        let mut tensors = unwrapped(tensors);
        let Some((naming, prefixes)) = Naming::recognise(tensors.keys().map(String::as_str)) else {
            return Err(no_vit(&path, &tensors));
        };
        let prefix = match prefixes[..] {
            [prefix] => prefix.to_string(),
            _ => return Err(several_models(&path, &prefixes)),
        };
        let head = head::take(&path, &mut tensors, &prefix, wanted)?;
        let mut result = Self {
            path,
            naming,
            prefix,
            tensors: BTreeMap::new(),
            parts: BTreeMap::new(),
            source_names: BTreeMap::new(),
            unknown: Vec::new(),
            head_note: head.note,
            has_layer_scale: false,
            warnings: head.warning.into_iter().collect(),
        };
        if let Some((feature, tensor)) = features::unsupported(tensors.keys().map(String::as_str)) {
            return Err(result.feature(feature, tensor));
        }
        let mut ignored = Vec::new();
        for (name, tensor) in tensors {
            result.insert(name, tensor, &mut ignored)?;
        }
        result.refuse_mixed_prefixes()?;
        result.warn_of_ignored(&ignored);
        result.pack_parts()?;
        if let Some((feature, tensor)) = features::unsupported_by_shape(&result.tensors) {
            return Err(result.feature(feature, &result.source_name(&tensor)));
        }
        result.refuse_pooler(&ignored, head.linear.is_some())?;
        result.insert_head(head.linear);
        Ok(result)
    }

    fn feature(&self, feature: &str, tensor: &str) -> CheckpointError {
        CheckpointError::Feature { path: self.path.clone(), feature: feature.into(), tensor: tensor.into() }
    }

    fn insert(
        &mut self,
        name: String,
        tensor: FloatTensor,
        ignored: &mut Vec<String>,
    ) -> Result<(), CheckpointError> {
        let (canonical, part) = match self.naming.translate(&self.prefix, &name) {
            Translated::Whole(canonical) => (canonical, None),
            Translated::Part(canonical, index) => (canonical, Some(index)),
            Translated::Ignored => {
                ignored.push(name);
                return Ok(());
            }
            Translated::Unknown => {
                self.unknown.push(name);
                return Ok(());
            }
        };
        let key = part.map_or(canonical.clone(), |index| format!("{canonical} part {index}"));
        // A packed tensor beside its parts is one twice, too.
        let other = self.source_names.get(&key).or_else(|| match part {
            Some(_) => self.source_names.get(&canonical),
            None => (0..3).find_map(|index| self.source_names.get(&format!("{canonical} part {index}"))),
        });
        if let Some(first) = other.cloned() {
            let path = self.path.clone();
            return Err(CheckpointError::Collision { path, first, second: name, canonical });
        }
        self.source_names.insert(key, name);
        match part {
            Some(index) => self.parts.entry(canonical).or_default()[index] = Some(tensor),
            None => drop(self.tensors.insert(canonical, tensor)),
        }
        Ok(())
    }

    /// Names that the scheme would know without the prefix of a wrapper, beside names that have none, are of
    /// two files in one.
    fn refuse_mixed_prefixes(&self) -> Result<(), CheckpointError> {
        // A second copy of what is there without the prefix is another case.
        let is_known = |name: &str| match self.naming.translate(&self.prefix, name) {
            Translated::Whole(canonical) => !self.source_names.contains_key(&canonical),
            Translated::Part(canonical, index) => {
                !self.source_names.contains_key(&format!("{canonical} part {index}"))
            }
            _ => false,
        };
        let mixed = self.unknown.iter().find_map(|name| {
            let wrapper =
                WRAPPERS.into_iter().find(|wrapper| name.strip_prefix(wrapper).is_some_and(is_known))?;
            Some((name, wrapper))
        });
        let (Some((name, wrapper)), Some(other)) = (mixed, self.source_names.values().next()) else {
            return Ok(());
        };
        Err(CheckpointError::Config {
            path: self.path.clone(),
            what: format!("tensor `{name}` has the prefix `{wrapper}`, and `{other}` has not"),
            way_out: "is the file put together from two? Save one model's `state_dict()`".into(),
        })
    }

    /// A pooler of transformers plays no role in its own classifiers, which are made without one; a
    /// classifier beside one reads it.
    fn refuse_pooler(&self, ignored: &[String], has_head: bool) -> Result<(), CheckpointError> {
        match ignored.iter().find(|name| has_head && name.contains("pooler.dense.")) {
            Some(tensor) => {
                Err(self.feature("a pooler (linear layer and tanh) in front of its classifier", tensor))
            }
            None => Ok(()),
        }
    }

    fn warn_of_ignored(&mut self, ignored: &[String]) {
        match ignored {
            [] => {}
            [name] => self.warnings.push(format!("tensor `{name}` plays no role in inference: left out")),
            [first, .., last] => self.warnings.push(format!(
                "{} tensors, `{first}` to `{last}`, play no role in inference: left out",
                ignored.len()
            )),
        }
    }

    /// The classifier, with zeros where it has no bias.
    fn insert_head(&mut self, linear: Option<[Option<(String, FloatTensor)>; 2]>) {
        let Some([Some((name, weight)), bias]) = linear else { return };
        let classes = weight.shape.first().copied().unwrap_or(0);
        let zeros = || {
            (name.replace(".weight", ".bias"), FloatTensor { shape: vec![classes], data: vec![0.0; classes] })
        };
        if bias.is_none() {
            self.warnings.push(format!("the classifier `{name}` has no bias: zeros are taken"));
        }
        let (bias_name, bias) = bias.unwrap_or_else(zeros);
        for (canonical, name, tensor) in [("head.weight", name, weight), ("head.bias", bias_name, bias)] {
            self.source_names.insert(canonical.into(), name);
            self.tensors.insert(canonical.into(), tensor);
        }
    }

    /// Splits a classifier that reads the class token and the mean of the patch tokens side by side,
    /// `(classes, 2·dim)`, into the two that
    /// [`Head::TokenAndMean`](vitreous::models::vit::Head::TokenAndMean) has: of the mean, and of the class
    /// token.
    pub fn split_head(&mut self, dim: usize) {
        let (Some(weight), Some(bias)) = (self.tensors.get("head.weight"), self.tensors.get("head.bias"))
        else {
            return;
        };
        let half = |from: usize| -> Vec<f32> {
            let rows = weight.data.chunks_exact(2 * dim);
            rows.flat_map(|row| row[from..from + dim].iter().map(|w| 2.0 * w)).collect()
        };
        let classes = bias.data.len();
        let shape = vec![classes, dim];
        let twice = bias.data.iter().map(|b| 2.0 * b).collect();
        let layers = [
            ("head_dist.weight", FloatTensor { shape: shape.clone(), data: half(0) }),
            ("head_dist.bias", FloatTensor { shape: vec![classes], data: vec![0.0; classes] }),
            ("head.weight", FloatTensor { shape, data: half(dim) }),
            ("head.bias", FloatTensor { shape: vec![classes], data: twice }),
        ];
        self.tensors.extend(layers.map(|(name, tensor)| (name.to_string(), tensor)));
    }

    /// Names that the scheme does not know, for a message about what is missing: a missing tensor may be one
    /// of another name.
    pub fn unknown_in_words(&self) -> String {
        let names: Vec<_> = self.unknown.iter().take(4).map(|name| format!("`{name}`")).collect();
        match self.unknown.len() {
            0 => String::new(),
            count => format!(
                ", or is another network: {count} tensors have unknown names, such as {}",
                names.join(", ")
            ),
        }
    }

    /// The name of a canonical tensor in the file.
    pub fn source_name(&self, canonical: &str) -> String {
        let known = self.source_names.get(canonical).cloned();
        known.unwrap_or_else(|| self.naming.source_name(&self.prefix, canonical, 0))
    }

    /// Stacks query, key and value rows: weights (dim, dim) to (3·dim, dim), biases (dim) to (3·dim).
    fn pack_parts(&mut self) -> Result<(), CheckpointError> {
        let all = std::mem::take(&mut self.parts);
        // Keys may have no bias, which softmax cancels; then no block's have one.
        let is_nowhere = [0, 1, 2].map(|index| {
            let mut biases = all.iter().filter(|(name, _)| name.ends_with(".bias"));
            biases.all(|(_, parts)| parts[index].is_none())
        });
        for (canonical, parts) in all {
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
                    // Keys may have no bias, which softmax cancels, and then all have none.
                    None if canonical.ends_with(".bias") && is_nowhere[index] => {
                        packed.data.extend(vec![0.0; shape.iter().product()])
                    }
                    None => {
                        let hint =
                            "the others of query, key and value are there: the file is incomplete".into();
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

    /// Exchanges the first and the third colour of the first layer's weights.
    pub fn exchange_red_and_blue(&mut self) {
        let Some(weight) = self.tensors.get_mut("patch_embed.proj.weight") else { return };
        let [_, colours, height, width] = weight.shape[..] else { return };
        let plane = height * width;
        if colours < 3 || plane == 0 {
            return;
        }
        for patch in weight.data.chunks_exact_mut(colours * plane) {
            let (first, rest) = patch.split_at_mut(2 * plane);
            first[..plane].swap_with_slice(&mut rest[..plane]);
        }
    }

    /// LayerScale stands behind attention and MLP of every block, or of none.
    fn check_layer_scale(&self, gammas: &[String]) -> Result<(), CheckpointError> {
        let block = |name: &String| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
        let depth = self.tensors.keys().filter_map(block).max().map_or(0, |last| last + 1);
        let all = (0..depth).flat_map(|b| ["ls1", "ls2"].map(|part| format!("blocks.{b}.{part}.gamma")));
        match all.filter(|name| !gammas.contains(name)).find(|_| !gammas.is_empty()) {
            None => Ok(()),
            Some(missing) => Err(CheckpointError::MissingTensor {
                path: self.path.clone(),
                tensor: self.source_name(&missing),
                expected: vec![],
                hint: "other blocks have a LayerScale there: the file is incomplete".into(),
            }),
        }
    }

    /// Multiplies LayerScale's γ (Touvron et al., arXiv 2103.17239, §2) into the linear layer before it:
    /// `γ ⊙ (W·x + b) = (diag(γ)·W)·x + γ ⊙ b`.
    pub fn fold_layer_scale(&mut self) -> Result<(), CheckpointError> {
        let gammas: Vec<_> = self.tensors.keys().filter(|n| n.ends_with(".gamma")).cloned().collect();
        self.check_layer_scale(&gammas)?;
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
        self.has_layer_scale = !gammas.is_empty();
        if self.has_layer_scale {
            self.warnings
                .push(format!("LayerScale is folded into the weights before it ({} tensors)", gammas.len()));
        }
        Ok(())
    }

    /// Adds zero biases to the linear layers that have none: where no block has one, the model was made so. A
    /// layer without weights gets none, so that no file becomes larger than its own size accounts for.
    pub fn fill_biases(&mut self, depth: usize) {
        if self.fill_bias("patch_embed.proj") {
            self.warnings.push("the patch embedding has no bias: zeros are taken".into());
        }
        for layer in ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"] {
            let of_block = |block: usize| format!("blocks.{block}.{layer}");
            let has_any =
                (0..depth).any(|block| self.tensors.contains_key(&format!("{}.bias", of_block(block))));
            if !has_any && (0..depth).map(|block| self.fill_bias(&of_block(block))).fold(false, |a, b| a | b)
            {
                self.warnings.push(format!("no block has a bias in `{layer}`: zeros are taken"));
            }
        }
    }

    /// Returns whether zeros were put in.
    fn fill_bias(&mut self, layer: &str) -> bool {
        let weight = self.tensors.get(&format!("{layer}.weight"));
        let rows = weight
            .filter(|w| w.shape.len() >= 2)
            .and_then(|w| w.shape.first().copied().filter(|n| *n <= w.data.len()));
        let name = format!("{layer}.bias");
        let Some(rows) = rows.filter(|_| !self.tensors.contains_key(&name)) else { return false };
        self.tensors.insert(name, FloatTensor { shape: vec![rows], data: vec![0.0; rows] });
        true
    }
}

/// Why a file without any signature of a ViT is refused: for what it has, rather than for what it lacks.
fn no_vit(path: &Path, tensors: &BTreeMap<String, FloatTensor>) -> CheckpointError {
    let names = || tensors.keys().map(String::as_str);
    // Only where the blocks are a ViT's: a feature of a wholly other network says nothing.
    let has_blocks = names().any(|name| name.contains("blocks.0.") || name.contains("encoder.layer.0."));
    match features::unsupported(names()).filter(|_| has_blocks && features::family(names()).is_none()) {
        Some((feature, tensor)) => CheckpointError::Feature {
            path: path.to_path_buf(),
            feature: feature.into(),
            tensor: tensor.into(),
        },
        None => features::unknown_architecture(path, tensors.keys()),
    }
}

fn several_models(path: &Path, prefixes: &[&str]) -> CheckpointError {
    let names: Vec<_> = prefixes.iter().map(|p| format!("`{}`", p.trim_end_matches('.'))).collect();
    CheckpointError::Config {
        path: path.to_path_buf(),
        what: format!("the file holds {} models, under {}", prefixes.len(), names.join(", ")),
        way_out: "choose one with --weights".into(),
    }
}

/// The first block's or the stem's tensor, whose shape gives hyperparameters, so that the rank must be right.
pub(crate) fn shape_of<const RANK: usize>(
    model: &Canonical,
    name: &str,
    axes: &str,
) -> Result<[usize; RANK], CheckpointError> {
    let Some(tensor) = model.tensors.get(name) else {
        return Err(CheckpointError::MissingTensor {
            path: model.path.clone(),
            tensor: model.source_name(name),
            expected: vec![],
            hint: format!(
                "its shape {axes} gives the model's size: the file is incomplete{}",
                model.unknown_in_words()
            ),
        });
    };
    let shape: Option<[usize; RANK]> = tensor.shape.as_slice().try_into().ok();
    shape.filter(|s| s.iter().all(|d| *d > 0)).ok_or_else(|| CheckpointError::Shape {
        path: model.path.clone(),
        tensor: model.source_name(name),
        expected: axes.into(),
        found: tensor.shape.clone(),
        hint: "the model's size is read from it".into(),
    })
}
