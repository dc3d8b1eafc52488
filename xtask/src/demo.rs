//! The main job from end to end, as the commands that a user would type: convert, inspect, prove, run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use vitreous_protocol::BOARDS;

use crate::firmware::{build, OptLevel, Work};
use crate::setup::{self, Lack};
use crate::shell::{cargo, root, run};

/// Where the demo shows that target and host give the same bytes.
const TARGETS: [&str; 2] = ["qemu-m4", "qemu-m55"];

/// Cargo profile of the host tool: built in half the time of `release`.
const PROFILE: &str = "quick";

/// Held-out images of each class.
const IMAGES_PER_CLASS: &str = "10";

/// Held-out images that run on each target.
const TARGET_IMAGES: &str = "20";

/// `cargo xtask demo`.
pub fn command() -> Result<()> {
    let started = Instant::now();
    let lack = setup::ensure();
    println!("Building the host tool");
    run(cargo().args(["build", "--profile", PROFILE, "--quiet", "--package", "vitreous-tools"]))?;
    let targets = ready_targets(&lack);
    let demo = Demo::new()?;
    demo.steps(&targets)?;
    println!(
        "\nDone in {:.0} s. Everything is in {}",
        started.elapsed().as_secs_f64(),
        demo.folder.display()
    );
    if targets.len() < TARGETS.len() {
        println!("Not shown, since something is missing: {}", lack.describe().join("; "));
    }
    Ok(())
}

/// Targets whose firmware is built and whose emulator is there.
fn ready_targets(lack: &Lack) -> Vec<&'static str> {
    let mut ready = Vec::new();
    for board in BOARDS.iter().filter(|board| TARGETS.contains(&board.name) && lack.allows(board)) {
        println!("Building the firmware for {}", board.name);
        match build(board, OptLevel::Speed, Work::All) {
            Ok(_) => ready.push(board.name),
            Err(error) => println!("{error:#}"),
        }
    }
    ready
}

struct Demo {
    program: PathBuf,
    folder: PathBuf,
}

impl Demo {
    fn new() -> Result<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let program = target.join(PROFILE).join(format!("vitreous{}", std::env::consts::EXE_SUFFIX));
        let folder = root().join("target/demo");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { program, folder })
    }

    fn steps(&self, targets: &[&str]) -> Result<()> {
        self.title("Held-out images of handwritten digits");
        self.vitreous(&["digits", "--out", "held-out", "--limit", IMAGES_PER_CLASS])?;
        let weights = root().join("models/digits").display().to_string();
        self.title("Quantize it");
        self.vitreous(&["convert", &weights, "--output", "digits.vtr"])?;
        self.vitreous(&["inspect", "digits.vtr"])?;
        self.title("Compare with the float weights, on this machine and on the targets");
        let mut parity = vec!["parity", "digits.vtr", "--reference", &weights, "--images", "held-out"];
        parity.extend(["--target-images", TARGET_IMAGES]);
        parity.extend(targets.iter().flat_map(|target| ["--target", target]));
        self.vitreous(&parity)?;
        self.title("Classify a held-out digit");
        let image = "held-out/7/0000.png";
        self.vitreous(&["run", "digits.vtr", image, "--top", "3"])?;
        for target in targets {
            self.vitreous(&["run", "digits.vtr", image, "--top", "3", "--target", target])?;
        }
        Ok(())
    }

    fn title(&self, text: &str) {
        println!("\n== {text}");
    }

    /// Shows a command of the host tool and runs it in the demo's folder.
    fn vitreous(&self, arguments: &[&str]) -> Result<()> {
        let here = root();
        let shown = arguments.iter().map(|argument| shortened(argument, &here)).collect::<Vec<_>>().join(" ");
        println!("\n$ vitreous {shown}");
        run(Command::new(&self.program).args(arguments).current_dir(&self.folder))
    }
}

fn shortened(argument: &str, root: &Path) -> String {
    Path::new(argument)
        .strip_prefix(root)
        .map_or_else(|_| argument.to_owned(), |path| path.display().to_string())
}
