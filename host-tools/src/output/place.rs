//! Where a file is to be written: the real place behind a name.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::Reason;

/// Symbolic links that are followed, as on Linux.
const MAX_LINKS: usize = 40;

/// Names of a process's own open files. They may lead to ordinary files, but those belong to whoever opened
/// them.
const OPEN_FILES: [&str; 3] = ["/dev/stdout", "/dev/stderr", "/dev/fd"];

/// Whether a name is one of them. Of `/proc`, `PID/fd/N` alone is: `/proc/self/cwd/model.vtr` is an ordinary
/// file's name.
fn is_open_file(path: &Path) -> bool {
    let folder = path.components().rev().nth(1);
    let of_process = path.starts_with("/proc") && folder.is_some_and(|part| part.as_os_str() == "fd");
    of_process || OPEN_FILES.iter().any(|prefix| path.starts_with(prefix))
}

/// Where bytes go.
#[derive(Debug)]
pub(super) enum Place {
    /// An ordinary file.
    File {
        /// Its name behind all symbolic links.
        path: PathBuf,
        /// The permissions of the file that is there, if one is.
        there: Option<Permissions>,
    },
    /// A device, a pipe, or an open file of the process: it takes bytes, and nothing can be put in its place.
    Stream,
}

impl Place {
    /// Finds it, and whether it can be written as far as that shows beforehand.
    pub fn find(path: &Path) -> Result<Self, Reason> {
        let name = path.as_os_str().as_encoded_bytes();
        if name.is_empty() || name == b"-" {
            return Err(Reason::NoName);
        }
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Reason::IsFolder),
            Ok(_) if ends_like_a_folder(name) => Err(Reason::FolderName),
            Ok(found) if !found.is_file() || is_open_file(path) => Ok(Place::Stream),
            Ok(found) => {
                // A file that may not be written is protected, although its name could be given to another
                // one.
                OpenOptions::new().write(true).open(path).map_err(Reason::system)?;
                let path = fs::canonicalize(path).map_err(Reason::system)?;
                Ok(Place::File { path, there: Some(found.permissions()) })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let path = behind_links(path)?;
                check_folder(&path)?;
                if ends_like_a_folder(path.as_os_str().as_encoded_bytes()) || path.file_name().is_none() {
                    return Err(Reason::FolderName);
                }
                Ok(Place::File { path, there: None })
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                check_folder(path)?;
                Err(Reason::system(error))
            }
            Err(error) => Err(Reason::system(error)),
        }
    }
}

fn ends_like_a_folder(name: &[u8]) -> bool {
    name.last().is_some_and(|&last| std::path::is_separator(last.into()))
}

/// A link to a file that is not there yet is written through, as one to a file that is.
fn behind_links(path: &Path) -> Result<PathBuf, Reason> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = folder_of(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(Reason::Links)
}

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the folder of a file is there and a folder; if not, the outermost part of it that is not.
fn check_folder(path: &Path) -> Result<(), Reason> {
    let folder = folder_of(path);
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Reason::NoFolder { found: folder.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Reason::FolderMissing { folder: folder.to_owned() })
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let file = folder.ancestors().find(|part| part.is_file());
            Err(Reason::NoFolder { found: file.unwrap_or(folder).to_owned() })
        }
        Err(error) => Err(Reason::system(error)),
    }
}
