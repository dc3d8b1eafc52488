//! Finding the firmware's ELF, and having it built when it is missing or older than its sources.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use vitreous_protocol::Board;

use super::TargetError;

/// Folder of firmware ELFs that are used as they are.
const FOLDER_VARIABLE: &str = "VITREOUS_FIRMWARE_DIR";

/// What the firmware is made of, relative to the checkout.
const SOURCES: [&str; 8] = [
    "core/src",
    "core/Cargo.toml",
    "firmware/app/src",
    "firmware/app/build.rs",
    "firmware/app/Cargo.toml",
    "firmware/app/Cargo.lock",
    "firmware/protocol/src",
    "firmware/protocol/Cargo.toml",
];

/// Tests run on many threads; one build at a time, and the others find its result.
static BUILD: Mutex<()> = Mutex::new(());

/// The board's firmware from `folder`, else from `VITREOUS_FIRMWARE_DIR`, else from the checkout.
pub(super) fn find_or_build(board: &'static Board, folder: Option<&Path>) -> Result<PathBuf, TargetError> {
    let file = format!("{}.elf", board.name);
    let given = folder.map(Path::to_path_buf).or_else(|| env::var_os(FOLDER_VARIABLE).map(PathBuf::from));
    if let Some(folder) = given {
        let path = folder.join(file);
        return match fs::canonicalize(&path) {
            Ok(found) => Ok(found),
            Err(error) => {
                Err(TargetError::FirmwareMissing { board: board.name, path, reason: error.to_string() })
            }
        };
    }
    let Some(root) = checkout() else {
        let reason =
            format!("not in a checkout of vitreous; set {FOLDER_VARIABLE} to a folder of firmware ELFs");
        return Err(TargetError::FirmwareMissing { board: board.name, path: file.into(), reason });
    };
    let path = root.join("target/firmware").join(file);
    let _one = BUILD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if is_older(&path, &root) {
        build(board, &root, &path)?;
    }
    Ok(path)
}

/// The checkout around the working directory or around this program.
fn checkout() -> Option<PathBuf> {
    let starts = [env::current_dir().ok(), env::current_exe().ok(), Some(env!("CARGO_MANIFEST_DIR").into())];
    let is_checkout = |folder: &&Path| folder.join("firmware/app/Cargo.toml").is_file();
    starts.iter().flatten().find_map(|start| start.ancestors().find(is_checkout)).map(Path::to_path_buf)
}

fn is_older(elf: &Path, root: &Path) -> bool {
    match fs::metadata(elf).and_then(|data| data.modified()) {
        Ok(built) => {
            SOURCES.iter().filter_map(|source| newest(&root.join(source))).any(|changed| changed > built)
        }
        Err(_) => true,
    }
}

/// When the file, or the newest file of the folder, was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let data = fs::metadata(path).ok()?;
    if data.is_dir() {
        fs::read_dir(path).ok()?.flatten().filter_map(|entry| newest(&entry.path())).max()
    } else {
        data.modified().ok()
    }
}

fn build(board: &'static Board, root: &Path, path: &Path) -> Result<(), TargetError> {
    let missing = |reason| TargetError::FirmwareMissing { board: board.name, path: path.into(), reason };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["xtask", "firmware", board.name]).current_dir(root).output();
    let output = output.map_err(|error| missing(format!("cargo could not be run to build it: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(15)..].join("\n");
    Err(missing(format!("`cargo xtask firmware {}` failed:\n{last}", board.name)))
}
