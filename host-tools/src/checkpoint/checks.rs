//! The last step, for every architecture: the tensors are those of the configuration, and no others.

use std::collections::BTreeMap;
use std::path::Path;

use vitreous::tensor::MIN_MAGNITUDE;

use super::error::CheckpointError;
use super::tensor::FloatTensor;

/// Takes tensors of exactly these names and shapes out of `tensors`. Leaves the others. `hint` says where the
/// shapes come from.
pub(crate) fn take_tensors(
    path: &Path,
    shapes: Vec<(String, Vec<usize>)>,
    tensors: &mut BTreeMap<String, FloatTensor>,
    hint: &str,
    source_name: &dyn Fn(&str) -> String,
) -> Result<BTreeMap<String, FloatTensor>, CheckpointError> {
    let mut taken = BTreeMap::new();
    for (name, shape) in shapes {
        let Some(mut tensor) = tensors.remove(&name) else {
            return Err(CheckpointError::MissingTensor {
                path: path.to_path_buf(),
                tensor: source_name(&name),
                expected: shape,
                hint: hint.to_string(),
            });
        };
        // Axes of length 1 do not change the layout, and libraries differ in them.
        let significant = |shape: &[usize]| shape.iter().copied().filter(|d| *d != 1).collect::<Vec<_>>();
        if significant(&tensor.shape) != significant(&shape)
            || tensor.data.len() != shape.iter().product::<usize>()
        {
            return Err(CheckpointError::Shape {
                path: path.to_path_buf(),
                tensor: source_name(&name),
                expected: format!("{shape:?}"),
                found: tensor.shape,
                hint: "the rest of the model asks for it; is the file of one model, and config.json beside \
                       it of the same?"
                    .into(),
            });
        }
        if let Some(index) = tensor.data.iter().position(|v| !v.is_finite()) {
            return Err(CheckpointError::NotFinite {
                path: path.to_path_buf(),
                tensor: source_name(&name),
                index,
                value: tensor.data[index],
            });
        }
        tensor.shape = shape;
        taken.insert(name, tensor);
    }
    Ok(taken)
}

/// Refuses tensors that are no part of the architecture.
pub(crate) fn refuse_unknown<'a>(
    path: &Path,
    architecture: &'static str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), CheckpointError> {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return Ok(());
    }
    let count = names.len();
    let mut shown = names[..count.min(8)].join(", ");
    if count > 8 {
        shown.push_str(", …");
    }
    Err(CheckpointError::UnknownTensors { path: path.to_path_buf(), architecture, count, names: shown })
}

/// What is said of layers without a single weight: they may never have been trained, or were lost.
pub(crate) fn warning_of_zeros(
    tensors: &BTreeMap<String, FloatTensor>,
    source_name: &dyn Fn(&str) -> String,
) -> Option<String> {
    let is_matrix = |tensor: &FloatTensor| tensor.shape.len() >= 2 && !tensor.data.is_empty();
    let layers = tensors.iter().filter(|(name, tensor)| name.ends_with(".weight") && is_matrix(tensor));
    let count = layers.clone().count();
    let zeros: Vec<_> = layers.filter(|(_, tensor)| tensor.data.iter().all(|w| *w == 0.0)).collect();
    let (name, _) = zeros.first()?;
    Some(format!(
        "all weights of {} of {count} layers are 0, such as `{}`: they let nothing through; were they never \
         trained, or are they lost?",
        zeros.len(),
        source_name(name)
    ))
}

/// ε of a layer norm must be what the format takes.
pub(crate) fn check_eps(path: &Path, eps: f32) -> Result<(), CheckpointError> {
    if (MIN_MAGNITUDE..=1.0).contains(&eps) {
        return Ok(());
    }
    Err(CheckpointError::Config {
        path: path.to_path_buf(),
        what: format!("the layer norms' epsilon is {eps:e}, expected {MIN_MAGNITUDE:.2e} to 1"),
        way_out: "pass --norm-eps, such as 1e-6".into(),
    })
}
