//! Names from files that try to act: as Rust code, on a terminal, in JSON, HTML and SVG, and what the working
//! directory holds.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{misuse, succeed, vitreous};
use serde_json::Value;
use vitreous_tools::checkpoint::FloatVit;
use vitreous_tools::engine::Engine;

/// The model's name: leaves a comment, or so it tries.
const NAME: &str = "x\n*/ pub fn attack() {} /*\r\u{2028}pub fn attack() {}\u{1b}[31m\u{202e}";

/// Labels for the ten digits.
const LABELS: [&str; 10] = [
    "plain",
    "\"]; pub fn attack() {} //",
    "back\\slash\\",
    "two\nlines",
    "\u{1b}]0;title\u{7}",
    "\u{202e}drawkcab",
    "*/ /* // {} {0}",
    "\u{0}nul",
    "</td><script>alert('1')</script>",
    "猫 é \u{200b}",
];

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits")
}

/// Characters that act on a terminal.
fn acting(text: &str) -> Vec<char> {
    let acts = |c: &char| (c.is_control() && *c != '\n') || "\u{200b}\u{202e}\u{2028}".contains(*c);
    text.chars().filter(acts).collect()
}

fn assert_harmless(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    assert_eq!(acting(&text), [], "{text:?}");
    text
}

/// A folder with `float`, whose names are hostile, and `held-out` images.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let float = FloatVit::load(&digits(), &Default::default()).expect("the shipped model");
    let path = folder.path().join("float");
    float.save(&path).expect("writable");
    std::fs::remove_file(path.join("labels.txt")).expect("saved");
    let id2label: serde_json::Map<String, Value> =
        LABELS.iter().enumerate().map(|(class, label)| (class.to_string(), (*label).into())).collect();
    let config = serde_json::json!({
        "architecture": NAME, "num_attention_heads": float.config.heads, "id2label": id2label,
    });
    std::fs::write(path.join("config.json"), config.to_string()).expect("writable");
    succeed(&["digits", "--out", &folder.path().join("held-out").display().to_string(), "--limit", "1"]);
    folder
}

/// Names of all items of a Rust file, in any depth.
fn items(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).expect("Rust");
    assert!(file.attrs.is_empty());
    let name = |item: &syn::Item| match item {
        syn::Item::Const(item) => item.ident.to_string(),
        syn::Item::Static(item) => item.ident.to_string(),
        syn::Item::Struct(item) => item.ident.to_string(),
        _ => "something else".into(),
    };
    file.items.iter().map(name).collect()
}

