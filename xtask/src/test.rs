//! Every test, and a word on those that could not run.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use vitreous_protocol::BOARDS;

use crate::firmware::{build, OptLevel, Work};
use crate::setup;
use crate::shell::{cargo, root, shown};

/// File to which tests append a line when they skip something; see
/// `vitreous_tools::target::Target::available_for_test`.
pub const SKIPPED_VARIABLE: &str = "VITREOUS_SKIPPED";

/// Tells tests to leave out targets, even those that could run.
pub const NO_TARGET_VARIABLE: &str = "VITREOUS_NO_TARGET";

/// `cargo xtask test [--no-target]`.
pub fn command(targets: bool) -> Result<()> {
    let mut skipped =
        if targets { prepare_targets() } else { vec!["all targets: --no-target was given".into()] };
    let list = root().join("target/skipped-tests.txt");
    let _ = fs::remove_file(&list);
    let mut totals = Totals::default();
    // The tests print the figures that they reach.
    let release = ["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"];
    // Overflow checks and debug assertions are on in this one.
    let checked = ["test", "--package", "vitreous", "--no-fail-fast", "--", "--show-output"];
    // Hostile models meet an engine with both of them; all other crates are those of the first run.
    let hostile = [
        "test",
        "--release",
        "--config=profile.release.package.vitreous.overflow-checks=true",
        "--config=profile.release.package.vitreous.debug-assertions=true",
        "--package=vitreous-tests",
        "--test=corrupt_models",
    ];
    // Nothing else compiles them.
    let benches = ["test", "--release", "--package=vitreous-benches", "--benches", "--no-run"];
    for arguments in [release.as_slice(), checked.as_slice(), hostile.as_slice(), benches.as_slice()] {
        let mut command = cargo();
        command.args(arguments).env(SKIPPED_VARIABLE, &list);
        if !targets {
            command.env(NO_TARGET_VARIABLE, "1");
        }
        totals.run(&mut command)?;
    }
    if targets {
        totals.check_kernels();
    }
    skipped.extend(fs::read_to_string(&list).unwrap_or_default().lines().map(str::to_owned));
    skipped.sort();
    skipped.dedup();
    println!("\n{} passed, {} failed, {} ignored", totals.passed, totals.failed, totals.ignored);
    for line in &skipped {
        println!("skipped: {line}");
    }
    if totals.is_failure {
        bail!(
            "tests failed: {}",
            if totals.names.is_empty() { "see above".into() } else { totals.names.join(", ") }
        );
    }
    Ok(())
}

/// Installs what is missing where allowed and builds the firmware; returns what will be skipped.
fn prepare_targets() -> Vec<String> {
    let lack = setup::ensure();
    let mut skipped = Vec::new();
    for board in &BOARDS {
        if !lack.allows(board) {
            skipped.push(format!("{}: {}", board.name, lack.describe().join("; ")));
        } else if let Err(error) = build(board, OptLevel::Speed, Work::All) {
            skipped.push(format!("{}: {error:#}", board.name));
        }
        // The size test measures these, and builds them if they are missing; a failure is that test's to
        // report.
        if board.name == "qemu-m4" && lack.allows_build(board) {
            let _ = build(board, OptLevel::Size, Work::Classify);
            let _ = build(board, OptLevel::Size, Work::Restore);
        }
    }
    skipped
}

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    names: Vec<String>,
    is_failure: bool,
}

impl Totals {
    /// Runs `cargo test`, passing its output on and counting.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        println!("$ {}", shown(command));
        if env::var_os("CARGO_TERM_COLOR").is_none() {
            command.env("CARGO_TERM_COLOR", "never");
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("cargo has no standard output")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading cargo's output")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.count(&line);
        }
        self.is_failure |= !child.wait().context("waiting for cargo")?.success();
        Ok(())
    }

    /// Checks the kernels of every board that can be emulated; each counts as a test.
    fn check_kernels(&mut self) {
        let lack = setup::Lack::now();
        for board in BOARDS.iter().filter(|board| lack.allows(board)) {
            println!("$ cargo xtask kernels {}", board.name);
            let equal = crate::kernels::check(board, false).unwrap_or_else(|error| {
                println!("error: {error:#}");
                false
            });
            let verdict = if equal { "ok" } else { "FAILED" };
            println!("test kernels of {} equal portable ... {verdict}", board.name);
            if equal {
                self.passed += 1;
            } else {
                self.failed += 1;
                self.is_failure = true;
                self.names.push(format!("kernels of {}", board.name));
            }
        }
    }

    fn count(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.names.push(name.into());
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for part in counts.split([';', '.']) {
            match part.split_whitespace().collect::<Vec<_>>()[..] {
                [number, "passed"] => self.passed += number.parse().unwrap_or(0),
                [number, "failed"] => self.failed += number.parse().unwrap_or(0),
                [number, "ignored"] => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn summary_lines_are_counted() {
        let mut totals = Totals::default();
        totals.count(
            "test result: FAILED. 61 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in \
             0.5s",
        );
        totals.count("test target::runs ... FAILED");
        assert_eq!((totals.passed, totals.failed, totals.ignored), (61, 1, 2));
        assert_eq!(totals.names, ["target::runs"]);
    }
}
