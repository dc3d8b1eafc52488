//! No command writes over what it reads, whatever names are given.
#![cfg(unix)]

#[allow(dead_code, reason = "this file runs no long trainings")]
#[path = "common/files.rs"]
mod files;

use std::os::unix::fs::symlink;

use files::{errors, files_below, prepared, vitreous};

#[test]
fn inputs_are_never_overwritten() {
    let folder = prepared();
    let path = folder.path();
    std::fs::write(path.join("names.txt"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").expect("a file");
    std::fs::write(path.join("notes.md"), "mine").expect("a file");
    std::fs::hard_link(path.join("digits/model.safetensors"), path.join("hard.vtr")).expect("a link");
    symlink("digits/model.safetensors", path.join("soft.vtr")).expect("a link");
    symlink("photos", path.join("also-photos")).expect("a link");
    let bench = "bench digits.vtr --runs 1 --warm-up 0 --output bench.json";
    assert!(vitreous(bench, path).status().expect("the tool starts").success());
    let before = files_below(path);
    let absolute = path.join("digits/model.safetensors").display().to_string();
    let eval = "eval restorer.vtr --clean photos --reference restorer --limit 1";
    for (arguments, reason) in [
        ("convert digits/model.safetensors -o digits/model.safetensors", "is read by this command"),
        ("convert digits -o digits/model.safetensors", "is read by this command"),
        ("convert digits -o digits/../digits/labels.txt", "is read by this command"),
        ("convert digits/model.safetensors -o digits/config.json", "is read by this command"),
        ("convert digits -o digits/preprocessor_config.json", "taken for part of"),
        ("convert digits -o names.txt --labels names.txt", "is read by this command"),
        (&format!("convert digits -o {absolute}"), "is read by this command"),
        ("convert digits/model.safetensors -o hard.vtr", "is read by this command"),
        ("convert digits/model.safetensors -o soft.vtr", "is read by this command"),
        ("convert digits -o new.vtr --emit-rust new.vtr", "to the same place"),
        ("convert digits -o new.vtr --emit-rust ./new.vtr", "to the same place"),
        ("convert digits -o new.vtr --emit-rust digits/model.safetensors", "is read by this command"),
        ("convert digits -o photos/0.png", "no .vtr model"),
        ("convert digits -o notes.md", "no .vtr model"),
        ("convert digits -o new.vtr --emit-rust notes.md", "no Rust file"),
        ("convert digits -o digits", "it is a folder"),
        ("convert digits -o -", "give a file's name"),
        (
            "parity digits.vtr --reference digits --images held-out --html digits.vtr",
            "is read by this command",
        ),
        ("parity digits.vtr --reference digits --images held-out --html digits/config.json", "is read by"),
        (
            "parity digits.vtr --reference digits --images held-out --html held-out/labels.csv",
            "taken for part",
        ),
        ("parity digits.vtr --reference digits --images held-out --html held-out/0/0000.png", "no HTML page"),
        ("bench digits.vtr --output digits.vtr", "is read by this command"),
        ("bench digits.vtr --svg digits.vtr", "is read by this command"),
        ("bench digits.vtr --compare bench.json --output bench.json", "is read by this command"),
        ("bench digits.vtr --output new.json --svg new.json", "to the same place"),
        ("bench digits.vtr --output digits/config.json", "no result of"),
        (&format!("{eval} --html restorer.vtr"), "is read by this command"),
        (&format!("{eval} --html restorer/config.json"), "is read by this command"),
        (&format!("{eval} --save photos"), "would be read the next time"),
        (&format!("{eval} --save also-photos/new"), "would be read the next time"),
        (&format!("{eval} --save notes.md"), "is a file, no folder"),
        ("restore restorer.vtr photos --out photos", "0.png"),
        ("restore restorer.vtr photos --out also-photos", "0.png"),
        ("restore restorer.vtr photos --out notes.md", "is a file, no folder"),
        ("digits --out photos", "none of the digits"),
        ("digits --out .", "none of the digits"),
        ("train vit --data digits --epochs 1 --out restorer", "complete training"),
        ("train vit --data held-out --epochs 1 --out held-out", "would be read the next time"),
        ("train vit --data held-out --epochs 1 --out held-out/7", "would be read the next time"),
        (&format!("{} --out photos/new", files::TRAIN_IPT), "would be read the next time"),
        (
            &format!("{} --init restorer --out restorer --overwrite", files::TRAIN_IPT),
            "is read by this command",
        ),
        ("study data-efficiency restoration --data photos --out photos", "would be read the next time"),
    ] {
        let output = vitreous(arguments, path).output().expect("the tool starts");
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {errors}");
        assert!(errors.contains(reason), "{arguments}: {errors}");
        let now = files_below(path);
        let changed: Vec<_> = before.iter().filter(|(file, bytes)| now.get(*file) != Some(bytes)).collect();
        assert!(
            changed.is_empty() && now.len() == before.len(),
            "{arguments} changes files: {:?}",
            now.keys()
        );
    }
}
