//! What nothing says of a model: named by `convert`, kept in the file, shown by `inspect`, and in the verdict
//! of `parity`.

mod common;

use std::path::Path;

use common::{fail, misuse, succeed, vitreous};

/// The digits' weights without the config.json that says everything about them.
fn bare_weights() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits/model.safetensors");
    std::fs::copy(weights, folder.path().join("digits.safetensors")).expect("a copy");
    folder
}

/// Everything that the tensors do not say of the digits.
const ALL: &[&str] = &[
    "--heads=4",
    "--block=pre-norm",
    "--activation=gelu-erf",
    "--norm-eps=1e-6",
    "--pool=token",
    "--trained-size=8x8",
    "--image-size=8x8",
    "--mean=0.3052",
    "--std=0.376",
    "--resize=8",
    "--crop=squash",
    "--interpolation=bilinear",
];

#[test]
fn parity_says_in_its_verdict_what_both_sides_assume_and_strict_makes_it_fail() {
    let folder = bare_weights();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (weights, model, images) = (path("digits.safetensors"), path("digits.vtr"), path("held-out"));
    succeed(&["digits", "--out", &images, "--limit", "2"]);

    let converted = vitreous(&["convert", &weights, "-o", &model, "--heads=4"]);
    let warnings = String::from_utf8_lossy(&converted.stderr).into_owned();
    for line in [
        "activation gelu-erf is assumed: the usual one of timm; else pass --activation",
        "mean 0.5 is assumed",
        "else pass --mean",
        "block pre-norm is assumed",
        "image-size 8x8 is assumed",
    ] {
        assert!(warnings.contains(line), "{line}: {warnings}");
    }
    assert!(!warnings.contains("heads 4 is assumed"), "{warnings}");
    let listed = succeed(&["inspect", &model]);
    assert!(listed.contains("assumed") && listed.contains("usual for timm"), "{listed}");

    let parity = ["parity", &model, "--reference", &weights, "--images", &images, "--heads=4"];
    let report = succeed(&parity);
    let verdict = report.lines().last().expect("a verdict");
    assert!(
        verdict.starts_with("PASS (no limit was given; below 10 dB it would fail), where ")
            && verdict.contains("mean 0.5"),
        "{verdict}"
    );
    let refused = fail(&[&parity[..], &["--strict"]].concat());
    assert!(refused.contains("--strict assumes nothing") && refused.contains("--mean"), "{refused}");

    // What the reference is told, the comparison judges: a model that was converted otherwise is another one.
    let told = [&parity[..6], ALL].concat();
    let differs = fail(&told);
    assert!(differs.contains("mean 0.5 (assumed) against 0.3052 (option)"), "{differs}");
    succeed(&[&["convert", &weights, "-o", &model, "--strict"], ALL].concat());
    let report = succeed(&[&told[..], &["--strict", "--min-sqnr", "20"]].concat());
    assert_eq!(report.lines().last(), Some("PASS"));

    // The float weights of another file are not what the model was made from.
    let mut other = std::fs::read(&weights).expect("weights");
    let end = other.len();
    other[end - 1] ^= 1;
    std::fs::write(path("other.safetensors"), other).expect("writable");
    let other = path("other.safetensors");
    let of_other = [&["parity", &model, "--reference", &other, "--images", &images], ALL].concat();
    assert!(fail(&of_other).contains("another file"));
    let report = succeed(&[&of_other[..], &["--min-sqnr", "20"]].concat());
    assert!(report.lines().last().is_some_and(|line| line.contains("another file")), "{report}");
    assert!(fail(&[&of_other[..], &["--strict", "--min-sqnr", "20"]].concat()).contains("another file"));
    // A limit that everything meets is none.
    let refused = vitreous(&[&of_other[..], &["--min-sqnr", "nan"]].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no finite number"));
}

#[test]
fn a_model_that_was_converted_by_assumptions_is_not_proved_by_saying_them_to_the_reference_alone() {
    let folder = bare_weights();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (weights, model) = (path("digits.safetensors"), path("digits.vtr"));
    let json = succeed(&["convert", &weights, "-o", &model, "--heads=4", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let setting = |name: &str| {
        let settings = json["settings"].as_array().expect("settings").iter();
        settings.clone().find(|setting| setting["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!((&setting("heads")["value"], &setting("heads")["origin"]), (&"4".into(), &"option".into()));
    assert_eq!((&setting("std")["origin"], &setting("std")["option"]), (&"assumed".into(), &"--std".into()));
}

#[test]
fn wrong_options_are_refused_with_words() {
    let folder = bare_weights();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (weights, model) = (path("digits.safetensors"), path("digits.vtr"));
    let convert = |more: &[&str]| fail(&[&["convert", &weights, "-o", &model, "--heads=4"], more].concat());
    assert!(
        convert(&["--mean=0.4,0.6"]).contains("--mean says 2 values of mean, and the model has 1 channel;")
    );
    assert!(convert(&["--std=0"]).contains("std"));
    assert!(convert(&["--crop-pct=2"]).contains("at most 1"));
    assert!(convert(&["--image-size=7x8"]).contains("no whole number of 2×2 patches"));
    assert!(convert(&["--image-size=4x16"]).contains("--trained-size"));
    for wrong in [["--mean", "x"], ["--resize", "0"], ["--interpolation", "cubic"], ["--image-size", "8"]] {
        let errors = misuse(&[&["convert", &weights, "-o", &model], &wrong[..]].concat());
        assert!(errors.contains(wrong[0]), "{errors}");
    }
    assert!(!Path::new(&model).exists());
}
