//! What nothing says is named, value by value, and every value can be said.
use super::*;
use crate::checkpoint::settings::Origin;

/// Writes the weights under `name` beside `files`, and loads them.
pub(crate) fn load_beside(
    name: &str,
    tensors: &BTreeMap<String, FloatTensor>,
    files: &[(&str, serde_json::Value)],
    options: &LoadOptions,
) -> Result<FloatVit, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    for (file, json) in files {
        std::fs::write(dir.path().join(file), json.to_string()).unwrap();
    }
    let path = dir.path().join(name);
    archive::write(&path, tensors).unwrap();
    FloatVit::load(&path, options)
}

pub(crate) fn three_heads() -> LoadOptions {
    LoadOptions { heads: Some(3), ..LoadOptions::default() }
}

/// Every value said by the caller.
fn all_said() -> LoadOptions {
    LoadOptions {
        block: Some(BlockKind::PreNorm),
        activation: Some(Activation::GeluErf),
        norm_eps: Some(1e-6),
        pool: Some(Pool::Token),
        image_size: Some((8, 8)),
        trained_size: Some((8, 8)),
        preprocess: PreprocessOptions {
            mean: Some(vec![0.4, 0.5, 0.6]),
            std: Some(vec![0.2]),
            resize: Some(9),
            crop_pct: None,
            crop: Some(Crop::Center),
            interpolation: Some(Filter::Bilinear),
            channel_order: Some(ChannelOrder::Rgb),
        },
        ..three_heads()
    }
}

pub(crate) fn setting<'a>(model: &'a FloatVit, name: &str) -> &'a Setting {
    model.settings.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("no setting {name}"))
}

#[test]
fn a_bare_file_names_everything_that_it_does_not_say_and_options_say_it() {
    let model = load_beside("model.safetensors", &weights(), &[], &three_heads()).unwrap();
    let assumed: Vec<_> = model.settings.assumed().map(|setting| setting.name.as_str()).collect();
    let expected = [
        "block",
        "activation",
        "norm-eps",
        "pool",
        "image-size",
        "resize",
        "crop",
        "interpolation",
        "mean",
        "std",
        "channel-order",
    ];
    assert_eq!(assumed, expected);
    assert!(model.settings.assumed().all(|setting| setting.option.starts_with("--")));
    let strict = LoadOptions { strict: true, ..three_heads() };
    let refused = message(load_beside("model.safetensors", &weights(), &[], &strict));
    assert!(expected.iter().all(|name| refused.contains(&format!("--{name}"))), "{refused}");

    let strict = LoadOptions { strict: true, ..all_said() };
    let said = load_beside("model.safetensors", &weights(), &[], &strict).unwrap();
    assert_eq!((said.preprocess.mean, said.preprocess.std), ([0.4, 0.5, 0.6, 0.0], [0.2, 0.2, 0.2, 1.0]));
    assert_eq!((said.preprocess.resize, said.preprocess.filter), (9, Filter::Bilinear));
    assert!(said.settings.iter().filter(|s| s.name != "scores").all(|s| s.origin == Origin::Option));
}

#[test]
fn heads_are_assumed_by_the_width_aloud() {
    let mut wide = config();
    (wide.dim, wide.hidden, wide.depth) = (192, 8, 1);
    let tensors = super::weights_of(&wide);
    let model = load_beside("model.safetensors", &tensors, &[], &LoadOptions::default()).unwrap();
    let warning = model.settings.warnings().find(|warning| warning.contains("heads")).unwrap();
    assert_eq!(warning, "heads 3 is assumed: usual for a width of 192; else pass --heads");
    // MoCo v3 has 12 heads at this width, too.
    let moco = tensors.into_iter().map(|(name, t)| (format!("module.base_encoder.{name}"), t)).collect();
    let model = load_beside("model.safetensors", &moco, &[], &LoadOptions::default()).unwrap();
    assert_eq!(model.config.heads, 12);
}

