//! What files say against each other, against the tensors, or beyond what the engine does.
use super::assumptions::{load_beside, setting, three_heads};
use super::*;
use crate::checkpoint::metadata::Metadata;
use crate::checkpoint::settings::Origin;
use serde_json::{json, Value};

fn with_config(config: Value) -> Result<FloatVit, CheckpointError> {
    load_beside("model.safetensors", &weights(), &[("config.json", config)], &three_heads())
}

fn with_processor(processor: Value) -> Result<FloatVit, CheckpointError> {
    let files = [("preprocessor_config.json", processor)];
    load_beside("model.safetensors", &weights(), &files, &three_heads())
}

/// A model of 16×8 pixels.
fn tall() -> BTreeMap<String, FloatTensor> {
    weights_of(&VitConfig { image_height: 16, ..config() })
}

#[test]
fn what_config_json_says_of_the_tensors_they_must_show() {
    for (said, words) in [
        (json!({ "model_args": { "mlp_ratio": 4.0 } }), "`model_args.mlp_ratio` says 4, the tensors have 20"),
        (
            json!({ "model_args": { "patch_size": [2, 8] } }),
            "says 2×8 pixels of a patch, the tensors have 4×4",
        ),
        (json!({ "pretrained_cfg": { "input_size": [1, 8, 8] } }), "says 1 channels, the tensors have 3"),
        (json!({ "model_args": { "class_token": false } }), "says that the model is without a class token"),
        (json!({ "model_args": { "reg_tokens": 4 } }), "says 4 register tokens, the tensors have 0"),
        (json!({ "model_args": { "qkv_bias": false } }), "is without biases of query, key and value"),
        (json!({ "model_args": { "init_values": 1e-5 } }), "has LayerScale, and the tensors have none"),
        (json!({ "model_args": { "fc_norm": true } }), "`fc_norm`"),
        (json!({ "model_args": { "final_norm": false } }), "is without a norm behind the blocks"),
        (json!({ "head_dim": 5 }), "`head_dim` says 5 values per head, and 3 heads of them are not 12 dim"),
        (json!({ "model_args": { "qk_norm": true } }), "norms of queries and keys"),
        (json!({ "model_args": { "pre_norm": true } }), "a norm in front of the blocks"),
        (json!({ "model_args": { "pos_embed": "none" } }), "no learned positions"),
        (json!({ "use_swiglu_ffn": true }), "gated MLPs"),
    ] {
        let message = message(with_config(said.clone()));
        assert!(message.contains(words), "{said}: {message}");
    }
    // A grey model keeps the colours of the one that it began as.
    let grey = weights_of(&VitConfig { channels: 1, ..config() });
    let said = json!({ "model_args": { "in_chans": 1 }, "pretrained_cfg": { "input_size": [3, 8, 8] } });
    load_beside("model.safetensors", &grey, &[("config.json", said)], &three_heads()).unwrap();
    let whole = json!({ "model_args": { "mlp_ratio": 1.7, "patch_size": [4, 4], "class_token": true } });
    with_config(whole).unwrap();
}

#[test]
fn statements_that_contradict_each_other_are_both_named() {
    for (said, one, other) in [
        (
            json!({ "global_pool": "token", "model_args": { "global_pool": "avg" } }),
            "`global_pool`",
            "\"avg\"",
        ),
        (json!({ "num_heads": 4, "model_args": { "num_heads": 3 } }), "`num_heads` says 4", "says 3"),
        (json!({ "num_attention_heads": 4, "num_heads": 3 }), "`num_attention_heads` says 4", "says 3"),
        (
            json!({ "mean": [0.1, 0.2, 0.3], "pretrained_cfg": { "mean": [0.5, 0.5, 0.5] } }),
            "`mean` says [0.1,0.2,0.3]",
            "`pretrained_cfg.mean` says [0.5,0.5,0.5]",
        ),
        (
            json!({ "layer_norm_eps": 1e-5, "model_args": { "norm_eps": 1e-6 } }),
            "`layer_norm_eps`",
            "`model_args",
        ),
    ] {
        let message = message(with_config(said));
        assert!(message.contains(one) && message.contains(other), "{message}");
    }
    let model = with_config(json!({ "model_args": { "global_pool": "avg", "norm_eps": 1e-3 } })).unwrap();
    assert_eq!((model.config.pool, model.config.norm_eps), (Pool::Mean, 1e-3));
    let model = with_config(json!({ "model_args": { "foo_layer": "bar" }, "architecture": "" })).unwrap();
    assert!(model.warnings.iter().any(|w| w.contains("`model_args.foo_layer` is not known")));
    assert!(!model.name.is_empty());
}

