//! One start of the emulator: the job is written, the results are read as they come.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use vitreous::kernels::TableSpec;
use vitreous::Model;
use vitreous_protocol::{frame, Board, Job, Work, JOB_FILE, RESULT_FILE};

use super::collector::{Collector, Tail};
use super::explain::Replay;
use super::results::{Received, TargetRun};
use super::{emulator, firmware, RunOptions, Target, TargetError};
use crate::interrupt::cleanup::{self, Item};
use crate::vtr::{repack, AlignedBytes, ModelBytes};

/// What to run, and where.
pub(super) struct TargetJob<'a> {
    pub target: Target,
    pub model_path: &'a Path,
    pub work: Work,
    /// Number of images.
    pub images: u32,
    /// The images as they stand in the job file.
    pub body: Vec<u8>,
    pub replay: Replay<'a>,
}

/// Runs a job. `progress` is called with the number of images done and the bytes of rows that came of the
/// next one.
pub(super) fn execute(
    wanted: TargetJob<'_>,
    options: &RunOptions<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<TargetRun<Received>, TargetError> {
    let board = wanted.target.board();
    let emulator = emulator::find(board)?;
    let firmware = firmware::find_or_build(board, options.firmware.as_deref())?;
    let (folder, _entry) = cleanup::noted(tempfile::tempdir, |folder| Item::Folder(folder.path().to_owned()))
        .map_err(|error| TargetError::file("temporary folder", error))?;
    let model_path = in_order_of(board, wanted.model_path, folder.path())?;
    let model_bytes = checked_model_bytes(board, &model_path)?;
    let job = Job {
        model_bytes,
        images: wanted.images,
        work: wanted.work,
        calibrate: options.count_instructions,
        job: std::process::id(),
    };
    write_job(folder.path().join(file_name(JOB_FILE)), &job, &wanted.body)?;
    let started = Instant::now();
    let command = emulator::Launch {
        emulator: &emulator,
        board,
        firmware: &firmware,
        model: &model_path,
        count: options.count_instructions,
        folder: folder.path(),
    };
    let mut collector = Collector::new(wanted.target, job, options.count_instructions);
    let mut process = emulator::Process::start(&command, options.timeout)?;
    let mut tail = Tail::new(folder.path().join(file_name(RESULT_FILE)), longest_results(&wanted.body));
    loop {
        let ended = process.wait_a_little()?;
        if tail.read(&mut collector)? {
            let (images, bytes) = collector.progress();
            progress(images, bytes);
        }
        if let Some(status) = ended {
            collector.set_seconds(started.elapsed().as_secs_f64());
            return collector.finish(status, &process.messages(), wanted.replay);
        }
    }
}

/// More bytes than all frames of a job's results can have: pictures of at most 4 × 4 times the pixels,
/// framed, and what comes with each image (stages, logits, features).
fn longest_results(body: &[u8]) -> u64 {
    (256 << 20) + 32 * body.len() as u64
}

fn file_name(name: &std::ffi::CStr) -> &str {
    name.to_str().expect("the protocol's file names are ASCII")
}

/// The model with its weights as the board's kernels read them: the file itself, or a copy in `folder` in
/// another order.
fn in_order_of(board: &Board, path: &Path, folder: &Path) -> Result<PathBuf, TargetError> {
    let path = fs::canonicalize(path).map_err(|e| TargetError::file(path, e))?;
    let bytes = ModelBytes::open(&path).map_err(|e| TargetError::file(&path, e))?;
    let Some(packed) = repacked_for(board, bytes.as_slice()) else { return Ok(path) };
    let copy = folder.join("model.vtr");
    fs::write(&copy, packed.as_slice()).map_err(|e| TargetError::file(&copy, e))?;
    Ok(copy)
}

/// The model with its weights as the board's kernels read them; none if they read it as it is. A file that
/// the engine refuses stays as it is too: the target says why.
pub(crate) fn repacked_for(board: &Board, model: &[u8]) -> Option<AlignedBytes> {
    let spec = TableSpec::find(board.kernels)?;
    let layout = Model::parse(model).ok()?.layout();
    if spec.reads(layout) {
        return None;
    }
    repack(model, spec.layout).ok()
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

fn write_job(path: PathBuf, job: &Job, body: &[u8]) -> Result<(), TargetError> {
    let mut buffer = [0; frame::MAX_FRAME];
    let head = frame::encode(job, 0, &mut buffer).map_err(|error| TargetError::Frame { error })?;
    fs::write(&path, [head, body].concat()).map_err(|error| TargetError::file(path, error))
}
