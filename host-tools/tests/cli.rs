//! The command line, as a user meets it: the whole way on digits, and what wrong input gets.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{fail, misuse, succeed, vitreous};

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits")
}

/// A folder with digits.vtr and held-out images.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeed(&[
        "convert",
        &digits().display().to_string(),
        "-o",
        &path("digits.vtr"),
        "--emit-rust",
        &path("digits.rs"),
    ]);
    succeed(&["digits", "--out", &path("held-out"), "--limit", "2"]);
    folder
}

#[test]
fn the_whole_way_on_digits() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let inspection = succeed(&["inspect", &path("digits.vtr")]);
    assert!(inspection.contains("arena 4,992 bytes"), "{inspection}");
    let json: serde_json::Value =
        serde_json::from_str(&succeed(&["inspect", &path("digits.vtr"), "--json"])).expect("JSON");
    assert_eq!(json["arena_bytes"], 4992);
    let json = succeed(&["run", &path("digits.vtr"), &path("held-out/7/0000.png"), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["images"][0]["predictions"][0]["label"], "7");
    let reference = digits().display().to_string();
    let parity = ["parity", &path("digits.vtr"), "--reference", &reference, "--images", &path("held-out")];
    let html = path("parity.html");
    let report =
        succeed(&[&parity[..], &["--min-sqnr", "27", "--max-top1-drop", "0.2", "--html", &html]].concat());
    assert!(report.contains("PASS"), "{report}");
    assert!(std::fs::read_to_string(&html).expect("a page").contains("class=\"pass\">PASS<"));
    let errors = fail(&[&parity[..], &["--min-sqnr", "90"]].concat());
    assert!(errors.contains("below 90 dB"), "{errors}");
    let rust = std::fs::read_to_string(path("digits.rs")).expect("a Rust file");
    assert!(
        rust.contains("include_bytes!(\"digits.vtr\")") && rust.contains("ARENA_BYTES: usize = 4992"),
        "{rust}"
    );
}

#[test]
fn kernels_are_listed_chosen_and_timed() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let list = succeed(&["inspect", "--cpu"]);
    assert!(list.contains("portable") && list.contains("in use"), "{list}");
    let errors = fail(&["inspect", "--cpu", "--kernels", "sse9"]);
    assert!(errors.contains("no kernels named `sse9`") && errors.contains("portable"), "{errors}");

    let (weights, panels) = (digits().display().to_string(), path("panels.vtr"));
    succeed(&["convert", &weights, "-o", &panels, "--for", "x86-64"]);
    let run = |model: &str, more: &[&str]| {
        let image = path("held-out/3/0000.png");
        let json = succeed(&[&["run", model, &image, "--json"], more].concat());
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        json["images"][0]["predictions"].clone()
    };
    let want = run(&path("digits.vtr"), &["--kernels", "portable", "--threads", "1"]);
    assert_eq!(run(&path("digits.vtr"), &[]), want);
    assert_eq!(run(&panels, &["--threads", "2"]), want);

    let (model, result) = (path("digits.vtr"), path("bench.json"));
    let bench = ["bench", &model, "--runs", "2", "--threads", "2"];
    let table = succeed(&[&bench[..], &["--output", &result]].concat());
    assert!(table.contains("attention") && table.contains("2 threads"), "{table}");
    let table = succeed(&[&bench[..], &["--compare", &result, "--layers"]].concat());
    assert!(table.contains("before / now") && table.contains("0 mlp"), "{table}");
    assert!(fail(&["bench", &model, "--compare", &model]).contains("cannot read"));
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&result).expect("a result")).expect("JSON");
    let stages = json["stages"].as_array().expect("stages");
    let bytes: u64 = stages.iter().filter_map(|stage| stage["bytes"].as_u64()).sum();
    let all = json["model_bytes"].as_u64().expect("bytes");
    // What is no weights: header, configuration, and where the settings come from, which is text.
    let engine = vitreous_tools::engine::Engine::load(Path::new(&model)).expect("a model");
    let text = engine.file().settings().expect("settings").to_text().len() as u64;
    assert!((all - text - 1024..all).contains(&bytes), "{bytes} of {all} bytes are weights, {text} text");
}

