//! The way in which every command writes its files.
//!
//! A file is written under another name in the same folder, checked to the last byte and then given its name:
//! whoever looks finds the old file or the whole new one. A failure names the file and leaves nothing behind.
//! A symbolic link is written through, a file that is there keeps its permissions, a new one has those of the
//! umask. Devices, pipes and /dev/stdout take the bytes as they are.

mod error;
mod kind;
mod lock;
mod place;
mod plan;
mod replacement;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

pub use error::{OutputError, Reason};
pub use kind::Kind;
pub use lock::Lock;
pub use plan::Plan;
pub use replacement::Writer;

use replacement::Replacement;

/// Writes a file.
///
/// # Errors
/// The file's name and why it is not written. What was there before is still there.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), OutputError> {
    let bytes = bytes.as_ref();
    create_sized(path, Some(bytes.len() as u64), |writer| match writer.write_all(bytes) {
        Ok(()) => Ok(()),
        // The writer remembers why.
        Err(error) => Err(Reason::system(error).of(path)),
    })
}

/// Writes files that belong together: each takes its name only when all are complete, so that no new one lies
/// beside an old one.
///
/// # Errors
/// Those of [`write`](fn@write), of any of them. What was there before is still there.
pub fn write_together(files: &[(&Path, &[u8])]) -> Result<(), OutputError> {
    let mut settled = Vec::new();
    for (path, bytes) in files {
        let expected = Some(bytes.len() as u64);
        let mut file = Replacement::begin(path)?;
        let written = file.writer().write_all(bytes);
        if let Some(failure) = file.failure(expected) {
            return Err(failure);
        }
        written.map_err(|error| Reason::system(error).of(path))?;
        file.settle(expected)?;
        settled.push((file, expected));
    }
    settled.into_iter().try_for_each(|(file, expected)| file.complete(expected, None))
}

/// Writes a file; the one that was there before is then at `previous`.
///
/// # Errors
/// Those of [`write`](fn@write).
pub fn write_keeping(path: &Path, bytes: &[u8], previous: &Path) -> Result<(), OutputError> {
    let mut file = Replacement::begin(path)?;
    let written = file.writer().write_all(bytes);
    if let Some(failure) = file.failure(Some(bytes.len() as u64)) {
        return Err(failure);
    }
    written.map_err(|error| Reason::system(error).of(path))?;
    file.complete(Some(bytes.len() as u64), Some(previous))
}

/// Writes a file by means of `body`, such as an encoder of images.
///
/// # Errors
/// Those of `body`, which leave what was there before; those of [`write`](fn@write), which come first.
pub fn create<E: From<OutputError>>(
    path: &Path,
    body: impl FnOnce(&mut Writer) -> Result<(), E>,
) -> Result<(), E> {
    create_sized(path, None, body)
}

fn create_sized<E: From<OutputError>>(
    path: &Path,
    expected: Option<u64>,
    body: impl FnOnce(&mut Writer) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = Replacement::begin(path)?;
    let result = body(file.writer());
    if let Some(failure) = file.failure(expected) {
        return Err(failure.into());
    }
    result?;
    Ok(file.complete(expected, None)?)
}

/// Creates a folder, with those around it; one that is there is fine.
///
/// # Errors
/// The folder's name and why it cannot be created.
pub fn folder(path: &Path) -> Result<(), OutputError> {
    let reason = match fs::create_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {
            match path.ancestors().find(|part| part.exists()) {
                Some(file) => Reason::NoFolder { found: file.to_owned() },
                None => Reason::system(error),
            }
        }
        Err(error) => Reason::system(error),
    };
    Err(reason.of(path))
}

/// Deletes a file; one that is not there is fine.
///
/// # Errors
/// The file's name and why it is still there.
pub fn remove(path: &Path) -> Result<(), OutputError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let error = io::Error::other(format!("it cannot be deleted ({error})"));
            Err(Reason::system(error).of(path))
        }
        _ => Ok(()),
    }
}
