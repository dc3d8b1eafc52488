//! The folder that a training writes to: whether the training may begin there, and where its files lie.

use crate::console;
use crate::output::{self, Lock, OutputError, Reason};
use anyhow::{bail, ensure, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the checkpoint in the output folder. It is removed when the run is complete.
pub const CHECKPOINT_FILE: &str = crate::checkpoint::STATE_FILE;
/// Name of the checkpoint before that one, which is kept in case the newer one is damaged.
pub const PREVIOUS_FILE: &str = crate::checkpoint::PREVIOUS_STATE_FILE;
/// Name of the report.
pub const REPORT_FILE: &str = "training.json";
/// The trained model.
pub const MODEL_FILE: &str = "model.safetensors";

/// How a training begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// In a folder without another training.
    #[default]
    New,
    /// From the folder's checkpoint.
    Resume,
    /// From the start, in the place of the folder's training.
    Overwrite,
}

impl Start {
    /// What the options `--resume` and `--overwrite` ask for. clap lets only one of them through.
    pub fn asked(resume: bool, overwrite: bool) -> Self {
        match (resume, overwrite) {
            (true, _) => Start::Resume,
            (_, true) => Start::Overwrite,
            _ => Start::New,
        }
    }
}

/// An output folder that this training alone writes to.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Lock,
}

impl RunFolder {
    /// Creates the folder if it is not there, locks it, and checks that the training may begin as asked.
    ///
    /// `files` are the names that it would write beside checkpoint, model and report.
    ///
    /// # Errors
    /// Another process trains there. Or the folder holds a training, and neither going on nor starting again
    /// was asked for. Or there is none to go on with. Or files with these names lie there that no training
    /// wrote.
    pub fn open(path: &Path, start: Start, files: &[&str]) -> Result<Self> {
        output::folder(path)?;
        let lock = Lock::take(path)?;
        let folder = RunFolder { path: path.to_owned(), _lock: lock };
        let (begun, finished) = (folder.is_begun(), folder.is_finished());
        let shown = path.display();
        match start {
            Start::Resume if !begun && finished => {
                bail!("{shown}: the training there is complete; there is nothing to go on with")
            }
            Start::Resume => ensure!(
                begun,
                "{}: no checkpoint to resume from; leave out --resume to start a new run",
                folder.checkpoint().display()
            ),
            Start::New if begun => bail!(
                "{shown} holds a training that is not complete; give --resume to go on, --overwrite to \
                 start again, or another --out"
            ),
            Start::New if finished => bail!(
                "{shown} holds a complete training; give --overwrite to train again in its place, or \
                 another --out"
            ),
            _ if !begun && !finished => folder.refuse_foreign(files)?,
            _ => {}
        }
        Ok(folder)
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT_FILE)
    }

    /// The checkpoint before it.
    pub fn previous(&self) -> PathBuf {
        self.path.join(PREVIOUS_FILE)
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn is_begun(&self) -> bool {
        is_begun(&self.path)
    }

    fn is_finished(&self) -> bool {
        let text = fs::read_to_string(self.file(REPORT_FILE)).unwrap_or_default();
        let report: Value = serde_json::from_str(&text).unwrap_or_default();
        report.get("history").is_some() && (report.get("recipe").or(report.get("training"))).is_some()
    }

    fn refuse_foreign(&self, files: &[&str]) -> Result<(), OutputError> {
        let all = [CHECKPOINT_FILE, PREVIOUS_FILE, REPORT_FILE, MODEL_FILE].iter().chain(files);
        let found: Vec<&str> =
            all.copied().filter(|file| fs::symlink_metadata(self.file(file)).is_ok()).collect();
        if found.is_empty() {
            return Ok(());
        }
        let words = format!(
            "a training would overwrite {}, which no training of this tool wrote; give another folder",
            found.join(", ")
        );
        Err(OutputError { path: self.path.clone(), reason: Reason::Foreign(words) })
    }

    /// Removes checkpoint and report of the training that was there before. Its model stays until the new
    /// training writes one. Call this once the first checkpoint of the new training is written.
    pub fn forget_older(&self) -> Result<()> {
        output::remove(&self.previous())?;
        Ok(output::remove(&self.file(REPORT_FILE))?)
    }

    /// The run is complete: model and report are written.
    pub fn complete(&self) -> Result<()> {
        output::remove(&self.checkpoint())?;
        Ok(output::remove(&self.previous())?)
    }
}

/// What is said if the files of a finished training cannot be written.
pub const UNWRITTEN: &str =
    "the training is done, but its model is not written; --resume goes on from the last checkpoint";

/// Turns a failure into a warning: a disk that is full for a while does not end a training, since the next
/// checkpoint may succeed.
pub fn warn_of(result: Result<()>) {
    if let Err(error) = result {
        console::note(&format!("warning: {error:#}; the training goes on"));
    }
}

/// Whether a folder holds a training that can go on.
pub fn is_begun(path: &Path) -> bool {
    [CHECKPOINT_FILE, PREVIOUS_FILE].iter().any(|file| path.join(file).is_file())
}
