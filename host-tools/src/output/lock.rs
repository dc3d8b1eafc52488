//! One writer per folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{OutputError, Reason};
use super::replacement::TEMPORARY;
use crate::console;
use crate::interrupt::cleanup::{self, Entry, Item};

/// Lies in the folder while a process writes there, and holds its number.
const LOCK_FILE: &str = ".vitreous-lock";
/// Temporary files of this age are of a process that was killed.
const STALE: Duration = Duration::from_secs(3600);

/// A folder that no other process of this tool writes to. The system gives it free when the process ends,
/// however that ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
    _entry: Entry,
}

impl Lock {
    /// Takes a folder, and deletes temporary files there that a killed process left.
    ///
    /// # Errors
    /// Another process has it, with its number; or its file cannot be written.
    pub fn take(folder: &Path) -> Result<Self, OutputError> {
        let path = folder.join(LOCK_FILE);
        loop {
            let locked = open_locked(&path).map_err(|reason| match reason {
                Reason::Busy { .. } => reason.of(folder),
                other => other.of(&path),
            })?;
            // Whoever held it before has deleted its file as the last thing; then this is no longer the
            // folder's.
            if !is_at(&locked, &path) {
                continue;
            }
            let number = || -> io::Result<File> {
                let mut file = locked;
                file.set_len(0)?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                Ok(file)
            };
            let (file, entry) = cleanup::noted(number, |_| Item::File(path.clone())).map_err(|error| {
                let _ = fs::remove_file(&path);
                Reason::system(error).of(&path)
            })?;
            remove_stale(folder);
            return Ok(Lock { path, _file: file, _entry: entry });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays hinders nobody: it is the lock that counts, not the file.
        let _ = fs::remove_file(&self.path);
    }
}

fn open_locked(path: &Path) -> Result<File, Reason> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path).map_err(Reason::system)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Where a locked file cannot be read, the message does without.
            let _ = file.read_to_string(&mut process);
            Err(Reason::Busy { process })
        }
        Err(TryLockError::Error(error)) => {
            console::note(&format!(
                "warning: {} cannot be locked ({error}): start no second training into this folder",
                path.display()
            ));
            Ok(file)
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = |file: &fs::Metadata| (file.dev(), file.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(a), Ok(b)) if number(&a) == number(&b))
}

/// Elsewhere an open file cannot be deleted.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours && age().is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
