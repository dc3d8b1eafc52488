use std::io;
use std::path::{Path, PathBuf};

/// Why a file or folder is not written. The message names it and the way out; nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {reason}", path.display())]
pub struct OutputError {
    /// As the user named it.
    pub path: PathBuf,
    /// Part of the message, so not a source that would be printed again.
    pub reason: Reason,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// `-` or nothing.
    #[error("results go to files; give a file's name (`./-` is a file, /dev/stdout is standard output)")]
    NoName,
    /// `name/`.
    #[error("a name that ends like this is a folder's; give a file's")]
    FolderName,
    /// A folder where a file is wanted.
    #[error("it is a folder; name a file in it")]
    IsFolder,
    /// A file where a folder is wanted.
    #[error("{} is a file, no folder", found.display())]
    NoFolder {
        /// What is there.
        found: PathBuf,
    },
    /// The folder that it should be in is not there.
    #[error("there is no folder {}; create it first", folder.display())]
    FolderMissing {
        /// What is not there.
        folder: PathBuf,
    },
    /// Symbolic links that lead to each other.
    #[error("its symbolic links go round in a circle")]
    Links,
    /// A file that is something else is in the place.
    #[error("a file is there that is no {expected}; delete it, or give another name")]
    OtherKind {
        /// What would be no loss.
        expected: &'static str,
    },
    /// The file is read by the same command.
    #[error("{} is read by this command and would be lost; give another name", input.display())]
    IsInput {
        /// The input's name.
        input: PathBuf,
    },
    /// The file would lie where a later command takes it for something else.
    #[error(
        "a file of this name in {} is taken for part of what is there; give another name",
        folder.display()
    )]
    Shadows {
        /// The input folder.
        folder: PathBuf,
    },
    /// Results among the data.
    #[error(
        "{} is read by this command, and what lies in it would be read the next time; give another folder",
        folder.display()
    )]
    InsideInput {
        /// The input folder.
        folder: PathBuf,
    },
    /// Two results in one place.
    #[error("{} would be written to the same place; give different names", other.display())]
    Twice {
        /// The other's name.
        other: PathBuf,
    },
    /// A second writer where only one may be.
    #[error("process {process} of this tool writes to it; wait until it is done, or give another folder")]
    Busy {
        /// Its number.
        process: String,
    },
    /// Files that no training wrote are in the place of a training's.
    #[error("{0}")]
    Foreign(String),
    /// What the system said.
    #[error("{}", system(error, *written, *expected))]
    System {
        /// Its error.
        error: io::Error,
        /// Bytes that were written before.
        written: u64,
        /// Bytes in all, if they were known.
        expected: Option<u64>,
    },
}

impl Reason {
    /// A failure before the first byte.
    pub(super) fn system(error: io::Error) -> Self {
        Reason::System { error, written: 0, expected: None }
    }

    /// The error of the file with this name.
    pub(super) fn of(self, path: &Path) -> OutputError {
        OutputError { path: path.to_owned(), reason: self }
    }
}

fn system(error: &io::Error, written: u64, expected: Option<u64>) -> String {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space",
        io::ErrorKind::FileTooLarge => "; this process may not write larger files (`ulimit -f`)",
        _ => "",
    };
    match expected {
        Some(all) if written > 0 => {
            format!("{error}, with {} of {} written{advice}", bytes(written), bytes(all))
        }
        None if written > 0 => format!("{error}, with {} written{advice}", bytes(written)),
        _ => format!("{error}{advice}"),
    }
}

/// A number of bytes as people read it.
fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..10_000_000 => format!("{} kB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}
