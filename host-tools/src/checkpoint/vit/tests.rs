use super::*;
use crate::checkpoint::archive::torch::tests::torch_file;
use crate::checkpoint::{HeadKind, Setting};
mod assumptions;
mod contradictions;
mod names;
use crate::synthetic;
use vitreous::format::{Crop, Filter};
use vitreous::models::vit::{Activation, Pool};

fn config() -> VitConfig {
    synthetic::small_vit()
}

fn weights() -> BTreeMap<String, FloatTensor> {
    weights_of(&config())
}

fn weights_of(config: &VitConfig) -> BTreeMap<String, FloatTensor> {
    synthetic::filled(tensor_shapes(config), |_, shape| {
        (0..shape.iter().product()).map(|i: usize| (i % 17) as f32 / 8.0 - 1.0).collect()
    })
}

/// Writes the tensors as one file, and loads it with `--heads 3`.
fn load(tensors: &BTreeMap<String, FloatTensor>) -> Result<FloatVit, CheckpointError> {
    load_with(tensors, &LoadOptions { heads: Some(3), ..LoadOptions::default() })
}

fn load_with(
    tensors: &BTreeMap<String, FloatTensor>,
    options: &LoadOptions,
) -> Result<FloatVit, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    archive::write(&path, tensors).unwrap();
    FloatVit::load(&path, options)
}