#[test]
fn an_architecture_of_another_width_says_nothing_and_that_is_said() {
    let named = json!({ "architecture": "vit_base_patch16_224", "model_args": { "num_heads": 3 } });
    let model = with_config(named).unwrap();
    let warned = model.warnings.iter().any(|w| w.contains("have a width of 768, and the tensors have 12"));
    assert!(warned, "{:?}", model.warnings);
    for name in ["block", "activation", "norm-eps", "pool", "mean", "resize"] {
        assert_eq!(setting(&model, name).origin, Origin::Assumed, "{name}");
    }
    // A file that only tells the width names a variant, whose blocks are those of the name.
    let variant = json!({ "architecture": "vit_base_patch16_224", "num_features": 12,
        "model_args": { "num_heads": 3 } });
    let model = with_config(variant).unwrap();
    assert_eq!(setting(&model, "block").origin, Origin::Architecture);
    assert_eq!(setting(&model, "activation").origin, Origin::Assumed);
    // The argument of timm's constructor replaces the width alone.
    let narrower = json!({ "architecture": "vit_base_patch16_224",
        "model_args": { "embed_dim": 12, "num_heads": 3 } });
    let model = with_config(narrower).unwrap();
    for name in ["block", "activation", "norm-eps"] {
        assert_eq!(setting(&model, name).origin, Origin::Architecture, "{name}");
    }
    assert!(!model.warnings.iter().any(|w| w.contains("no value is taken")), "{:?}", model.warnings);
}

#[test]
fn pixels_of_255_and_lists_of_another_length_are_refused_wherever_they_stand() {
    for (said, words) in [
        (json!({ "mean": [123.7, 116.3, 103.5] }), "config.json `pretrained_cfg.mean` says the mean 123.7"),
        (json!({ "std": [58.4, 57.1, 57.4] }), "0..255"),
        (json!({ "mean": [0.5, 0.5] }), "says 2 values of mean, and the model has 3 channels"),
        (json!({ "std": [0.0, 0.1, 0.1] }), "says the std 0,0.1,0.1"),
    ] {
        let message = message(with_config(json!({ "pretrained_cfg": said })));
        assert!(message.contains(words), "{message}");
    }
    let processor = json!({ "do_rescale": true, "image_mean": [127.5, 127.5, 127.5] });
    assert!(message(with_processor(processor)).contains("preprocessor_config.json `image_mean`"));
    let mut options = three_heads();
    options.preprocess.mean = Some(vec![0.5, 0.5]);
    assert!(message(load_with(&weights(), &options)).contains("--mean says 2 values of mean"));
    // What is usual for colours is so for two channels.
    let two = weights_of(&VitConfig { channels: 2, ..config() });
    assert_eq!(load(&two).unwrap().preprocess.mean[..2], [0.5, 0.5]);
}

#[test]
fn a_centre_crop_covers_the_model_or_says_that_it_does_not() {
    let said = json!({ "model_args": { "img_size": [16, 8] },
        "pretrained_cfg": { "crop_pct": 0.5, "crop_mode": "center" } });
    let load = |options: &LoadOptions, files: &[(&str, Value)]| {
        load_beside("model.safetensors", &tall(), files, options)
    };
    let model = load(&three_heads(), &[("config.json", said.clone())]).unwrap();
    let resize = setting(&model, "resize");
    assert_eq!((model.preprocess.resize, resize.origin), (32, Origin::Assumed));
    assert!(resize.note.contains("`pretrained_cfg.crop_pct`") && resize.note.contains("16×8"), "{resize:?}");
    let strict = LoadOptions { strict: true, ..three_heads() };
    assert!(message(load(&strict, &[("config.json", said.clone())])).contains("--resize"));

    let option = |resize| {
        let mut options = three_heads();
        options.preprocess.resize = Some(resize);
        load(&options, &[("config.json", said.clone())])
    };
    assert!(message(option(7)).contains("less than the 8 pixels"));
    let some = option(12).unwrap();
    assert!(some.warnings.iter().any(|w| w.contains("1.333 times as high as wide")), "{:?}", some.warnings);
    assert!(!option(16).unwrap().warnings.iter().any(|w| w.contains("black borders")));

    let processor = json!({ "size": { "shortest_edge": 4 }, "do_center_crop": true,
        "crop_size": { "height": 8, "width": 8 } });
    let model = with_processor(processor).unwrap();
    let resize = setting(&model, "resize");
    assert!(resize.origin == Origin::Assumed && resize.note.contains("every photograph gets black borders"));
}

