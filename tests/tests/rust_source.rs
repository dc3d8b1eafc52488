//! The file that `convert --emit-rust` writes for a restorer: compiled and run, it must state the same as the
//! engine.

use std::process::Command;

use vitreous_tests::{random_ipt, small_ipt_config};
use vitreous_tools::converted::ConvertedModel;
use vitreous_tools::quantize::{quantize, rust_source, QuantizeOptions};
use vitreous_tools::restorer::Restorer;

/// Prints the generated constants; `band_bytes` is evaluated by the compiler, as it is for a static.
const MAIN: &str = r#"
#[allow(dead_code)]
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
    let compiled = Command::new("rustc")
        .current_dir(folder.path())
        .args(["--edition", "2021", "-D", "warnings", "main.rs", "-o", "program"])
        .output();
    let compiled = match compiled {
        Ok(output) => output,
        Err(error) => return println!("skipped: no rustc on the path: {error}"),
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let output = Command::new(path("program")).output().expect("runs");
    let band = |task, width| restorer.memory(task, width).expect("a plan").band.bytes();
    let mut expected = format!("{} 0 {} {}\n", restorer.file().bytes().len(), config.window, band(2, 321));
    for (index, task) in config.tasks.iter().enumerate() {
        let arena = restorer.memory(index, 1).expect("a plan").arena;
        expected += &format!("{task} {arena} {} {}\n", band(index, 1), band(index, 321));
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
