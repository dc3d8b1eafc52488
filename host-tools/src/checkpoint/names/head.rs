//! The classifier among a checkpoint's tensors, whatever a fine-tuning called it.
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::settings::Said;
use crate::checkpoint::tensor::FloatTensor;
use std::collections::BTreeMap;
use std::path::Path;

/// What stands behind the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// One linear layer; whatever layers without weights are around it change nothing.
    Linear,
    /// Nothing: a classifier is left out, and the model gives features.
    None,
}

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

/// First parts of a backbone's names, which are no classifier.
const BACKBONE: [&str; 22] = [
    "blocks",
    "layers",
    "layer",
    "encoder",
    "decoder",
    "embeddings",
    "patch_embed",
    "conv_proj",
    "norm",
    "fc_norm",
    "layernorm",
    "pooler",
    "head_dist",
    "distillation_classifier",
    "mask_token",
    "pos_embed",
    "pre_logits",
    "decoder_embed",
    "decoder_pred",
    "decoder_blocks",
    "criterion",
    "attn_pool",
];

/// Parts of names that the projection heads of self-supervised trainings have (DINO, iBOT, DINOv2).
const PROJECTIONS: [&str; 4] = ["last_layer", "dino_head", "ibot_head", "projection_head"];

/// The classifier's tensors, taken out of a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct FoundHead {
    /// Names in the file and tensors: weight `(classes, width)`, and bias if there is one.
    pub linear: Option<[Option<(String, FloatTensor)>; 2]>,
    /// What is not certain of it.
    pub note: Option<Said<HeadKind>>,
    /// A sentence on what was left out.
    pub warning: Option<String>,
}

/// Takes everything that belongs to the classifier out of `tensors`, whose names may begin with `prefix`.
///
/// # Errors
/// Several layers: the message names them. A classifier is never left out but by `leave_out`.
pub(crate) fn take(
    path: &Path,
    tensors: &mut BTreeMap<String, FloatTensor>,
    prefix: &str,
    wanted: Option<HeadKind>,
) -> Result<FoundHead, CheckpointError> {
    let inner = |name: &str| behind_prefix(name, prefix).to_string();
    let parts = |name: &str| inner(name).split('.').map(str::to_string).collect::<Vec<_>>();
    let is_projection = |name: &String| parts(name).iter().any(|part| PROJECTIONS.contains(&part.as_str()));
    let belongs = |name: &String| {
        parts(name).first().is_some_and(|first| NAMES.contains(&first.as_str())) || is_projection(name)
    };
    let mut names: Vec<String> = tensors.keys().filter(|name| belongs(name)).cloned().collect();
    if names.is_empty() {
        names = lone_linear_layer(tensors, prefix);
    }
    let found = names.iter().filter_map(|name| Some((name.clone(), tensors.remove(name)?)));
    let found: Vec<(String, FloatTensor)> = found.collect();
    if found.is_empty() {
        return Ok(FoundHead::default());
    }
    let count = found.len();
    if names.iter().any(is_projection) {
        let warning = format!(
            "the projection head of a self-supervised training is left out ({count} tensors such as `{}`): \
             the model gives features",
            names[0]
        );
        return Ok(FoundHead { warning: Some(warning), ..FoundHead::default() });
    }
    if wanted == Some(HeadKind::None) {
        let warning =
            format!("the classifier is left out by --head none ({count} tensors such as `{}`)", names[0]);
        return Ok(FoundHead { warning: Some(warning), ..FoundHead::default() });
    }
    let linear = one_linear_layer(path, found)?;
    let note = wanted.is_none().then(|| uncertain(&linear, &inner)).flatten();
    Ok(FoundHead { linear: Some(linear), note, warning: None })
}

