//! What building and emulating firmware needs, and how to get it.

use std::process::Command;

use anyhow::{bail, Result};
use vitreous_protocol::{Board, BOARDS};

use crate::shell::{cargo, clean, find_program, output, run, shown};
use crate::toolchain::{Missing, Toolchain};

/// Debian's Rust that is new enough and carries the library's source.
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// Rust targets without a library.
    targets: Vec<&'static str>,
    /// No linker for ELF.
    linker: bool,
    /// Emulators.
    emulators: Vec<&'static str>,
}

impl Lack {
    /// Looks.
    pub fn now() -> Lack {
        let mut lack = Lack::default();
        for board in &BOARDS {
            match Toolchain::find(board.target) {
                Ok(_) => {}
                Err(Missing::Linker) => lack.linker = true,
                Err(Missing::Library) => push_new(&mut lack.targets, board.target),
            }
            if find_program(board.emulator).is_none() {
                push_new(&mut lack.emulators, board.emulator);
            }
        }
        lack
    }

    /// Whether a board can be built for and emulated.
    pub fn allows(&self, board: &Board) -> bool {
        self.allows_build(board) && !self.emulators.contains(&board.emulator)
    }

    /// Whether a board can be built for.
    pub fn allows_build(&self, board: &Board) -> bool {
        !self.linker && !self.targets.contains(&board.target)
    }

    fn is_nothing(&self) -> bool {
        *self == Lack::default()
    }

    /// In words, one line each: what is missing.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.targets.is_empty() {
            lines.push(format!("no Rust toolchain builds for {}", self.targets.join(", ")));
        }
        if self.linker {
            lines.push("no linker for bare-metal ELF (rust-lld or ld.lld)".into());
        }
        if !self.emulators.is_empty() {
            lines.push(format!("no emulator: {}", self.emulators.join(", ")));
        }
        lines
    }

    /// What a person would type to get it.
    fn advice(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.targets.is_empty() {
            lines.push(format!("with rustup:            rustup target add {}", self.targets.join(" ")));
        }
        lines.push(format!("on Debian (as root):    {}", shown(&apt_install(&self.debian_packages()))));
        if !self.emulators.is_empty() {
            lines.push(
                "on Fedora (as root):    dnf install qemu-system-arm qemu-system-aarch64 qemu-system-riscv"
                    .into(),
            );
            lines.push("on macOS:               brew install qemu".into());
        }
        lines
    }

    fn debian_packages(&self) -> Vec<&'static str> {
        let mut packages = Vec::new();
        if !self.targets.is_empty() {
            packages.extend(DEBIAN_RUST);
        }
        if self.linker {
            packages.push("lld");
        }
        for emulator in &self.emulators {
            let package = match *emulator {
                // Of both word sizes.
                "qemu-system-arm" | "qemu-system-aarch64" => "qemu-system-arm",
                _ => "qemu-system-misc",
            };
            push_new(&mut packages, package);
        }
        packages
    }
}

fn push_new(list: &mut Vec<&'static str>, item: &'static str) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// `cargo xtask setup`.
pub fn command(install: bool) -> Result<()> {
    let lack = if install { ensure() } else { Lack::now() };
    for board in &BOARDS {
        let toolchain = match Toolchain::find(board.target) {
            Ok(toolchain) => toolchain.describe(),
            Err(_) => "no toolchain".into(),
        };
        let emulator =
            find_program(board.emulator).map_or("no emulator".into(), |path| path.display().to_string());
        println!("{:15}{toolchain}; {emulator}", board.name);
    }
    if lack.is_nothing() {
        return Ok(());
    }
    bail!("still missing: {}\n{}", lack.describe().join("; "), lack.advice().join("\n"))
}

/// Installs what is missing where it may, and says what remains.
pub fn ensure() -> Lack {
    let mut lack = Lack::now();
    if !lack.targets.is_empty() && find_program("rustup").is_some() {
        attempt(clean("rustup").args(["target", "add"]).args(&lack.targets));
        lack = Lack::now();
    }
    // A toolchain without its own linker shows that only once its library is there: hence twice at most.
    for _ in 0..2 {
        if lack.is_nothing() || !may_install() {
            break;
        }
        let before = lack.clone();
        attempt(apt().args(["update", "--quiet"]));
        attempt(&mut apt_install(&installable(before.debian_packages())));
        lack = Lack::now();
        if lack == before {
            break;
        }
    }
    if !lack.is_nothing() {
        println!("Missing: {}. To get it:", lack.describe().join("; "));
        lack.advice().iter().for_each(|line| println!("  {line}"));
    }
    lack
}

/// Whether a component of the toolchain that serves a command of cargo is there. Installs it where rustup
/// can.
pub fn has_component(component: &str, command: &str) -> bool {
    let is_there = || output(cargo().args([command, "--version"])).is_some();
    if !is_there() && find_program("rustup").is_some() {
        attempt(clean("rustup").args(["component", "add", component]));
    }
    is_there()
}

/// A package manager that is known, and the right to use it.
fn may_install() -> bool {
    find_program("apt-get").is_some() && output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// Those packages that this release of Debian has: one unknown name would keep apt from installing the
/// others.
fn installable(packages: Vec<&'static str>) -> Vec<&'static str> {
    packages
        .into_iter()
        .filter(|package| output(Command::new("apt-cache").args(["show", package])).is_some())
        .collect()
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn apt_install(packages: &[&str]) -> Command {
    let mut command = apt();
    command.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
    command
}

/// Runs what may fail: the next look shows whether it helped.
fn attempt(command: &mut Command) {
    println!("$ {}", shown(command));
    if let Err(error) = run(command) {
        println!("{error:#}");
    }
}