#[test]
fn an_architecture_that_is_no_pre_norm_vit_is_refused_by_its_name() {
    let named =
        serde_json::json!({ "architecture": "vit_base_patch16_rpn_224", "model_args": { "num_heads": 3 } });
    let files = [("config.json", named)];
    let refused = message(load_beside("model.safetensors", &weights(), &files, &LoadOptions::default()));
    assert!(refused.contains("vit_base_patch16_rpn_224") && refused.contains("post-norm"), "{refused}");
    let all_the_same = LoadOptions { block: Some(BlockKind::PreNorm), ..LoadOptions::default() };
    let model = load_beside("model.safetensors", &weights(), &files, &all_the_same).unwrap();
    assert_eq!(setting(&model, "block").origin, Origin::Option);
    let by_file_name = load_beside("vit_base_patch16_rpn_224.safetensors", &weights(), &[], &three_heads());
    assert!(message(by_file_name).contains("the file's name says"));
    let own_layer = serde_json::json!({ "model_args": { "num_heads": 3, "norm_layer": "rmsnorm" } });
    let refused =
        load_beside("m.safetensors", &weights(), &[("config.json", own_layer)], &LoadOptions::default());
    assert!(message(refused).contains("norm_layer"));
}

#[test]
fn what_a_file_says_wrongly_an_option_overrules() {
    let quick =
        serde_json::json!({ "model_args": { "num_heads": 3, "act_layer": "quick_gelu" }, "global_pool": "" });
    let files = [("config.json", quick)];
    let with = |options: LoadOptions| load_beside("model.safetensors", &weights(), &files, &options);
    let activation = message(with(LoadOptions::default()));
    assert!(activation.contains("quick_gelu") && activation.contains("--activation"), "{activation}");
    let activation = Some(Activation::GeluTanh);
    let pool = message(with(LoadOptions { activation, ..LoadOptions::default() }));
    assert!(pool.contains("\"\"") && pool.contains("--pool"), "{pool}");
    let model = with(LoadOptions { activation, pool: Some(Pool::Mean), ..LoadOptions::default() }).unwrap();
    assert_eq!((model.config.activation, model.config.pool), (Activation::GeluTanh, Pool::Mean));
}

#[test]
fn transformers_rescaling_reaches_mean_and_deviation() {
    let processor = serde_json::json!({
        "do_rescale": false, "do_normalize": true, "image_mean": [127.5, 127.5, 127.5],
        "image_std": [51.0, 51.0, 51.0], "resample": 3, "size": { "height": 8, "width": 8 },
    });
    let name = "model.safetensors";
    let with = |json: &serde_json::Value| {
        load_beside(name, &weights(), &[("preprocessor_config.json", json.clone())], &three_heads())
            .unwrap()
            .preprocess
    };
    let found = with(&processor);
    assert_eq!((found.mean[..3].to_vec(), found.std[..3].to_vec()), (vec![0.5; 3], vec![0.2; 3]));
    assert_eq!((found.filter, found.crop), (Filter::Bicubic, Crop::Squash));
    // A pixel is multiplied by 2/255 before: −1 to 1 behind the mean.
    let mut twice = processor.clone();
    twice["do_rescale"] = true.into();
    twice["rescale_factor"] = (2.0 / 255.0).into();
    (twice["image_mean"], twice["image_std"]) = (vec![1.0; 3].into(), vec![1.0; 3].into());
    let found = with(&twice);
    assert!((found.mean[0] - 0.5).abs() < 1e-6 && (found.std[0] - 0.5).abs() < 1e-6, "{found:?}");
    let mut flipped = processor.clone();
    (flipped["do_flip_channel_order"], flipped["image_mean"]) = (true.into(), vec![0.0, 51.0, 255.0].into());
    assert_eq!(with(&flipped).mean, [1.0, 0.2, 0.0, 0.0]);
}

