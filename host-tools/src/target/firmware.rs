//! Finding the firmware's ELF: where the user says, beside this program, or in the checkout that this program
//! was built from. Never by the working directory: whatever lies there, nothing of it is run.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use vitreous_protocol::Board;

use super::TargetError;

/// A firmware ELF, or a folder of them, that is used as it is.
const VARIABLE: &str = "VITREOUS_FIRMWARE";

/// Folders of firmware ELFs, relative to the folder of an installed program.
const INSTALLED: [&str; 2] = ["firmware", "../share/vitreous/firmware"];

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

/// The board's firmware: `given`, a file or a folder of them, else what `VITREOUS_FIRMWARE` names, else that
/// beside this program, else that of the checkout, which is built when it is out of date.
pub(super) fn find_or_build(board: &'static Board, given: Option<&Path>) -> Result<PathBuf, TargetError> {
    let said = given.map(Path::to_path_buf).or_else(|| env::var_os(VARIABLE).map(PathBuf::from));
    let places = Places {
        program: env::current_exe().and_then(fs::canonicalize).unwrap_or_default(),
        checkout: Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default(),
    };
    match said {
        Some(path) => named(board, &path),
        None => places.find_or_build(board),
    }
}

/// The file that the user named, or the board's in the folder.
fn named(board: &'static Board, path: &Path) -> Result<PathBuf, TargetError> {
    let path = if path.is_dir() { path.join(file_name(board)) } else { path.to_path_buf() };
    let wanted = format!("--firmware and {VARIABLE} take a firmware's ELF file, or a folder of them");
    let missing = |path, reason| TargetError::FirmwareMissing { board: board.name, path, reason };
    // The emulator runs in a folder of its own.
    let file = fs::canonicalize(&path).map_err(|error| missing(path, format!("{error}; {wanted}")))?;
    match is_elf(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(missing(file, format!("it is no ELF file; {wanted}"))),
        Err(error) => Err(missing(file, error.to_string())),
    }
}

fn is_elf(file: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    fs::File::open(file)?.take(4).read_to_end(&mut start)?;
    Ok(start == b"\x7fELF")
}

fn file_name(board: &Board) -> String {
    format!("{}.elf", board.name)
}

/// Where to look for firmware that nobody has named.
struct Places {
    /// This program, as it really lies.
    program: PathBuf,
    /// The checkout that it was built from. It may be gone, or somebody else's by now.
    checkout: PathBuf,
}

impl Places {
    fn find_or_build(&self, board: &'static Board) -> Result<PathBuf, TargetError> {
        if let Some(folder) = self.program.parent() {
            let files = INSTALLED.iter().map(|place| folder.join(place).join(file_name(board)));
            if let Some(found) = files.filter_map(|file| fs::canonicalize(file).ok()).next() {
                return Ok(found);
            }
        }
        let built = self.checkout.join("target/firmware").join(file_name(board));
        let missing = |reason: String| {
            Err(TargetError::FirmwareMissing { board: board.name, path: built.clone(), reason })
        };
        if !self.is_trusted_checkout() {
            return missing(format!(
                "it is neither beside this program nor in the checkout that it was built from. Run `cargo \
                 xtask firmware {0}` in a checkout of Vitreous, and pass its target/firmware folder by \
                 --firmware or {VARIABLE}, or copy {0}.elf to {1}",
                board.name,
                self.program.parent().unwrap_or(Path::new("")).join(INSTALLED[0]).display(),
            ));
        }
        let _one = BUILD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if is_older(&built, &self.checkout) {
            if !self.is_in_checkout() {
                let state = if built.exists() { "it is older than its sources" } else { "it was not built" };
                let (name, checkout) = (board.name, self.checkout.display());
                return missing(format!("{state}: run `cargo xtask firmware {name}` in {checkout}"));
            }
            build(board, &self.checkout, &built)?;
        }
        Ok(built)
    }

