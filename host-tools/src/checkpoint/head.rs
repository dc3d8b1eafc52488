//! The classifier among a checkpoint's tensors, whatever a fine-tuning called it.
use super::{CheckpointError, FloatTensor};
use std::collections::BTreeMap;
use std::path::Path;

/// What classifiers are called: by timm, transformers and torchvision, and by people who replace them.
const NAMES: [&str; 12] = [
    "head",
    "heads",
    "head_drop",
    "classifier",
    "cls_classifier",
    "cls_head",
    "fc",
    "mlp_head",
    "linear_head",
    "linear",
    "last_linear",
    "classification_head",
];

/// Parts of names that the projection heads of self-supervised trainings have (DINO, iBOT, DINOv2).
const PROJECTIONS: [&str; 4] = ["last_layer", "dino_head", "ibot_head", "projection_head"];

/// The classifier's tensors, taken out of a checkpoint.
#[derive(Debug, Default)]
pub(super) struct FoundHead {
    /// Names in the file and tensors: weight `(classes, width)`, and bias if there is one.
    pub linear: Option<[Option<(String, FloatTensor)>; 2]>,
    /// A sentence on what was left out.
    pub warning: Option<String>,
}

/// Takes everything that belongs to the classifier out of `tensors`, whose names may begin with `prefix`.
///
/// # Errors
/// Several layers: the message names them. A classifier is never left out but by `leave_out`.
pub(super) fn take(
    path: &Path,
    tensors: &mut BTreeMap<String, FloatTensor>,
    prefix: &str,
    leave_out: bool,
) -> Result<FoundHead, CheckpointError> {
    let inner = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_string();
    let parts = |name: &str| inner(name).split('.').map(str::to_string).collect::<Vec<_>>();
    let is_projection = |name: &String| parts(name).iter().any(|part| PROJECTIONS.contains(&part.as_str()));
    let belongs = |name: &String| {
        parts(name).first().is_some_and(|first| NAMES.contains(&first.as_str())) || is_projection(name)
    };
    let names: Vec<String> = tensors.keys().filter(|name| belongs(name)).cloned().collect();
    let found = names.iter().filter_map(|name| Some((name.clone(), tensors.remove(name)?)));
    let found: Vec<(String, FloatTensor)> = found.collect();
    if found.is_empty() {
        return Ok(FoundHead::default());
    }
    let count = found.len();
    if names.iter().any(is_projection) {
        let warning = format!(
            "the projection head of a self-supervised training is left out ({count} tensors such as `{}`): the model \
             gives features",
            names[0]
        );
        return Ok(FoundHead { linear: None, warning: Some(warning) });
    }
    if leave_out {
        let warning =
            format!("the classifier is left out by --no-head ({count} tensors such as `{}`)", names[0]);
        return Ok(FoundHead { linear: None, warning: Some(warning) });
    }
    Ok(FoundHead { linear: Some(one_linear_layer(path, found)?), warning: None })
}

fn one_linear_layer(
    path: &Path,
    found: Vec<(String, FloatTensor)>,
) -> Result<[Option<(String, FloatTensor)>; 2], CheckpointError> {
    let list: Vec<_> = found.iter().map(|(name, t)| format!("`{name}` {:?}", t.shape)).collect();
    let mut linear = [None, None];
    let mut stems = Vec::new();
    for (name, tensor) in found {
        let (stem, leaf) = name.rsplit_once('.').unwrap_or(("", &name));
        let (slot, rank) = if leaf == "weight" { (0, 2) } else { (1, 1) };
        let is_linear = matches!(leaf, "weight" | "bias") && tensor.shape.len() == rank;
        if !is_linear || linear[slot].is_some() {
            return Err(CheckpointError::HeadLayers { path: path.to_path_buf(), tensors: list.join(", ") });
        }
        stems.push(stem.to_string());
        linear[slot] = Some((name, tensor));
    }
    stems.dedup();
    if linear[0].is_none() || stems.len() != 1 {
        return Err(CheckpointError::HeadLayers { path: path.to_path_buf(), tensors: list.join(", ") });
    }
    Ok(linear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(tensors: &[(&str, &[usize])], leave_out: bool) -> Result<FoundHead, String> {
        let tensor =
            |shape: &[usize]| FloatTensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
        let mut map = tensors.iter().map(|(name, shape)| (name.to_string(), tensor(shape))).collect();
        super::take(Path::new("m"), &mut map, "net.", leave_out).map_err(|e| e.to_string())
    }

    #[test]
    fn one_linear_layer_is_the_classifier_under_every_name() {
        for stem in
            ["head", "head.1", "head.fc", "classifier", "classifier.3", "fc", "heads.head", "net.heads.0"]
        {
            let (weight, bias) = (format!("{stem}.weight"), format!("{stem}.bias"));
            let found = take(&[(&weight, &[5, 8]), (&bias, &[5]), ("net.norm.weight", &[8])], false).unwrap();
            let [Some((name, _)), Some(_)] = found.linear.unwrap() else { panic!("{stem}") };
            assert_eq!(name, weight);
            assert!(take(&[(&weight, &[5, 8])], false).unwrap().linear.unwrap()[1].is_none());
        }
        assert!(take(&[("norm.weight", &[8])], false).unwrap().linear.is_none());
    }

    #[test]
    fn several_layers_are_refused_by_name_and_left_out_on_request() {
        let norm = [("heads.0.weight", &[8][..]), ("heads.0.bias", &[8]), ("heads.1.weight", &[5, 8])];
        let two = [("head.0.weight", &[6, 8][..]), ("head.2.weight", &[5, 6])];
        for tensors in [&norm[..], &two] {
            let message = take(tensors, false).unwrap_err();
            assert!(message.contains(tensors[0].0) && message.contains(tensors[1].0), "{message}");
            assert!(message.contains("--no-head") && !message.contains("--allow-extra"), "{message}");
            assert!(take(tensors, true).unwrap().warning.unwrap().contains("--no-head"));
        }
        let dino = [("head.mlp.0.weight", &[6, 8][..]), ("head.last_layer.weight_v", &[5, 6])];
        assert!(take(&dino, false).unwrap().warning.unwrap().contains("self-supervised"));
    }
}