#[test]
fn blue_first_exchanges_the_weights_of_the_first_layer() {
    let mut options = all_said();
    options.preprocess.channel_order = Some(ChannelOrder::Bgr);
    let model = load_beside("model.safetensors", &weights(), &[], &options).unwrap();
    assert_eq!(model.preprocess.mean[..3], [0.6, 0.5, 0.4]);
    let (before, after) = (weights(), model.tensor("patch_embed.proj.weight"));
    let before = &before["patch_embed.proj.weight"].data;
    assert_eq!(
        (&after.data[..16], &after.data[16..32], &after.data[32..48]),
        (&before[32..48], &before[16..32], &before[..16])
    );
}

#[test]
fn another_image_size_interpolates_and_another_arrangement_is_refused() {
    let mut square = config();
    (square.image_height, square.image_width) = (16, 16);
    let tensors = super::weights_of(&square);
    let said = serde_json::json!({ "model_args": { "num_heads": 3, "img_size": [16, 16] },
        "pretrained_cfg": { "crop_pct": 0.5, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5] } });
    let sized = |size, trained_size| {
        let options = LoadOptions { image_size: Some(size), trained_size, ..LoadOptions::default() };
        load_beside("model.safetensors", &tensors, &[("config.json", said.clone())], &options)
    };
    let larger = sized((24, 16), None).unwrap();
    assert_eq!(
        (larger.config.image_height, larger.config.image_width, larger.preprocess.resize),
        (24, 16, 48)
    );
    assert_eq!(larger.tensor("pos_embed").shape, [1, 25, 12]);
    assert_eq!(larger.tensor("pos_embed").data[..12], tensors["pos_embed"].data[..12]);
    assert_eq!(sized((8, 8), None).unwrap().preprocess.resize, 16);
    let rearranged = message(sized((8, 32), None));
    assert!(rearranged.contains("16×16") && rearranged.contains("--trained-size"), "{rearranged}");
    assert!(sized((8, 32), Some((16, 16))).unwrap().warnings.iter().any(|w| w.contains("interpolated")));
    let wrong = message(sized((16, 16), Some((12, 12))));
    assert!(wrong.contains("--trained-size says a 12×12 image"), "{wrong}");
}

#[test]
fn sizes_that_config_json_states_must_be_those_of_the_tensors() {
    let claim = |json: serde_json::Value| {
        message(load_beside("model.safetensors", &weights(), &[("config.json", json)], &three_heads()))
    };
    let depth = claim(serde_json::json!({ "model_args": { "depth": 12 } }));
    assert!(depth.contains("`model_args.depth` says 12 blocks, the tensors have 2"), "{depth}");
    assert!(claim(serde_json::json!({ "hidden_size": 13 })).contains("says 13 dim"));
    assert!(claim(serde_json::json!({ "num_classes": 6 })).contains("says 6 classes"));
    assert!(claim(serde_json::json!({ "patch_size": 8 })).contains("pixels of a patch"));
    let labels = serde_json::json!({ "id2label": { "0": "a", "1": "b" } });
    assert!(claim(labels).contains("`id2label` says 2 classes"));
    let mut headless = weights();
    headless.retain(|name, _| !name.starts_with("norm."));
    let missing = message(load(&headless));
    assert!(missing.contains("`norm.weight` is missing") && missing.contains("incomplete"), "{missing}");
}

#[test]
fn releases_that_are_known_for_imagenets_mean_have_it_by_their_names() {
    for name in ["deit_small_custom", "dino_vits_mine", "mae_pretrain_vit_x"] {
        let file = format!("{name}.safetensors");
        let model = load_beside(&file, &weights(), &[], &three_heads()).unwrap();
        assert_eq!(model.preprocess.mean, [0.485, 0.456, 0.406, 0.0], "{name}");
        assert!(setting(&model, "mean").note.contains("releases called"));
    }
    let mut tiny = config();
    (tiny.dim, tiny.hidden, tiny.depth) = (192, 8, 1);
    let tensors = super::weights_of(&tiny);
    let model =
        load_beside("deit_tiny_patch16_224-a1311bcf.safetensors", &tensors, &[], &LoadOptions::default())
            .unwrap();
    let mean = setting(&model, "mean");
    assert!(mean.origin == Origin::Assumed && mean.note.contains("deit_tiny_patch16_224"), "{mean:?}");
}