#[test]
fn an_error_budget_chooses_layers_for_f16() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let weights = digits().display().to_string();
    let convert = |budget: &str| {
        let (output, images) = (path("mixed.vtr"), path("held-out"));
        vec![
            "convert".into(),
            weights.clone(),
            "-o".into(),
            output,
            "--images".into(),
            images,
            "--min-sqnr".into(),
            budget.to_owned(),
        ]
    };
    let run = |arguments: Vec<String>| vitreous(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = run([convert("30"), vec!["--json".into()]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["keep_f16"].as_array().map(Vec::len), Some(0), "int8 is good enough: {json}");
    let output = run([convert("46"), vec!["--json".into()]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kept = json["keep_f16"].as_array().map_or(0, Vec::len);
    assert!((1..13).contains(&kept), "some layers, not all: {json}");
    assert!(json["choice"]["db"].as_f64().is_some_and(|db| db >= 46.0), "{json}");
    let output = run(convert("150"));
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("out of reach"));
}

#[test]
fn the_generated_rust_compiles() {
    let folder = prepared();
    let source = folder.path().join("digits.rs");
    let output = Command::new("rustc")
        .args([
            "--edition",
            "2021",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "-D",
            "warnings",
            "--out-dir",
        ])
        .arg(folder.path())
        .arg(&source)
        .output();
    match output {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: no rustc on the path: {error}"),
    }
}

#[test]
fn wrong_input_is_named() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let model = path("digits.vtr");
    let errors = fail(&["inspect", &path("none.vtr")]);
    assert!(errors.contains("none.vtr") && errors.contains("No such file"), "{errors}");
    std::fs::write(path("text.png"), "no image").expect("writable");
    let errors = fail(&["run", &model, &path("text.png")]);
    assert!(errors.contains("text.png"), "{errors}");
    let errors = fail(&["inspect", &path("text.png")]);
    assert!(errors.contains("not a .vtr file"), "{errors}");
    let mut damaged = std::fs::read(&model).expect("a model");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    std::fs::write(path("damaged.vtr"), &damaged).expect("writable");
    let errors = fail(&["run", &path("damaged.vtr"), &path("held-out/7/0000.png")]);
    assert!(errors.contains("damaged.vtr") && errors.contains("CRC-32"), "{errors}");
    std::fs::write(path("short.vtr"), &damaged[..middle]).expect("writable");
    let errors = fail(&["inspect", &path("short.vtr")]);
    assert!(errors.contains("the file ends at byte"), "{errors}");
    let errors = fail(&["convert", &path("text.png"), "-o", &path("x.vtr")]);
    assert!(errors.contains("text.png"), "{errors}");
    let errors = fail(&["convert", &digits().display().to_string(), "-o", &path("no/where/x.vtr")]);
    assert!(errors.contains("cannot write"), "{errors}");
    let errors = fail(&[
        "convert",
        &digits().display().to_string(),
        "-o",
        &path("x.vtr"),
        "--keep-f16",
        "blocks.9.fc1",
    ]);
    assert!(errors.contains("blocks.9.fc1") && errors.contains("3 blocks"), "{errors}");
    let errors =
        fail(&["run", &model, &path("held-out/7/0000.png"), "--target", "qemu-m7", "--timeout", "0"]);
    assert!(!errors.is_empty());
    let errors = misuse(&["bench", &model, "--runs", "0"]);
    assert!(errors.contains("a number from 1 on is wanted"), "{errors}");
    let errors = misuse(&["bench", &model, "--threads", "9999"]);
    assert!(errors.contains("'--threads <THREADS>'") && errors.contains("256"), "{errors}");
}

#[test]
fn weights_with_a_missing_misshapen_or_broken_tensor_are_named() {
    use vitreous_tools::checkpoint::FloatVit;
    let float = FloatVit::load(&digits(), &Default::default()).expect("the shipped model");
    let refused = |change: &dyn Fn(&mut FloatVit)| {
        let mut changed = float.clone();
        change(&mut changed);
        FloatVit::new(changed.name, changed.config, changed.preprocess, changed.labels, changed.tensors)
            .expect_err("refused")
            .to_string()
    };
    let error = refused(&|f| drop(f.tensors.remove("blocks.1.mlp.fc2.weight")));
    assert!(error.contains("blocks.1.mlp.fc2.weight"), "{error}");
    let error = refused(&|f| f.tensors.get_mut("norm.bias").expect("there").shape = vec![3]);
    assert!(error.contains("norm.bias") && error.contains('3'), "{error}");
    let error = refused(&|f| f.tensors.get_mut("head.weight").expect("there").data[5] = f32::NAN);
    assert!(error.contains("head.weight"), "{error}");
}