/// Compiles a program around the generated file and returns what it prints of it.
fn labels_of_compiled(rust: &Path) -> Vec<String> {
    let program = rust.with_file_name("main.rs");
    let module = format!(
        "#[path = {rust:?}]\nmod model;\nfn main() {{\nassert_eq!(&model::MODEL[..4], b\"\\x89VTR\");\nlet \
         _ = (model::ARENA_BYTES, model::IMAGE_HEIGHT, model::IMAGE_WIDTH, model::IMAGE_CHANNELS);\nfor \
         label in model::LABELS {{ println!(\"{{label}}\"); }}\n}}\n"
    );
    std::fs::write(&program, module).expect("writable");
    let binary = rust.with_file_name("main");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc)
        .args(["--edition", "2021", "-D", "warnings", "-o"])
        .args([&binary, &program])
        .output()
        .expect("rustc starts");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(binary).output().expect("it starts");
    String::from_utf8(printed.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn generated_code_holds_what_it_should_and_nothing_else() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // In a folder of its own, so that the model's whole path stands in the code.
    let odd = folder.path().join("\"); \\n { } '#");
    std::fs::create_dir_all(&odd).expect("a folder");
    let (model, rust) = (odd.join("m\"\\.vtr").display().to_string(), path("model.rs"));
    let converted = vitreous(&["convert", &path("float"), "-o", &model, "--emit-rust", &rust]);
    let said = assert_harmless(&converted);
    assert!(converted.status.success() && said.contains("written as you see them"), "{said}");
    let source = std::fs::read_to_string(&rust).expect("a file");
    assert_eq!(acting(&source), []);
    let expected = [
        "Aligned",
        "ALIGNED",
        "MODEL",
        // The assertion that the build reads the model.
        "_",
        "ARENA_BYTES",
        "IMAGE_HEIGHT",
        "IMAGE_WIDTH",
        "IMAGE_CHANNELS",
        "LABELS",
    ];
    assert_eq!(items(&source), expected, "{source}");
    let engine = Engine::load(model.as_ref()).expect("loadable");
    assert_eq!(engine.labels().len(), LABELS.len(), "one label a class");
    assert_eq!(labels_of_compiled(rust.as_ref()), engine.labels());
    assert_eq!(engine.labels()[0], "plain");
    assert_eq!(engine.labels()[3], "two\\nlines");
    let name = engine.with_vit(|vit| vit.model().name().to_owned()).expect("a name");
    assert!(name.starts_with("x\\n*/ pub fn attack() {} /*\\r\\u{2028}") && name.len() <= 48, "{name}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_text_is_refused_in_code_and_shown_elsewhere() {
    use std::os::unix::ffi::OsStrExt;
    let folder = prepared();
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\x1b.vtr"));
    let run = |arguments: &[&str], last: &Path| {
        Command::new(env!("CARGO_BIN_EXE_vitreous")).args(arguments).arg(last).output().expect("it starts")
    };
    let (float, rust) = (folder.path().join("float"), folder.path().join("m.rs"));
    let float = float.to_str().expect("UTF-8");
    let refused = run(&["convert", float, "--emit-rust", rust.to_str().expect("UTF-8"), "-o"], &odd);
    let said = assert_harmless(&refused);
    assert!(!refused.status.success() && said.contains("no UTF-8"), "{said}");
    assert!(!rust.exists());
    let converted = run(&["convert", float, "--json", "-o"], &odd);
    assert!(converted.status.success(), "{}", assert_harmless(&converted));
    let image = folder.path().join(std::ffi::OsStr::from_bytes(b"\xfe.png"));
    std::fs::copy(folder.path().join("held-out/7/0000.png"), &image).expect("writable");
    let model = folder.path().join("m.vtr");
    std::fs::copy(&odd, &model).expect("writable");
    let output = run(&["run", model.to_str().expect("UTF-8"), "--json"], &image);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["images"][0]["image"].as_str().expect("text").ends_with("\\xfe.png"), "{report}");
}

/// A `.vtr` whose name and labels were put there by somebody else's tool.
fn hostile_model(folder: &Path) -> String {
    let clean = folder.join("clean.vtr").display().to_string();
    succeed(&["convert", &digits().display().to_string(), "-o", &clean, "--name", "abcdefghijklmnop"]);
    let mut bytes = std::fs::read(&clean).expect("a model");
    bytes[72..88].copy_from_slice(b"\x1b[2J\nPASS\"<b>\r\x07c");
    let engine = Engine::load(clean.as_ref()).expect("loadable");
    let (labels, start, length) =
        engine.with_vit(|vit| vit.model().section(2).expect("labels")).expect("loadable");
    assert_eq!(labels, 3);
    // "0\n1\n…": each label becomes a character that acts, of the same length.
    for (index, byte) in bytes[start..start + length].iter_mut().enumerate() {
        if index % 2 == 0 {
            *byte = 0x1b;
        }
    }
    use vitreous::format::CRC;
    let crc = CRC.checksum(&bytes[start..start + length]);
    bytes[128 + 2 * 16 + 12..128 + 2 * 16 + 16].copy_from_slice(&crc.to_le_bytes());
    let sections = u32::from_le_bytes(bytes[20..24].try_into().expect("4 bytes")) as usize;
    let header = CRC.checksum(&[&bytes[..124], &bytes[128..128 + 16 * sections]].concat());
    bytes[124..128].copy_from_slice(&header.to_le_bytes());
    let model = folder.join("m.vtr");
    std::fs::write(&model, bytes).expect("writable");
    model.display().to_string()
}