fn message<T: std::fmt::Debug>(result: Result<T, CheckpointError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_configuration_is_read_from_the_shapes() {
    let model = load(&weights()).unwrap();
    assert_eq!(model.config, config());
    assert_eq!(model.tensors, weights());
    assert!(message(load_with(&weights(), &LoadOptions::default())).contains("pass --heads"));
}

#[test]
fn a_file_by_torch_save_is_the_same_model() {
    let file = torch_file(&weights());
    let options = LoadOptions { heads: Some(3), ..LoadOptions::default() };
    let model = FloatVit::load(file.path(), &options).unwrap();
    assert_eq!((model.config, model.tensors), (config(), weights()));
}

#[test]
fn a_missing_qkv_bias_is_zero_and_layer_scale_is_folded() {
    let mut tensors = weights();
    tensors.remove("blocks.1.attn.qkv.bias");
    let half = message(load(&tensors));
    assert!(half.contains("`blocks.1.attn.qkv.bias` is missing"), "{half}");
    tensors.remove("blocks.0.attn.qkv.bias");
    let gamma = FloatTensor { shape: vec![12], data: (0..12).map(|i| i as f32).collect() };
    tensors.insert("blocks.0.ls2.gamma".into(), gamma);
    let half = message(load(&tensors));
    assert!(half.contains("`blocks.0.ls1.gamma` is missing") && half.contains("LayerScale"), "{half}");
    for name in ["blocks.0.ls1.gamma", "blocks.1.ls1.gamma", "blocks.1.ls2.gamma"] {
        tensors.insert(name.into(), FloatTensor { shape: vec![12], data: vec![1.0; 12] });
    }
    let model = load(&tensors).unwrap();
    assert!(model.tensor("blocks.1.attn.qkv.bias").data.iter().all(|b| *b == 0.0));
    let (name, before) = ("blocks.0.mlp.fc2.weight", &tensors["blocks.0.mlp.fc2.weight"].data);
    for (index, weight) in model.tensor(name).data.iter().enumerate() {
        assert_eq!(*weight, before[index] * (index / 20) as f32);
    }
}

#[test]
fn wrapper_prefixes_and_rows_without_prefix_tokens_are_understood() {
    let mut tensors = weights();
    let pos_embed = tensors.get_mut("pos_embed").unwrap();
    pos_embed.data.drain(..12);
    pos_embed.shape = vec![1, 4, 12];
    let wrapped = tensors.into_iter().map(|(name, tensor)| (format!("module.{name}"), tensor)).collect();
    let model = load(&wrapped).unwrap();
    assert_eq!(model.tensor("pos_embed").shape, [1, 5, 12]);
    assert_eq!(model.tensor("pos_embed").data[..12], [0.0; 12]);
}

#[test]
fn every_fault_of_a_tensor_is_named() {
    let broken = |change: &dyn Fn(&mut BTreeMap<String, FloatTensor>)| {
        let mut tensors = weights();
        change(&mut tensors);
        message(load(&tensors))
    };
    let missing = broken(&|t| drop(t.remove("blocks.1.norm2.weight")));
    assert!(missing.contains("`blocks.1.norm2.weight` is missing, expected with shape [12]"), "{missing}");
    let misshapen = broken(&|t| t.get_mut("norm.bias").unwrap().shape = vec![3, 4]);
    assert!(misshapen.contains("`norm.bias` has shape [3, 4], expected [12]"), "{misshapen}");
    let nan = broken(&|t| t.get_mut("head.weight").unwrap().data[7] = f32::NAN);
    assert!(nan.contains("`head.weight` holds NaN at element 7"), "{nan}");
    let surplus = broken(&|t| drop(t.insert("fancy_token".into(), t["cls_token"].clone())));
    assert!(surplus.contains("`fancy_token`") && surplus.contains("--allow-extra-tensors"), "{surplus}");
    let norm = || FloatTensor { shape: vec![12], data: vec![1.0; 12] };
    let gap = broken(&|t| drop(t.insert("blocks.4000.norm1.weight".into(), norm())));
    assert!(gap.contains("`blocks.2.norm1.weight` is missing"), "{gap}");
    let endless = broken(&|t| drop(t.insert("blocks.1000000.norm1.weight".into(), norm())));
    assert!(endless.contains("beyond all reason"), "{endless}");
    let unknown = broken(&|t| drop(t.remove("patch_embed.proj.weight")));
    assert!(unknown.contains("unknown architecture") && unknown.contains("torchvision"), "{unknown}");
}

#[test]
fn contradictions_of_the_configuration_are_named() {
    let with = |options: LoadOptions| message(load_with(&weights(), &options));
    let heads = with(LoadOptions { heads: Some(5), ..LoadOptions::default() });
    assert!(heads.contains("dim 12 is no multiple of 5 heads"), "{heads}");
    let image_size = Some((10, 8));
    let size = with(LoadOptions { heads: Some(3), image_size, ..LoadOptions::default() });
    assert!(size.contains("`pos_embed` has 5 rows") && size.contains("no whole number of 4×4"), "{size}");
    let broken = VitConfig { classes: 0, ..config() };
    assert!(message(validate_config(Path::new("x"), &broken)).contains("0 classes"));
}

#[test]
fn files_that_are_no_checkpoints_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert!(message(FloatVit::load(dir.path(), &LoadOptions::default())).contains("no file of weights"));
    let file = dir.path().join("model.safetensors");
    std::fs::write(&file, b"not at all").unwrap();
    assert!(message(FloatVit::load(&file, &LoadOptions::default()))
        .contains("is text that begins with `not at all`"));
}

#[test]
fn a_model_is_called_after_its_file_or_folder() {
    for (file, name) in [
        ("deit.pth", "deit"),
        ("model.safetensors", "folder"),
        ("model.safetensors.index.json", "folder"),
        ("pytorch_model.bin.index.json", "folder"),
        ("vit.safetensors.index.json", "vit"),
    ] {
        assert_eq!(file_label(Path::new(file), Path::new("my/folder"), "vit"), name);
    }
}

#[test]
fn labels_must_be_one_per_class() {
    let preprocess = Preprocess {
        filter: Filter::Box,
        crop: Crop::Squash,
        resize: 8,
        mean: [0.1, 0.1, 0.1, 0.0],
        std: [0.3, 0.3, 0.3, 1.0],
    };
    let labels: Vec<_> = (0..5).map(|i| format!("class {i}")).collect();
    let model = FloatVit::new("five".into(), config(), preprocess, labels.clone(), weights()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let again = FloatVit::load(dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!((again.labels, again.preprocess), (labels, preprocess));
    std::fs::write(dir.path().join("labels.txt"), "one\ntwo\n").unwrap();
    assert!(message(FloatVit::load(dir.path(), &LoadOptions::default())).contains("2 labels for 5 classes"));
}
