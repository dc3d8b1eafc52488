//! Building the firmware, with whichever toolchain can.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{anyhow, bail, Context, Result};
use vitreous_protocol::{Board, BOARDS};

use crate::setup::Lack;
use crate::shell::{root, run};
use crate::toolchain::Toolchain;

/// `cargo xtask firmware [TARGET…] [--opt-level L] [--only WORK]`.
pub fn command(arguments: &[&str]) -> Result<()> {
    let mut boards: Vec<&Board> = Vec::new();
    let (mut opt_level, mut work) = (OptLevel::Speed, Work::All);
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        match argument {
            "--opt-level" => opt_level = OptLevel::parse(rest.next().copied())?,
            "--only" => work = Work::parse(rest.next().copied())?,
            name => boards.push(board(name)?),
        }
    }
    if boards.is_empty() {
        boards.extend(&BOARDS);
    }
    for board in boards {
        let elf = build(board, opt_level, work)?;
        println!("{:15}{}", board.name, elf.display());
    }
    Ok(())
}

/// The board of this name.
pub fn board(name: &str) -> Result<&'static Board> {
    let names = || BOARDS.map(|board| board.name).join(", ");
    BOARDS
        .iter()
        .find(|board| board.name == name)
        .ok_or_else(|| anyhow!("unknown target `{name}`: there are {}", names()))
}

/// What the compiler optimizes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptLevel {
    /// `opt-level = 3`: what `vitreous run --target` uses.
    Speed,
    /// `opt-level = "s"`.
    Size,
}

impl OptLevel {
    fn parse(text: Option<&str>) -> Result<OptLevel> {
        match text {
            Some("3") => Ok(OptLevel::Speed),
            Some("s") => Ok(OptLevel::Size),
            _ => bail!("--opt-level takes 3 or s"),
        }
    }

    /// As the compiler takes it.
    pub fn name(self) -> &'static str {
        match self {
            OptLevel::Speed => "3",
            OptLevel::Size => "s",
        }
    }
}

/// What the firmware can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Whatever a job may ask for.
    All,
    /// Nothing but classification.
    Classify,
    /// Nothing but restoration.
    Restore,
    /// No model at all: the check and the measurement of the kernel table.
    Kernels,
}

impl Work {
    fn parse(text: Option<&str>) -> Result<Work> {
        match text {
            Some("classify") => Ok(Work::Classify),
            Some("restore") => Ok(Work::Restore),
            _ => bail!("--only takes classify or restore"),
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Work::All => "both",
            Work::Classify => "classify",
            Work::Restore => "restore",
            Work::Kernels => "kernels",
        }
    }

    fn binary(self) -> &'static str {
        match self {
            Work::Kernels => "vitreous-kernels",
            _ => "vitreous-firmware",
        }
    }
}

/// Builds a board's firmware to `target/firmware/NAME.elf` (`NAME-classify-s.elf` for less work and size) and
/// returns the path.
pub fn build(board: &Board, opt_level: OptLevel, work: Work) -> Result<PathBuf> {
    let toolchain = Toolchain::find(board.target).map_err(|_| {
        let lack = Lack::now().describe().join("; ");
        anyhow!("cannot build firmware for {}: {lack}. Run `cargo xtask setup`", board.name)
    })?;
    let (source, target_folder) = (source(), target_folder(&toolchain));
    let mut command = toolchain.cargo_build(board.target, &compiler_flags(board));
    command.current_dir(&source).args(["--release", "--locked", "--quiet", "--features", board.name]);
    command.args(["--bin", work.binary()]);
    match work {
        Work::All | Work::Kernels => {}
        Work::Classify | Work::Restore => {
            command.args(["--no-default-features", "--features", work.name()]);
        }
    }
    command.arg("--target-dir").arg(&target_folder);
    if opt_level == OptLevel::Size {
        command.args(["--config", "profile.release.opt-level=\"s\""]);
    }
    run(&mut command)
        .with_context(|| format!("building the firmware of {} with {}", board.name, toolchain.describe()))?;
    let built = target_folder.join(board.target).join("release").join(work.binary());
    let mut name = board.name.to_owned();
    if work != Work::All {
        name += &format!("-{}", work.name());
    }
    if opt_level == OptLevel::Size {
        name += "-s";
    }
    publish(&built, &format!("{name}.elf"))
}

/// How the firmware of a board is compiled.
pub fn compiler_flags(board: &Board) -> Vec<String> {
    let mut flags = vec![format!("-Ctarget-cpu={}", board.cpu), "-Csymbol-mangling-version=v0".into()];
    if board.target.starts_with("aarch64-") {
        // The target forbids unaligned accesses, for memory without an MMU. The firmware has switched it on.
        flags.push("-Ctarget-feature=-strict-align".into());
    }
    flags
}

/// The firmware's workspace.
pub fn source() -> PathBuf {
    root().join("firmware/app")
}

/// A folder per toolchain, so that changing it does not mix outputs.
pub fn target_folder(toolchain: &Toolchain) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    toolchain.describe().hash(&mut hasher);
    source().join("target").join(format!("{:016x}", hasher.finish()))
}

/// Copies to `target/firmware`, at once, since a test may be reading the old file. The copy's date says that
/// it is newer than its sources, even if nothing had to be compiled.
fn publish(built: &PathBuf, name: &str) -> Result<PathBuf> {
    let folder = root().join("target/firmware");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let (new, path) = (folder.join(format!("{name}.{}", std::process::id())), folder.join(name));
    fs::copy(built, &new).with_context(|| format!("copying {}", built.display()))?;
    fs::rename(&new, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}
