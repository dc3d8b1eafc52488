//! Every test, and a word on those that could not run.

use std::fs;

use anyhow::{bail, Result};
use vitreous_protocol::BOARDS;

use crate::check;
use crate::firmware::{build, OptLevel, Work};
use crate::setup;
use crate::shell::{cargo, root};
use crate::totals::Totals;

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
        totals.run_tests(&mut command)?;
    }
    if targets {
        check_kernels(&mut totals);
    }
    skipped.extend(check::all(&mut totals, targets)?);
    skipped.extend(fs::read_to_string(&list).unwrap_or_default().lines().map(str::to_owned));
    totals.finish(skipped)
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

/// Checks the kernels of every board that can be emulated; each counts as a test.
fn check_kernels(totals: &mut Totals) {
    let lack = setup::Lack::now();
    for board in BOARDS.iter().filter(|board| lack.allows(board)) {
        println!("$ cargo xtask kernels {}", board.name);
        let outcome = crate::kernels::check(board, false).and_then(|equal| {
            if equal {
                Ok(())
            } else {
                bail!("they differ from portable")
            }
        });
        totals.add(&format!("kernels of {} equal portable", board.name), outcome);
    }
}