#[test]
fn nothing_of_a_hostile_model_acts_where_it_is_shown() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let model = hostile_model(folder.path());
    let image = path("held-out/7/\u{1b}[31m\n.png");
    std::fs::copy(path("held-out/7/0000.png"), &image).expect("writable");
    // Weights that name no classes: parity would refuse two files that name them differently.
    let float = FloatVit::load(&digits(), &Default::default()).expect("the shipped model");
    float.save(path("unnamed").as_ref()).expect("writable");
    std::fs::remove_file(path("unnamed/labels.txt")).expect("saved");
    let (page, svg, weights) = (path("p.html"), path("b.svg"), path("unnamed"));
    let held_out = path("held-out");
    let parity = ["parity", &model, "--reference", &weights, "--images", &held_out, "--html", &page];
    let runs: [&[&str]; 7] = [
        &["inspect", &model],
        &["inspect", &model, "--json"],
        &["run", &model, &image],
        &["run", &model, &image, "--json"],
        &["bench", &model, "--runs", "1", "--warm-up", "0", "--svg", &svg],
        &parity,
        &[&parity[..], &["--json"]].concat(),
    ];
    for arguments in runs {
        let output = vitreous(arguments);
        let text = assert_harmless(&output);
        assert!(output.status.success(), "{arguments:?}: {text}");
        if arguments.contains(&"--json") {
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert!(report.is_object());
        }
    }
    let name = "\\u{1b}[2J\\nPASS&quot;&lt;b&gt;\\r\\u{7}c";
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains(&format!("<title>Parity of {name}</title>")), "{page}");
    let svg = std::fs::read_to_string(svg).expect("a chart");
    assert_eq!((acting(&page), acting(&svg)), (vec![], vec![]));
    assert!(!svg.contains("<b>") && svg.contains("&lt;b&gt;"), "{svg}");
    // What is wrong is said without acting either, and no name begins a line.
    let missing = path("\u{1b}[2J\nerror: all is well");
    for arguments in
        [&["run", &model, &missing][..], &["inspect", &missing], &["convert", &missing, "-o", "x"]]
    {
        let text = assert_harmless(&vitreous(arguments));
        assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    }
    let said = misuse(&["run", &model, "--\u{1b}[2J"]);
    assert!(acting(&said).is_empty() && said.contains("unexpected argument"), "{said:?}");
}

/// A Cargo workspace that pretends to be a checkout, and leaves a file if anything of it is run.
fn hostile_workspace(folder: &Path) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, text).expect("writable");
    };
    let attack = "fn main() { std::fs::write(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../attacked\"), \
                  \"\").unwrap(); }";
    write("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\nresolver = \"2\"\n");
    write(".cargo/config.toml", "[alias]\nxtask = \"run --quiet --package xtask --\"\n");
    write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    write("xtask/build.rs", attack);
    write("xtask/src/main.rs", attack);
    write("firmware/app/Cargo.toml", "[package]\nname = \"firmware\"\nversion = \"0.1.0\"\n");
    write("target/firmware/qemu-m4.elf", "no firmware");
    write("firmware/qemu-m4.elf", "no firmware");
    write("qemu-m4.elf", "no firmware");
}

#[cfg(unix)]
#[test]
fn nothing_in_the_working_directory_is_run() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().join("here");
    hostile_workspace(&here);
    let emulator = here.join("qemu-system-arm");
    std::fs::write(&emulator, "#!/bin/sh\ntouch \"$(dirname \"$0\")/attacked\"\n").expect("writable");
    std::fs::set_permissions(&emulator, std::fs::Permissions::from_mode(0o755)).expect("writable");
    let installed = folder.path().join("bin/vitreous");
    std::fs::create_dir_all(folder.path().join("bin")).expect("writable");
    std::fs::copy(env!("CARGO_BIN_EXE_vitreous"), &installed).expect("writable");
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeed(&["convert", &digits().display().to_string(), "-o", &path("m.vtr"), "--for", "cortex-m4"]);
    succeed(&["digits", "--out", &path("held-out"), "--limit", "1"]);
    let image = path("held-out/7/0000.png");
    let search = std::env::var("PATH").unwrap_or_default();
    // An empty entry of PATH stands for the working directory.
    for search in [format!(":{search}"), search] {
        let output = Command::new(&installed)
            .args(["run", &path("m.vtr"), &image, "--target", "qemu-m4"])
            .current_dir(&here)
            .env("PATH", search)
            .env_remove("VITREOUS_FIRMWARE")
            .output()
            .expect("it starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        let wanted = ["cargo xtask firmware", "qemu-system-arm, which is not in PATH"];
        assert!(output.status.success() || wanted.iter().any(|words| errors.contains(words)), "{errors}");
        assert!(!here.join("attacked").exists(), "{errors}");
    }
    // What the user names is taken, and its faults are told.
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("writable");
    let output = Command::new(&installed)
        .args(["run", &path("m.vtr"), &image, "--target", "qemu-m4"])
        .env("VITREOUS_FIRMWARE", &empty)
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("empty/qemu-m4.elf") || errors.contains("not in PATH"), "{errors}");
}