#[test]
fn processors_do_what_their_class_does_or_are_doubted() {
    let edge = |class: &str, edge: usize| {
        with_processor(json!({ "image_processor_type": class, "size": { "shortest_edge": edge } })).unwrap()
    };
    let (levit, convnext) = (edge("LevitImageProcessor", 28), edge("ConvNextImageProcessor", 8));
    assert_eq!((levit.preprocess.resize, levit.preprocess.crop), (32, Crop::Center));
    assert_eq!((convnext.preprocess.resize, convnext.preprocess.crop), (9, Crop::Center));
    let clip =
        with_processor(json!({ "image_processor_type": "CLIPImageProcessorFast", "size": 10 })).unwrap();
    assert_eq!((clip.preprocess.resize, setting(&clip, "crop").origin), (10, Origin::File));
    let other = edge("FooImageProcessor", 10);
    assert!(setting(&other, "resize").note.contains("FooImageProcessor is not known"));

    let plain = |more: Value| {
        let mut processor = json!({ "size": { "height": 8, "width": 8 }, "do_flip_channel_order": false });
        let more = more.as_object().unwrap().clone();
        processor.as_object_mut().unwrap().extend(more);
        with_processor(processor).unwrap()
    };
    assert_eq!(setting(&plain(json!({ "do_pad": false })), "crop").origin, Origin::File);
    for key in ["do_pad", "do_thumbnail", "do_align_long_axis", "do_something"] {
        let model = plain(json!({ key: true }));
        let crop = setting(&model, "crop");
        assert!(crop.origin == Origin::Assumed && crop.note.contains(key), "{crop:?}");
    }
    for key in ["do_grayscale", "do_color_quantize"] {
        assert!(setting(&plain(json!({ key: true })), "channel-order").note.contains(key));
    }
    assert!(setting(&plain(json!({ "crop_pct": 0.5 })), "crop").note.contains("crop_pct"));
    assert!(plain(json!({ "foo": 1 })).warnings.iter().any(|w| w.contains("`foo` is not known")));
}

#[test]
fn which_labels_are_taken_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    archive::write(&path("model.safetensors"), &weights()).unwrap();
    let load = |options: &LoadOptions| FloatVit::load(&path("model.safetensors"), options);
    std::fs::write(path("labels.txt"), "a\nb\nc\nd\ne\n").unwrap();
    std::fs::write(path("classes.txt"), "a\nb\nc\nd\ne").unwrap();
    let warned = |model: FloatVit| model.warnings.iter().any(|w| w.contains("labels of"));
    assert!(!warned(load(&three_heads()).unwrap()));
    std::fs::write(path("classes.txt"), "v\nw\nx\ny\nz\n").unwrap();
    assert!(warned(load(&three_heads()).unwrap()));
    std::fs::remove_file(path("classes.txt")).unwrap();
    std::fs::write(path("config.json"), r#"{ "label_names": ["v", "w", "x", "y", "z"] }"#).unwrap();
    let model = load(&three_heads()).unwrap();
    assert_eq!(model.labels[0], "a");
    assert!(warned(model));
    let two = r#"{ "label_names": ["v", "w", "x", "y", "z"],
        "id2label": { "0": "a", "1": "b", "2": "c", "3": "d", "4": "e" } }"#;
    std::fs::write(path("config.json"), two).unwrap();
    assert!(warned(load(&three_heads()).unwrap()));
    std::fs::write(path("empty.txt"), "\n\n").unwrap();
    let labels = Some(path("empty.txt"));
    assert!(message(load(&LoadOptions { labels, ..three_heads() })).contains("holds no labels"));
    std::fs::write(path("long.txt"), "x".repeat(2000)).unwrap();
    let labels = Some(path("long.txt"));
    assert!(message(load(&LoadOptions { labels, ..three_heads() })).contains("line 1 has 2000 bytes"));
    if Path::new("/dev/zero").exists() {
        let labels = Some("/dev/zero".into());
        assert!(message(load(&LoadOptions { labels, ..three_heads() })).contains("larger than 64 MiB"));
    }
}

