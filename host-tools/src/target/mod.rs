//! Running a model on an emulated microcontroller: starts the emulator with the firmware, gives it a job and
//! decodes what comes back.
//!
//! ```no_run
//! use vitreous_tools::target::{run_on_target, RunOptions, Target};
//! # fn main() -> Result<(), vitreous_tools::target::TargetError> {
//! let target: Target = "qemu-m4".parse()?;
//! let image = vec![0; 8 * 8];
//! let run = run_on_target(target, "digits.vtr".as_ref(), &[image], RunOptions::default())?;
//! println!("{:?} in {:?} instructions", run.results[0].logits, run.results[0].cost.instructions);
//! # Ok(())
//! # }
//! ```

mod classify;
mod collector;
mod emulator;
mod error;
mod explain;
mod firmware;
mod group;
mod job;
mod restore;
mod results;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use vitreous_protocol::{Board, BOARDS};

pub use classify::run_on_target;
pub use error::TargetError;
pub(crate) use job::repacked_for;
pub use restore::restore_on_target;
pub use results::{Band, Calibration, StageCount, TargetCost, TargetRestored, TargetResult, TargetRun};
pub use vitreous_protocol::StageKind;

/// An emulated board.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target(usize);

impl Target {
    /// All targets.
    pub fn all() -> impl Iterator<Item = Target> {
        (0..BOARDS.len()).map(Target)
    }

    /// Processor, memory map and emulator.
    pub fn board(self) -> &'static Board {
        &BOARDS[self.0]
    }

    /// Its name on command lines.
    pub fn name(self) -> &'static str {
        self.board().name
    }

    /// Says what is missing to run on this target: the emulator, or the firmware with no way to build it.
    ///
    /// # Errors
    /// [`TargetError::EmulatorMissing`] or [`TargetError::FirmwareMissing`].
    pub fn check_available(self) -> Result<(), TargetError> {
        emulator::find(self.board())?;
        firmware::find_or_build(self.board(), None).map(drop)
    }

    /// Whether a test can use this target. If not, that is noted for `cargo xtask test`, which lists all that
    /// was skipped, and on standard error.
    pub fn available_for_test(self, test: &str) -> bool {
        let reason = if std::env::var_os("VITREOUS_NO_TARGET").is_some() {
            "targets are switched off".to_owned()
        } else {
            match self.check_available() {
                Ok(()) => return true,
                Err(error) => error.to_string(),
            }
        };
        note_skipped(&format!("{test} on {self}: {}", reason.lines().next().unwrap_or_default()));
        false
    }
}

/// Says that a test is skipped, and notes it for `cargo xtask test`, which lists all that was skipped.
pub fn note_skipped(line: &str) {
    crate::console::note(&format!("skipped: {line}"));
    if let Some(list) = std::env::var_os("VITREOUS_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(list);
        // Only the list suffers if that fails; the line above was printed.
        let _ =
            file.and_then(|mut file| std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()));
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(name: &str) -> Result<Self, TargetError> {
        let found = Target::all().find(|target| target.name() == name);
        found.ok_or_else(|| TargetError::UnknownTarget { name: name.into() })
    }
}

/// How to run.
pub struct RunOptions<'a> {
    /// Bring back the features too, not only the logits; for classification alone.
    pub features: bool,
    /// Count executed instructions (deterministic). Without it the emulator runs somewhat faster.
    pub count_instructions: bool,
    /// Give up after this time.
    pub timeout: Duration,
    /// A firmware ELF, or a folder of them named after the targets; else what `VITREOUS_FIRMWARE` names, else
    /// those beside this program, else those of the checkout that it was built from.
    pub firmware: Option<PathBuf>,
    /// Called after each image with the number of images done and of all images; in a restoration as rows
    /// come, with the bytes of restored pixels that came and with all bytes.
    pub progress: Option<&'a mut dyn FnMut(usize, usize)>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            features: false,
            count_instructions: true,
            timeout: Duration::from_secs(600),
            firmware: None,
            progress: None,
        }
    }
}