    /// Whether the program lies where cargo has put it, in the checkout's own target folder: a developer's,
    /// who runs what is built there anyway.
    fn is_in_checkout(&self) -> bool {
        fs::canonicalize(self.checkout.join("target")).is_ok_and(|target| self.program.starts_with(target))
    }

    /// Whether the checkout is still one, and still of those who could change this program as well.
    fn is_trusted_checkout(&self) -> bool {
        self.checkout.join("firmware/app/Cargo.toml").is_file()
            && (self.is_in_checkout() || has_owner_of(&self.checkout, &self.program))
    }
}

/// Whether a folder is the administrator's, or of the program's owner.
#[cfg(unix)]
fn has_owner_of(folder: &Path, program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| fs::metadata(path).map(|data| data.uid()).ok();
    owner(folder).is_some_and(|uid| uid == 0 || owner(program) == Some(uid))
}

/// Elsewhere the program must lie in the checkout.
#[cfg(not(unix))]
fn has_owner_of(_: &Path, _: &Path) -> bool {
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> &'static Board {
        "qemu-m4".parse::<super::super::Target>().unwrap().board()
    }

    /// A folder with an installed program, and a checkout of which nothing is built.
    fn places(folder: &Path) -> Places {
        let write = |path: PathBuf| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let folder = fs::canonicalize(folder).unwrap();
        write(folder.join("checkout/firmware/app/Cargo.toml"));
        Places { program: write(folder.join("usr/bin/vitreous")), checkout: folder.join("checkout") }
    }

    fn put(path: PathBuf) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "\x7fELF").unwrap();
        path
    }

    #[test]
    fn an_installed_program_finds_what_lies_beside_it_and_builds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let error = places.find_or_build(board()).unwrap_err().to_string();
        assert!(error.contains("was not built") && error.contains("cargo xtask firmware qemu-m4"), "{error}");
        let built = put(places.checkout.join("target/firmware/qemu-m4.elf"));
        assert_eq!(places.find_or_build(board()).unwrap(), built);
        let usr = places.program.parent().unwrap().parent().unwrap();
        let shared = put(usr.join("share/vitreous/firmware/qemu-m4.elf"));
        assert_eq!(places.find_or_build(board()).unwrap(), shared);
        let beside = put(usr.join("bin/firmware/qemu-m4.elf"));
        assert_eq!(places.find_or_build(board()).unwrap(), beside);
    }

    #[test]
    fn firmware_older_than_its_sources_is_refused_where_it_cannot_be_built() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let built = put(places.checkout.join("target/firmware/qemu-m4.elf"));
        let old = SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::options().write(true).open(built).unwrap().set_modified(old).unwrap();
        let error = places.find_or_build(board()).unwrap_err().to_string();
        assert!(error.contains("older than its sources"), "{error}");
    }

    #[test]
    fn without_the_checkout_the_error_says_how_to_get_firmware() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { checkout: folder.path().join("gone"), ..places(folder.path()) };
        let error = places.find_or_build(board()).unwrap_err().to_string();
        for part in ["cargo xtask firmware qemu-m4", "--firmware", VARIABLE, "usr/bin/firmware"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn a_file_or_a_folder_can_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::canonicalize(put(folder.path().join("qemu-m4.elf"))).unwrap();
        assert_eq!(find_or_build(board(), Some(folder.path())).unwrap(), file);
        assert_eq!(find_or_build(board(), Some(&file)).unwrap(), file);
        let text = folder.path().join("notes.txt");
        fs::write(&text, "no firmware").unwrap();
        let error = find_or_build(board(), Some(&text)).unwrap_err().to_string();
        assert!(error.contains("no ELF file") && error.contains("notes.txt"), "{error}");
        let error = find_or_build(board(), Some(&folder.path().join("other"))).unwrap_err().to_string();
        assert!(error.contains("other") && error.contains("--firmware"), "{error}");
    }
}
