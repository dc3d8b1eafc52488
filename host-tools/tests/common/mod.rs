//! Runs the tool as a user does.

use std::process::{Command, Output};

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
