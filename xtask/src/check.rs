//! What is checked beside the tests: formatting, lints, widths, documentation, examples, packages.

use std::process::Command;

use anyhow::Result;
use vitreous_protocol::Board;

use crate::firmware::{board, compiler_flags, source, target_folder};
use crate::setup;
use crate::shell::{cargo, root};
use crate::toolchain::{cargo_minor, Toolchain};
use crate::totals::Totals;
use crate::width;

/// All workspaces of the checkout.
const WORKSPACES: [&str; 4] = [".", "firmware/app", "fuzz", "benches/peers/rust"];

/// One board for each kernel table that no host compiles, and its firmware.
const LINTED_BOARDS: [&str; 6] =
    ["qemu-m0", "qemu-m4", "qemu-m4-softfp", "qemu-m55", "qemu-riscv32", "qemu-cortex-a"];

/// What is published.
const PACKAGES: [&str; 3] = ["vitreous", "vitreous-protocol", "vitreous-tools"];

/// The oldest cargo that packages crates which depend on each other before any of them is on the registry.
const PACKAGING_MINOR: u32 = 90;

/// `cargo xtask check`.
pub fn command() -> Result<()> {
    let mut totals = Totals::default();
    let skipped = all(&mut totals, true)?;
    totals.finish(skipped)
}

/// Every check; each counts as a test. Returns what was skipped. `targets` says whether code for boards is
/// looked at, too.
pub fn all(totals: &mut Totals, targets: bool) -> Result<Vec<String>> {
    let mut skipped = Vec::new();
    totals.add("lines are narrow enough", width::check());
    if setup::has_component("rustfmt", "fmt") {
        for workspace in WORKSPACES {
            let mut command = cargo();
            command.current_dir(root().join(workspace)).args(["fmt", "--check"]);
            totals.run_check(&format!("cargo fmt in {workspace}"), &mut command);
        }
    } else {
        skipped.push("cargo fmt: rustfmt is not installed".into());
    }
    if setup::has_component("clippy", "clippy") {
        // In the profile of a quick loop, whose results they share.
        let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        totals.run_check("cargo clippy", cargo().args(arguments));
        for name in LINTED_BOARDS.iter().filter(|_| targets) {
            let Some([mut engine, mut firmware]) = clippy_of(board(name)?) else {
                skipped.push(format!("cargo clippy for {name}: no toolchain with clippy builds for it"));
                continue;
            };
            totals.run_check(&format!("cargo clippy of the engine for {name}"), &mut engine);
            totals.run_check(&format!("cargo clippy of the firmware for {name}"), &mut firmware);
        }
    } else {
        skipped.push("cargo clippy: clippy is not installed".into());
    }
    let mut documentation = cargo();
    documentation.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps", "--lib"]);
    totals.run_check("links of the documentation", of_packages(&mut documentation));
    for arguments in [["classify", "7"].as_slice(), &["watchdog"]] {
        let mut command = cargo();
        command.args(["run", "--quiet", "--package", "vitreous", "--example", arguments[0], "--"]);
        totals.run_check(&format!("the example {}", arguments[0]), command.args(&arguments[1..]));
    }
    if cargo_minor().is_some_and(|minor| minor >= PACKAGING_MINOR) {
        // Without compiling them: `cargo publish --dry-run` does that, which takes minutes.
        let mut command = cargo();
        command.args(["package", "--quiet", "--offline", "--no-verify", "--allow-dirty"]);
        totals.run_check("the crates can be packaged", of_packages(&mut command));
    } else {
        skipped.push(format!("packages: they need cargo 1.{PACKAGING_MINOR}"));
    }
    Ok(skipped)
}

fn of_packages(command: &mut Command) -> &mut Command {
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]))
}

/// Clippy over the engine and over the firmware, as they are built for a board. Cargo lints the members of a
/// workspace alone, and the firmware's has only itself.
fn clippy_of(board: &Board) -> Option<[Command; 2]> {
    let toolchain = Toolchain::find(board.target).ok()?;
    let clippy = |folder, arguments: &[&str]| {
        let mut command = toolchain.cargo_clippy(board.target, &compiler_flags(board))?;
        command.current_dir(folder).args(["--release", "--locked", "--quiet"]).args(arguments);
        command.arg("--target-dir").arg(target_folder(&toolchain)).args(["--", "-D", "warnings"]);
        Some(command)
    };
    let engine = clippy(root().to_path_buf(), &["--package", "vitreous", "--lib"])?;
    Some([engine, clippy(source(), &["--features", board.name])?])
}
