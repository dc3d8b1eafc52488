//! Outputs that are no softmax of classes, from config.json to what is shown, on this machine and on a
//! target.

mod common;

use std::path::Path;

use common::{fail, succeed};
use serde_json::{json, Value};
use vitreous::models::vit::{Output, VitConfig};
use vitreous_tools::checkpoint::{FloatTensor, FloatVit};
use vitreous_tools::target::Target;

/// The digits' model with its first `outputs` outputs, as transformers or timm would leave it: weights, and a
/// config.json that says nothing but what `config` has.
fn checkpoint(folder: &Path, outputs: usize, config: &Value) -> String {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits");
    let mut float = FloatVit::load(&digits, &Default::default()).expect("the shipped model");
    let dim = float.config.dim;
    let cut = |tensor: &FloatTensor, width: usize| FloatTensor {
        shape: [&[outputs], &tensor.shape[1..]].concat(),
        data: tensor.data[..outputs * width].to_vec(),
    };
    for (name, width) in [("head.weight", dim), ("head.bias", 1)] {
        let tensor = cut(&float.tensors[name], width);
        float.tensors.insert(name.into(), tensor);
    }
    let output = Output::unsaid(outputs);
    let changed = VitConfig { classes: outputs, output, ..float.config };
    let float =
        FloatVit::new("digits".into(), changed, float.preprocess, vec![], float.tensors).expect("valid");
    float.save(folder).expect("writable");
    std::fs::write(folder.join("config.json"), config.to_string()).expect("writable");
    folder.display().to_string()
}

/// Folder with a model of `outputs` outputs and images, and the options that a bare model of digits needs.
struct Case {
    folder: tempfile::TempDir,
}

const BARE: [&str; 2] = ["--heads", "4"];

