//! Runs the tool as a user does.

use std::process::{Command, Output};

use vitreous_tools::degrade::Picture;
use vitreous_tools::synthetic::{random_ipt, small_ipt};

/// Runs it with these arguments.
pub fn vitreous(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vitreous")).args(arguments).output().expect("the tool starts")
}

/// Standard output of a command that must succeed.
pub fn succeed(arguments: &[&str]) -> String {
    let output = vitreous(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vitreous {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Standard error of a command that must fail without a panic.
#[allow(dead_code, reason = "not every file of tests has it fail")]
pub fn fail(arguments: &[&str]) -> String {
    fail_with(arguments, 1)
}

/// Standard error of a command whose arguments must be refused, before any file is read.
#[allow(dead_code, reason = "not every file of tests misuses the tool")]
pub fn misuse(arguments: &[&str]) -> String {
    fail_with(arguments, 2)
}

fn fail_with(arguments: &[&str], code: i32) -> String {
    let output = vitreous(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "vitreous {arguments:?} should fail: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

/// A folder with the float model `float` of the tasks denoise30 and x2, `model.vtr` and two photographs in
/// `photos`.
#[allow(dead_code, reason = "not every file of tests restores")]
pub fn restorer() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let float = folder.path().join("float");
    let mut model = random_ipt(small_ipt(&["denoise30", "x2"]), 1);
    model.name = "small".into();
    model.save(&float).expect("writable");
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeed(&["convert", &path("float"), "-o", &path("model.vtr")]);
    std::fs::create_dir(folder.path().join("photos")).expect("a folder");
    for (name, width, height) in [("a.png", 21, 13), ("b.png", 16, 30)] {
        let data = (0..width * height * 3).map(|i| (i * 5 % 240) as u8).collect();
        Picture { width, height, data }.save_png(&folder.path().join("photos").join(name)).expect("writable");
    }
    folder
}