#[test]
fn a_folder_is_called_after_a_release_by_its_whole_name_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, file, is_release) in [
        ("my_dino_folder", "weights", false),
        ("dino", "weights", true),
        ("x", "moco_v3_mine", true),
        ("x", "dinosaur", false),
        ("x", "dinov2_mine", true),
    ] {
        let folder = dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{file}.safetensors"));
        archive::write(&path, &weights()).unwrap();
        let model = FloatVit::load(&path, &three_heads()).unwrap();
        assert_eq!(setting(&model, "mean").note.contains("releases called"), is_release, "{file}");
    }
}

#[test]
fn values_that_a_training_noted_are_read_and_called_by_their_own_keys() {
    let file = torch_file(&weights());
    let mut archive = Archive::read(file.path(), None).unwrap();
    let noted = [
        ("args.num_heads", "3"),
        ("args.pool", "mean"),
        ("args.norm_eps", "0.001"),
        ("args.input_size", "[3, 8, 8]"),
        ("args.mean", "[0.1, 0.2, 0.3]"),
    ];
    archive.facts = noted.map(|(key, value)| (key.to_string(), value.to_string())).into_iter().collect();
    let record = crate::checkpoint::metadata::record::of(&archive).unwrap();
    assert!(record.place("pretrained_cfg.mean").ends_with("`args.mean`"));
    assert!(record.place("global_pool").ends_with("`args.pool`"));
    let metadata = Metadata::read(None, &archive, "x", false).unwrap();
    assert_eq!(metadata.pool.unwrap().value, "avg");
    assert_eq!(metadata.norm_eps.unwrap().value, 1e-3);
    assert_eq!(metadata.image.unwrap().value, (8, 8));
    archive.facts.insert("args.pool".into(), "4".into());
    assert!(Metadata::read(None, &archive, "x", false).unwrap().pool.is_none());
}

#[test]
fn what_is_lost_or_zero_or_beyond_the_format_is_said() {
    let mut zeros = weights();
    zeros.get_mut("blocks.1.mlp.fc2.weight").unwrap().data.fill(0.0);
    let model = load(&zeros).unwrap();
    assert!(model
        .warnings
        .iter()
        .any(|w| w.contains("1 of 10 layers are 0, such as `blocks.1.mlp.fc2.weight`")));
    assert!(!load(&weights()).unwrap().warnings.iter().any(|w| w.contains("are 0")));

    let mixed = weights().into_iter().map(|(name, tensor)| match name.starts_with("blocks.1") {
        true => (format!("module.{name}"), tensor),
        false => (name, tensor),
    });
    let message_of = message(load(&mixed.collect()));
    assert!(message_of.contains("`module.blocks.1.") && message_of.contains("has the prefix `module.`"));

    let with = |change: &dyn Fn(&mut LoadOptions)| {
        let mut options = three_heads();
        change(&mut options);
        message(load_with(&weights(), &options))
    };
    assert!(with(&|o| o.norm_eps = Some(1e30))
        .contains("epsilon is 1e30, expected 9.09e-13 to 1; pass --norm-eps"));
    let resize = with(&|o| o.preprocess.resize = Some(99_999_999));
    assert!(resize.contains("--resize 1 to 65536") && !resize.contains('{'), "{resize}");
    let large = with(&|o| o.image_size = Some((4096, 4096)));
    assert!(large.contains("1024×1024 patches is too large") && large.contains("--image-size"), "{large}");
    let missing = CheckpointError::MissingTensor {
        path: "x".into(),
        tensor: "y".into(),
        expected: vec![],
        hint: "z".into(),
    };
    assert_eq!(missing.to_string(), "x: tensor `y` is missing; z");
}

#[test]
fn a_model_takes_other_images_by_interpolated_positions() {
    let model = load(&weights()).unwrap();
    let larger = model.with_image(16, 12).unwrap();
    assert_eq!((larger.config.image_height, larger.config.image_width), (16, 12));
    assert_eq!(larger.tensor("pos_embed").shape, [1, 13, 12]);
    assert!(model.with_image(10, 8).is_err());
}