impl Case {
    fn new(outputs: usize, config: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        checkpoint(&folder.path().join("float"), outputs, config);
        let case = Self { folder };
        succeed(&["digits", "--out", &case.path("held-out"), "--limit", "1"]);
        case
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn convert(&self, options: &[&str]) -> String {
        let (float, model, rust) = (self.path("float"), self.path("m.vtr"), self.path("m.rs"));
        succeed(&[&["convert", &float, "-o", &model, "--emit-rust", &rust][..], &BARE, options].concat())
    }

    fn run(&self, options: &[&str]) -> Value {
        let (model, image) = (self.path("m.vtr"), self.path("held-out/7/0000.png"));
        let text = succeed(&[&["run", &model, &image, "--json"][..], options].concat());
        let report: Value = serde_json::from_str(&text).expect("JSON");
        report["images"][0].clone()
    }

    fn parity(&self, options: &[&str]) -> Vec<String> {
        let words = ["parity", &self.path("m.vtr"), "--reference", &self.path("float"), "--images"];
        let images = self.path("held-out");
        words
            .iter()
            .copied()
            .chain([images.as_str()])
            .chain(BARE)
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect()
    }
}

fn succeed_all(arguments: &[String]) -> String {
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn fail_all(arguments: &[String]) -> String {
    fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn logit(value: &Value) -> f64 {
    value["logit"].as_f64().expect("a logit")
}

#[test]
fn labels_that_hold_each_for_itself_get_sigmoids() {
    let case = Case::new(10, &json!({"problem_type": "multi_label_classification"}));
    case.convert(&[]);
    let image = case.run(&["--top", "10"]);
    assert_eq!(image["output"], "sigmoid");
    let predictions = image["predictions"].as_array().expect("a list");
    assert_eq!(predictions.len(), 10);
    for p in predictions {
        let exact = 1.0 / (1.0 + (-logit(p)).exp());
        assert!((p["probability"].as_f64().expect("a number") - exact).abs() < 1e-6, "{p}");
        assert_eq!(p["holds"], logit(p) > 0.0, "{p}");
    }
    let text = succeed(&["run", &case.path("m.vtr"), &case.path("held-out/7/0000.png")]);
    assert!(text.contains("holds"), "{text}");
    assert!(succeed(&["inspect", &case.path("m.vtr")]).contains("output sigmoid"));
    let report = succeed_all(&case.parity(&["--min-agreement", "90", "--html", &case.path("p.html")]));
    assert!(report.contains("same decision") && !report.contains("best class"), "{report}");
    let errors = fail_all(&case.parity(&["--max-top1-drop", "1"]));
    assert!(errors.contains("--max-top1-drop says nothing"), "{errors}");
    let rust = std::fs::read_to_string(case.path("m.rs")).expect("a file");
    assert!(rust.contains("each of which counts for itself"), "{rust}");
}

#[test]
fn a_regression_gets_values_in_their_order() {
    let case = Case::new(7, &json!({"problem_type": "regression"}));
    case.convert(&[]);
    let image = case.run(&[]);
    assert_eq!(image["output"], "values");
    let values = image["predictions"].as_array().expect("a list");
    let order: Vec<_> = values.iter().map(|v| v["class"].as_u64().expect("a number")).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6], "all of them, not five");
    assert!(values[0].get("probability").is_none());
    let report = succeed_all(&case.parity(&["--max-difference", "5"]));
    assert!(report.contains("values differ by") && !report.contains("best class"), "{report}");
    let errors = fail_all(&case.parity(&["--max-difference", "0.0000001"]));
    assert!(errors.contains("a value differs by"), "{errors}");
    for option in ["--min-agreement", "--max-top1-drop"] {
        let errors = fail_all(&case.parity(&[option, "1"]));
        assert!(errors.contains(option) && errors.contains("plain values"), "{errors}");
    }
}

#[test]
fn a_single_output_is_never_a_softmax() {
    // What transformers writes of `num_labels=1`, and what a bare file says.
    for config in [
        json!({"id2label": {"0": "LABEL_0"}}),
        json!({}),
        json!({"problem_type": "single_label_classification"}),
    ] {
        let case = Case::new(1, &config);
        case.convert(&[]);
        let image = case.run(&[]);
        assert_eq!(image["output"], "values", "{config}");
        assert!(image["predictions"][0]["value"].is_number());
        succeed_all(&case.parity(&[]));
        let (float, model) = (case.path("float"), case.path("m.vtr"));
        let convert = ["convert", &float, "-o", &model, "--heads", "4", "--scores"];
        let errors = fail(&[&convert[..], &["softmax"]].concat());
        assert!(errors.contains("always 1") && errors.contains("--scores"), "{errors}");
        case.convert(&["--scores", "sigmoid"]);
        assert_eq!(case.run(&[])["output"], "sigmoid");
    }
}

#[test]
fn options_overrule_the_file_and_nonsense_is_refused() {
    let case = Case::new(3, &json!({"problem_type": "regression"}));
    case.convert(&["--scores", "softmax"]);
    assert_eq!(case.run(&[])["output"], "softmax");
    // Three classes have three folders.
    for class in ["0", "1", "2"] {
        std::fs::create_dir_all(case.path(&format!("few/{class}"))).expect("writable");
        let image = |folder: &str| case.path(&format!("{folder}/{class}/0000.png"));
        std::fs::copy(image("held-out"), image("few")).expect("writable");
    }
    std::fs::remove_dir_all(case.path("held-out")).expect("removable");
    std::fs::rename(case.path("few"), case.path("held-out")).expect("movable");
    let errors = fail_all(&case.parity(&[]));
    assert!(errors.contains("reference"), "parity must have convert's options: {errors}");
    succeed_all(&case.parity(&["--scores", "softmax"]));
    let case = Case::new(3, &json!({"problem_type": "clustering"}));
    let errors = fail(&["convert", &case.path("float"), "-o", &case.path("m.vtr"), "--heads", "4"]);
    assert!(errors.contains("problem_type") && errors.contains("clustering"), "{errors}");
}

#[test]
fn what_was_saved_without_an_output_is_a_softmax() {
    let folder = tempfile::tempdir().expect("a folder");
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits");
    let float = FloatVit::load(&digits, &Default::default()).expect("the shipped model");
    assert_eq!(float.config.output, Output::Softmax);
    let config = VitConfig { output: Output::Sigmoid, ..float.config };
    let float = FloatVit { config, ..float };
    float.save(folder.path()).expect("writable");
    let again = FloatVit::load(folder.path(), &Default::default()).expect("loadable");
    assert_eq!(again.config.output, Output::Sigmoid);
}

#[test]
fn a_target_shows_the_same() {
    for (outputs, problem) in [(4, "multi_label_classification"), (1, "regression")] {
        let case = Case::new(outputs, &json!({"problem_type": problem}));
        case.convert(&["--for", "cortex-m4"]);
        let target: Target = "qemu-m4".parse().expect("a target");
        if !target.available_for_test("outputs") {
            return;
        }
        let (here, there) = (case.run(&[]), case.run(&["--target", "qemu-m4"]));
        assert_eq!((&here["output"], &here["predictions"]), (&there["output"], &there["predictions"]));
    }
}
