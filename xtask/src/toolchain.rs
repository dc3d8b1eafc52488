//! Finding a Rust toolchain that can build for bare metal.
//!
//! Either one that has the target's library (`rustup target add`), or one that carries the library's source,
//! from which cargo builds `core` itself (`-Z build-std=core`; Debian's `rust-web-src`, rustup's `rust-src`).
//! The latter is an unstable flag, which a stable compiler takes with `RUSTC_BOOTSTRAP=1`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{cargo, clean, find_program, output};

/// The oldest compiler that takes the workspace: its `rust-version`.
const OLDEST_MINOR: u32 = 89;

/// A toolchain that can build for a target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    sysroot: PathBuf,
    /// Build `core` from source.
    build_std: bool,
    /// The linker, where the toolchain does not bring its own.
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// A toolchain for the target, linker included.
    pub fn find(target: &str) -> Result<Toolchain, Missing> {
        let sysroots = sysroots();
        let ready =
            sysroots.iter().find(|sysroot| has_library(sysroot, target)).map(|sysroot| (sysroot, false));
        let source = || sysroots.iter().find(|sysroot| has_source(sysroot)).map(|sysroot| (sysroot, true));
        let (sysroot, build_std) = ready.or_else(source).ok_or(Missing::Library)?;
        let linker = match own_linker(sysroot) {
            Some(_) => None,
            None => Some(
                sysroots.iter().find_map(|s| own_linker(s)).or_else(system_linker).ok_or(Missing::Linker)?,
            ),
        };
        Ok(Toolchain { sysroot: sysroot.clone(), build_std, linker })
    }

    /// `cargo build` for the target, with these compiler flags, by this toolchain alone.
    pub fn cargo_build(&self, target: &str, flags: &[String]) -> Command {
        let mut command = clean(program(&self.sysroot, "cargo"));
        let linker = self.linker.iter().map(|path| format!("-Clinker={}", path.display()));
        let flags: Vec<String> = flags.iter().cloned().chain(linker).collect();
        command
            .env("RUSTC", program(&self.sysroot, "rustc"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command.args(["build", "--target", target]);
        if self.build_std {
            command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
        }
        command
    }

    /// `cargo clippy` for the target, with these compiler flags, or `None` if this toolchain has no clippy or
    /// must build `core` first.
    pub fn cargo_clippy(&self, target: &str, flags: &[String]) -> Option<Command> {
        let clippy = program(&self.sysroot, "cargo-clippy");
        if self.build_std || !clippy.is_file() {
            return None;
        }
        let mut command = clean(clippy);
        command
            .env("CARGO", program(&self.sysroot, "cargo"))
            .env("RUSTC", program(&self.sysroot, "rustc"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .args(["clippy", "--target", target]);
        Some(command)
    }

    /// For people, and to keep the outputs of toolchains apart.
    pub fn describe(&self) -> String {
        let version = version(&self.sysroot).unwrap_or_default();
        let library = if self.build_std { "core built from its source" } else { "the target's own core" };
        format!("{version} of {}, {library}", self.sysroot.display())
    }
}

/// What keeps a target from being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No toolchain has the target's library or its source.
    Library,
    /// There is no linker for ELF.
    Linker,
}

/// Toolchains: the current one, rustup's others, the system's. Too old ones are left out.
fn sysroots() -> Vec<PathBuf> {
    let current = output(clean("rustc").args(["--print", "sysroot"])).map(PathBuf::from);
    let calling = env::var_os("RUSTC").or_else(|| env::var_os("CARGO")).and_then(|program| {
        let bin = PathBuf::from(program).parent()?.to_path_buf();
        Some(bin.parent()?.to_path_buf())
    });
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".rustup")));
    let mut others: Vec<PathBuf> = home
        .and_then(|home| fs::read_dir(home.join("toolchains")).ok())
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    others.sort();
    let system = [PathBuf::from("/usr"), PathBuf::from("/usr/local")];
    let mut found: Vec<PathBuf> = Vec::new();
    for sysroot in current.into_iter().chain(calling).chain(others).chain(system) {
        if !found.contains(&sysroot) && is_usable(&sysroot) {
            found.push(sysroot);
        }
    }
    found
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").or_else(|| env::var_os("USERPROFILE")).map(PathBuf::from)
}

fn is_usable(sysroot: &Path) -> bool {
    program(sysroot, "cargo").is_file()
        && version(sysroot).as_deref().and_then(minor).is_some_and(|found| found >= OLDEST_MINOR)
}

/// Of a text as `cargo 1.96.0` the 96.
fn minor(text: &str) -> Option<u32> {
    text.split('.').nth(1)?.parse().ok()
}

/// The minor version of the cargo that the user called.
pub fn cargo_minor() -> Option<u32> {
    output(cargo().arg("--version")).as_deref().and_then(minor)
}

/// As `rustc 1.96.0`.
fn version(sysroot: &Path) -> Option<String> {
    let text = output(clean(program(sysroot, "rustc")).arg("--version"))?;
    Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn program(sysroot: &Path, name: &str) -> PathBuf {
    sysroot.join("bin").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

fn has_library(sysroot: &Path, target: &str) -> bool {
    let folder = sysroot.join("lib/rustlib").join(target).join("lib");
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|e| e.file_name().to_str().is_some_and(is_core)))
}

/// Debian keeps the source outside of the compiler's package, behind a link.
fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
        && sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

fn own_linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).ok()?.flatten();
    hosts
        .map(|host| host.path().join("bin").join(format!("rust-lld{}", env::consts::EXE_SUFFIX)))
        .find(|p| p.is_file())
}

/// LLVM's linker from the system's packages.
fn system_linker() -> Option<PathBuf> {
    let versioned = (14..30).rev().map(|version| format!("ld.lld-{version}"));
    std::iter::once("ld.lld".to_owned()).chain(versioned).find_map(|name| find_program(&name))
}
