//! A file that takes another one's place when it is complete.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::{OutputError, Reason};
use super::place::{folder_of, Place};
use crate::interrupt::cleanup::{self, Entry, Item};

/// How the names of temporary files begin and end. What is between is random. They do not hold the file's own
/// name, which may be as long as the system allows.
pub(super) const TEMPORARY: (&str, &str) = (".vitreous-", ".tmp");

/// Takes a file's bytes. It remembers its first failure, so that an encoder that drops an error, as many do
/// with the last flush, loses nothing.
pub struct Writer {
    raw: BufWriter<Raw>,
}

/// The file, how many bytes it took and why it did not take more.
struct Raw {
    file: File,
    written: u64,
    failure: Option<io::Error>,
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(count) => {
                self.written += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let copy = copy_of(&error);
                self.failure.get_or_insert(error);
                Err(copy)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The same error for a second reader.
fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.raw.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.raw.flush()
    }
}

/// A file on the way.
pub(super) struct Replacement {
    path: PathBuf,
    writer: Writer,
    temporary: Option<Temporary>,
}

struct Temporary {
    file: NamedTempFile,
    target: PathBuf,
    there: Option<Permissions>,
    _entry: Entry,
}

impl Replacement {
    pub fn begin(path: &Path) -> Result<Self, OutputError> {
        let begun = || -> Result<(File, Option<Temporary>), Reason> {
            match Place::find(path)? {
                Place::File { path: target, there } => {
                    let (file, entry) = temporary_beside(&target).map_err(Reason::system)?;
                    let handle = file.as_file().try_clone().map_err(Reason::system)?;
                    Ok((handle, Some(Temporary { file, target, there, _entry: entry })))
                }
                // Appending does the same to a device or a pipe, and keeps what `>>` was to keep.
                Place::Stream => {
                    let file = OpenOptions::new().append(true).open(path).map_err(Reason::system)?;
                    Ok((file, None))
                }
            }
        };
        let (file, temporary) = begun().map_err(|reason| reason.of(path))?;
        let raw = BufWriter::with_capacity(1 << 16, Raw { file, written: 0, failure: None });
        Ok(Self { path: path.to_owned(), writer: Writer { raw }, temporary })
    }

    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Why a write failed, if one did.
    pub fn failure(&mut self, expected: Option<u64>) -> Option<OutputError> {
        let raw = self.writer.raw.get_mut();
        let error = raw.failure.take()?;
        Some(Reason::System { error, written: raw.written, expected }.of(&self.path))
    }

    /// Writes what is left, and has the system confirm that it is on the disk: a disk behind a network, or a
    /// quota, refuses only now.
    pub fn settle(&mut self, expected: Option<u64>) -> Result<(), OutputError> {
        let flushed = self.writer.raw.flush();
        if let Some(failure) = self.failure(expected) {
            return Err(failure);
        }
        let settled = || -> io::Result<()> {
            flushed?;
            let Some(temporary) = &self.temporary else { return Ok(()) };
            temporary.file.as_file().sync_all()?;
            match &temporary.there {
                Some(permissions) => temporary.file.as_file().set_permissions(permissions.clone()),
                None => Ok(()),
            }
        };
        settled().map_err(|error| Reason::system(error).of(&self.path))
    }

    /// Settles the file and puts it in its place. The file that was there is moved to `previous`.
    pub fn complete(mut self, expected: Option<u64>, previous: Option<&Path>) -> Result<(), OutputError> {
        self.settle(expected)?;
        let placed = || -> io::Result<()> {
            let Some(temporary) = self.temporary else { return Ok(()) };
            match previous.map(|previous| fs::rename(&temporary.target, previous)) {
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            temporary.file.persist(&temporary.target).map(drop).map_err(|failed| failed.error)
        };
        placed().map_err(|error| Reason::system(error).of(&self.path))
    }
}

/// A new file in the same folder, with the permissions that the umask gives to any other file.
fn temporary_beside(target: &Path) -> io::Result<(NamedTempFile, Entry)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    cleanup::noted(|| builder.tempfile_in(folder_of(target)), |file| Item::File(file.path().to_owned()))
}
