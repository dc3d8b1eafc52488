//! The file that `convert --emit-rust` writes: compiled without warnings and run, it must state the same as
//! the engine; built for another core than the model's, it must be refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use vitreous_tests::{random_ipt, random_vit, repository, small_config, small_ipt_config};
use vitreous_tools::converted::ConvertedModel;
use vitreous_tools::machine::Machine;
use vitreous_tools::quantize::{quantize, rust_source, QuantizeOptions};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::target::note_skipped;

/// Prints the generated constants; `band_bytes` is evaluated by the compiler, as it is for a static.
const MAIN: &str = r#"
mod restorer;
const BAND: usize = restorer::band_bytes(restorer::X3, 321);
fn main() {
    println!("{} {} {} {BAND}", restorer::MODEL.len(), restorer::MODEL.as_ptr() as usize % 64,
        restorer::WINDOW);
    for task in 0..restorer::TASKS.len() {
        let [narrow, wide] = [1, 321].map(|width| restorer::band_bytes(task, width));
        println!("{} {} {narrow} {wide}", restorer::TASKS[task], restorer::ARENA_BYTES[task]);
    }
}
"#;

#[test]
fn the_generated_rust_of_a_restorer_says_what_the_engine_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let config = small_ipt_config();
    let bytes = quantize(&random_ipt(config.clone(), 31), &QuantizeOptions::default());
    std::fs::write(path("model.vtr"), bytes.expect("convertible")).expect("writable");
    let restorer = Restorer::load(&path("model.vtr")).expect("loadable");
    let model = ConvertedModel::load(&path("model.vtr")).expect("loadable");
    let source = rust_source(&model, "random", "model.vtr".as_ref(), None).expect("a Rust file");
    std::fs::write(path("restorer.rs"), source).expect("writable");
    std::fs::write(path("main.rs"), MAIN).expect("writable");
    let Some(printed) = printed_by(folder.path()) else { return };
    let band = |task, width| restorer.memory(task, width).expect("a plan").band.bytes();
    let mut expected = format!("{} 0 {} {}\n", restorer.file().bytes().len(), config.window, band(2, 321));
    for (index, task) in config.tasks.iter().enumerate() {
        let arena = restorer.memory(index, 1).expect("a plan").arena;
        expected += &format!("{task} {arena} {} {}\n", band(index, 1), band(index, 321));
    }
    assert_eq!(printed, expected);
}

/// What `main.rs` of a folder prints, compiled without a warning; `None` without a compiler on the path.
fn printed_by(folder: &Path) -> Option<String> {
    let compiled = Command::new("rustc")
        .current_dir(folder)
        .args(["--edition", "2021", "-D", "warnings", "main.rs", "-o", "program"])
        .output();
    let compiled = match compiled {
        Ok(output) => output,
        Err(error) => {
            note_skipped(&format!("generated Rust: no rustc on the path: {error}"));
            return None;
        }
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let output = Command::new(folder.join("program")).output().expect("runs");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a random classifier for a machine and its Rust file, `model.vtr` and `model.rs`.
fn write_classifier(folder: &Path, machine: &str, section: Option<&str>) {
    let layout = Machine::parse(machine).expect("a machine").layout();
    let options = QuantizeOptions { layout, ..QuantizeOptions::default() };
    let mut float = random_vit(small_config(), 31);
    float.labels = Vec::new();
    let path = folder.join("model.vtr");
    fs::write(&path, quantize(&float, &options).expect("convertible")).expect("writable");
    let model = ConvertedModel::load(&path).expect("loadable");
    let source = rust_source(&model, "random", "model.vtr".as_ref(), section).expect("a Rust file");
    fs::write(folder.join("model.rs"), source).expect("writable");
}

#[test]
fn a_classifier_without_labels_names_its_classes_and_unused_items_are_no_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    write_classifier(folder.path(), "portable", Some(".data.model"));
    let main = "mod model;\nfn main() {\n    print!(\"{}\", model::LABELS[3]);\n}\n";
    fs::write(folder.path().join("main.rs"), main).expect("writable");
    let Some(printed) = printed_by(folder.path()) else { return };
    assert_eq!(printed, "class 3");
    let source = fs::read_to_string(folder.path().join("model.rs")).expect("readable");
    assert!(source.contains("#[unsafe(link_section = \".data.model\")]\nstatic ALIGNED"), "{source}");
}

/// Checks firmware with a model for a machine; `None` if this machine can't compile for the target.
fn check_firmware(machine: &str, target: &str, flags: &str) -> Option<Output> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    write_classifier(folder.path(), machine, None);
    let core = repository("core");
    let manifest = format!(
        "[package]\nname = \"firmware\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\npath = \
         \"lib.rs\"\n[dependencies]\nvitreous = {{ path = {core:?} }}\n[workspace]\n"
    );
    fs::write(path("Cargo.toml"), manifest).expect("writable");
    fs::copy(repository("Cargo.lock"), path("Cargo.lock")).expect("a lock file");
    fs::write(path("lib.rs"), "#![no_std]\npub mod model;\n").expect("writable");
    // One folder for all, so that dependencies are compiled once.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust_source");
    let output = Command::new("cargo")
        .current_dir(folder.path())
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["check", "--offline", "--target", target, "--target-dir"])
        .arg(built)
        .output();
    let output = output
        .map_err(|error| {
            note_skipped(&format!("firmware with generated Rust: no cargo on the path: {error}"))
        })
        .ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("can't find crate for `core`") {
        note_skipped(&format!("firmware with generated Rust: {target} is not installed"));
        return None;
    }
    Some(output)
}

#[test]
fn firmware_with_a_model_for_another_core_is_never_built() {
    // A Cortex-M33, whose project does not name it to the compiler.
    let target = "thumbv8m.main-none-eabihf";
    for (machine, flags, way_out) in [
        ("rp2350", "", None),
        ("rp2350", "-C target-cpu=cortex-m55", Some("-C target-cpu=cortex-m4")),
        ("cortex-m55", "", Some("-C target-cpu=cortex-m55")),
        ("cortex-m55", "-C target-cpu=cortex-m55", None),
        ("portable", "", Some("`vitreous convert --for`")),
    ] {
        let Some(output) = check_firmware(machine, target, flags) else { return };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), way_out.is_none(), "{machine} with `{flags}`: {errors}");
        assert!(errors.contains(way_out.unwrap_or_default()), "{machine} with `{flags}`: {errors}");
    }
}