/// What a name says of layers around the classifier: `head.1` is the second layer of a Sequential, whose
/// first one has no weights and may be a dropout, which changes nothing, or a ReLU.
fn uncertain(
    linear: &[Option<(String, FloatTensor)>; 2],
    inner: &dyn Fn(&str) -> String,
) -> Option<Said<HeadKind>> {
    let (name, _) = linear[0].as_ref()?;
    let inner = inner(name);
    let mut parts = inner.split('.');
    let first = parts.next()?;
    let is_numbered = parts.any(|part| part.parse::<usize>().is_ok());
    let why = if !NAMES.contains(&first) {
        format!("`{name}` is the only linear layer behind the blocks")
    } else if is_numbered {
        format!("layers around `{name}` have no weights and are taken for dropouts")
    } else {
        return None;
    };
    Some(Said::assumed(HeadKind::Linear, why))
}

/// A name without the prefix of the backbone, or without what both have in front: of `net.vit.`, a
/// `net.head.weight` is a head.
fn behind_prefix<'a>(name: &'a str, prefix: &str) -> &'a str {
    let mut common = prefix;
    loop {
        if let Some(rest) = name.strip_prefix(common) {
            return rest;
        }
        let outer = common.trim_end_matches('.').rfind('.').map_or("", |at| &common[..=at]);
        common = outer;
    }
}

/// A linear layer of an unknown name outside of the backbone, if there is but one: nobody trains a classifier
/// to leave it out.
fn lone_linear_layer(tensors: &BTreeMap<String, FloatTensor>, prefix: &str) -> Vec<String> {
    let is_outside = |name: &str| prefix.is_empty() || !name.starts_with(prefix);
    let is_plain = |name: &str| {
        let inner = behind_prefix(name, prefix);
        let first = inner.split('.').next().unwrap_or_default();
        matches!(inner.split('.').count(), 2 | 3) && !BACKBONE.contains(&first)
    };
    let matrices = tensors.iter().filter(|(name, tensor)| {
        tensor.shape.len() == 2
            && !tensor.data.is_empty()
            && name.ends_with(".weight")
            && is_outside(name)
            && is_plain(name)
    });
    let names: Vec<&String> = matrices.map(|(name, _)| name).collect();
    let [weight] = names[..] else { return vec![] };
    let bias = weight.replace(".weight", ".bias");
    let is_one = tensors.get(&bias).is_none_or(|tensor| tensor.shape.len() == 1);
    [weight.clone(), bias].into_iter().filter(|name| is_one && tensors.contains_key(name)).collect()
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
        let wanted = leave_out.then_some(HeadKind::None);
        let tensor =
            |shape: &[usize]| FloatTensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
        let mut map = tensors.iter().map(|(name, shape)| (name.to_string(), tensor(shape))).collect();
        super::take(Path::new("m"), &mut map, "net.vit.", wanted).map_err(|e| e.to_string())
    }

    #[test]
    fn one_linear_layer_is_the_classifier_under_every_name() {
        for stem in [
            "head",
            "head.1",
            "head.fc",
            "classifier",
            "classifier.3",
            "fc",
            "heads.head",
            "net.heads.0",
            "net.vit.fc",
            "net.out",
        ] {
            let (weight, bias) = (format!("{stem}.weight"), format!("{stem}.bias"));
            let found =
                take(&[(&weight, &[5, 8]), (&bias, &[5]), ("net.vit.norm.weight", &[8])], false).unwrap();
            let [Some((name, _)), Some(_)] = found.linear.unwrap() else { panic!("{stem}") };
            assert_eq!(name, weight);
            let is_certain = !stem.contains(|c: char| c.is_ascii_digit()) && stem != "net.out";
            assert_eq!(found.note.is_none(), is_certain, "{stem}");
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
            assert!(message.contains("--head none") && !message.contains("--allow-extra"), "{message}");
            assert!(take(tensors, true).unwrap().warning.unwrap().contains("--head none"));
        }
        let dino = [("head.mlp.0.weight", &[6, 8][..]), ("head.last_layer.weight_v", &[5, 6])];
        assert!(take(&dino, false).unwrap().warning.unwrap().contains("self-supervised"));
    }
}
