//! Running a model on an emulated microcontroller: starts the emulator with the firmware, gives it a job and decodes
//! what comes back.
//!
//! ```no_run
//! use vitreous_tools::target::{run_on_target, RunOptions, Target};
//! # fn main() -> Result<(), vitreous_tools::target::TargetError> {
//! let target: Target = "qemu-m4".parse()?;
//! let image = vec![0; 8 * 8];
//! let run = run_on_target(target, "digits.vtr".as_ref(), &[image], RunOptions::default())?;
//! println!("{:?} in {:?} instructions", run.results[0].logits, run.results[0].instructions);
//! # Ok(())
//! # }
//! ```

mod emulator;
mod error;
mod explain;
mod firmware;
mod results;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use vitreous_protocol::{frame, Board, Job, BOARDS, JOB_FILE, RESULT_FILE};

pub use error::TargetError;
pub use results::{Calibration, StageCount, TargetResult, TargetRun};
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

    /// Whether a test can use this target. If not, that is noted for `cargo xtask test`, which lists all that was skipped,
    /// and on standard error.
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
    eprintln!("skipped: {line}");
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
    /// Bring back the features too, not only the logits.
    pub features: bool,
    /// Count executed instructions (deterministic). Without it the emulator runs somewhat faster.
    pub count_instructions: bool,
    /// Give up after this time.
    pub timeout: Duration,
    /// Folder of firmware ELFs; else `VITREOUS_FIRMWARE_DIR`, else this checkout's, built when out of date.
    pub firmware_dir: Option<PathBuf>,
    /// Called after each image with the number of images done and of all images.
    pub progress: Option<&'a mut dyn FnMut(usize, usize)>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            features: false,
            count_instructions: true,
            timeout: Duration::from_secs(600),
            firmware_dir: None,
            progress: None,
        }
    }
}

/// Runs the model on all images, in one start of the emulator.
///
/// An image is `(height, width, channels)` bytes, as the model's first layer takes it; all must be of one length.
///
/// # Errors
/// See [`TargetError`].
pub fn run_on_target(
    target: Target,
    model_path: &Path,
    images: &[Vec<u8>],
    mut options: RunOptions<'_>,
) -> Result<TargetRun, TargetError> {
    let board = target.board();
    let model_path = fs::canonicalize(model_path).map_err(|error| TargetError::file(model_path, error))?;
    let model_bytes = checked_model_bytes(board, &model_path)?;
    let emulator = emulator::find(board)?;
    let firmware = firmware::find_or_build(board, options.firmware_dir.as_deref())?;
    let folder = tempfile::tempdir().map_err(|error| TargetError::file("temporary folder", error))?;
    let job = Job {
        model_bytes,
        images: images.len() as u32,
        image_bytes: common_length(images)?,
        features: options.features,
        calibrate: options.count_instructions,
        job: std::process::id(),
    };
    write_job(&folder.path().join(file_name(JOB_FILE)), &job, images)?;
    let started = Instant::now();
    let command = emulator::Launch {
        emulator: &emulator,
        board,
        firmware: &firmware,
        model: &model_path,
        count: options.count_instructions,
        folder: folder.path(),
    };
    let mut collector = results::Collector::new(target, job, options.count_instructions);
    let mut process = emulator::Process::start(&command, options.timeout)?;
    let mut reader = results::Tail::new(folder.path().join(file_name(RESULT_FILE)));
    loop {
        let ended = process.wait_a_little()?;
        reader.read(&mut collector, &mut options.progress)?;
        if let Some(status) = ended {
            collector.set_seconds(started.elapsed().as_secs_f64());
            return collector.finish(status, &process.messages(), &model_path);
        }
    }
}

fn file_name(name: &std::ffi::CStr) -> &str {
    name.to_str().expect("the protocol's file names are ASCII")
}

fn checked_model_bytes(board: &Board, path: &Path) -> Result<u32, TargetError> {
    let bytes = fs::metadata(path).map_err(|error| TargetError::file(path, error))?.len();
    let limit = u64::from(board.model.bytes);
    match u32::try_from(bytes) {
        Ok(0) => Err(TargetError::ModelEmpty { path: path.into() }),
        Ok(fits) if bytes <= limit => Ok(fits),
        _ => Err(TargetError::ModelTooLarge { path: path.into(), bytes, board: board.name, limit }),
    }
}

fn common_length(images: &[Vec<u8>]) -> Result<u32, TargetError> {
    let first = images.first().map_or(0, Vec::len);
    match images.iter().position(|image| image.len() != first) {
        Some(index) => Err(TargetError::ImageLength { index, expected: first, found: images[index].len() }),
        None => {
            u32::try_from(first).map_err(|_| TargetError::ImageLength { index: 0, expected: 0, found: first })
        }
    }
}

fn write_job(path: &Path, job: &Job, images: &[Vec<u8>]) -> Result<(), TargetError> {
    let mut buffer = [0; frame::MAX_FRAME];
    let head = frame::encode(job, 0, &mut buffer).map_err(|error| TargetError::Frame { error })?;
    let mut bytes = head.to_vec();
    images.iter().for_each(|image| bytes.extend_from_slice(image));
    fs::write(path, bytes).map_err(|error| TargetError::file(path, error))
}
