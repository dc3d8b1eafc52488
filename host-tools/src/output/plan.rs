//! What a command reads and where it will write, compared before any work is done.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{OutputError, Reason};
use super::kind::Kind;
use super::place::{folder_of, Place};

/// Files that are read beside weights if they are there.
const BESIDE_WEIGHTS: [&str; 4] = ["config.json", "preprocessor_config.json", "labels.txt", "classes.txt"];
/// Endings of files that are taken for weights.
const WEIGHTS: [&str; 7] = ["safetensors", "pt", "pth", "bin", "ckpt", "npz", "json"];
/// Says the classes of the images in its folder.
const LABELS: &str = "labels.csv";

/// A command's inputs and outputs.
#[derive(Debug, Default)]
pub struct Plan {
    files: Vec<PathBuf>,
    weights: Vec<PathBuf>,
    data: Vec<PathBuf>,
    outputs: Vec<(PathBuf, Kind)>,
    folders: Vec<PathBuf>,
}

impl Plan {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files that are read.
    pub fn reads(mut self, files: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        self.files.extend(files.into_iter().map(|file| file.as_ref().to_owned()));
        self
    }

    /// Weights that are read: files, with what describes them beside them, or folders.
    pub fn reads_weights(mut self, weights: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        self.weights.extend(weights.into_iter().map(|file| file.as_ref().to_owned()));
        self
    }

    /// Folders of which all images are read, those of deeper folders too.
    pub fn reads_data(mut self, folders: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        self.data.extend(folders.into_iter().map(|folder| folder.as_ref().to_owned()));
        self
    }

    /// Files that are written.
    pub fn writes(mut self, files: impl IntoIterator<Item = impl AsRef<Path>>, kind: Kind) -> Self {
        self.outputs.extend(files.into_iter().map(|file| (file.as_ref().to_owned(), kind)));
        self
    }

    /// Folders that files are written into.
    pub fn writes_into(mut self, folders: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        self.folders.extend(folders.into_iter().map(|folder| folder.as_ref().to_owned()));
        self
    }

    /// # Errors
    /// An output that cannot be written as far as that is known before; one that an input or another output
    /// would be lost by; one that would be taken for an input the next time; one whose place is taken by a
    /// file of another kind.
    pub fn check(&self) -> Result<(), OutputError> {
        let mut taken: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        taken.extend(self.weights.iter().filter(|path| path.is_file()).map(PathBuf::as_path));
        let inputs = Spots::of(&taken);
        let mut earlier = Spots::default();
        for (path, kind) in &self.outputs {
            self.check_file(path, *kind, &inputs, &mut earlier).map_err(|reason| reason.of(path))?;
        }
        for path in &self.folders {
            self.check_output_folder(path).map_err(|reason| reason.of(path))?;
        }
        Ok(())
    }

    fn check_file<'a>(
        &'a self,
        path: &'a Path,
        kind: Kind,
        inputs: &Spots<'a>,
        earlier: &mut Spots<'a>,
    ) -> Result<(), Reason> {
        let (real, is_there) = match self.place(path)? {
            Place::Stream => return Ok(()),
            Place::File { path, there } => (path, there.is_some()),
        };
        let spot = Spot::of(&real);
        if let Some(input) = inputs.find(&spot) {
            return Err(Reason::IsInput { input: input.to_owned() });
        }
        if let Some(other) = earlier.find(&spot) {
            return Err(Reason::Twice { other: other.to_owned() });
        }
        earlier.add(spot, path);
        let folder = real_folder(&real);
        let is_in = |input: &PathBuf| {
            let input = if input.is_dir() { input.as_path() } else { folder_of(input) };
            fs::canonicalize(input).is_ok_and(|input| input == folder)
        };
        let name = real.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let describes = BESIDE_WEIGHTS.contains(&name.as_str());
        let is_weights = Path::new(&name).extension().is_some_and(|e| WEIGHTS.iter().any(|w| e == *w));
        for weights in self.weights.iter().filter(|weights| is_in(weights)) {
            if describes || (is_weights && weights.is_dir()) {
                let input = folder.join(real.file_name().unwrap_or_default());
                return Err(if is_there { Reason::IsInput { input } } else { Reason::Shadows { folder } });
            }
        }
        if name == LABELS && self.data.iter().any(is_in) {
            return Err(Reason::Shadows { folder });
        }
        if is_there && !kind.is_of(&real).map_err(Reason::system)? {
            return Err(Reason::OtherKind { expected: kind.name() });
        }
        Ok(())
    }

    /// The place of a file, whose folder the command may create.
    fn place(&self, path: &Path) -> Result<Place, Reason> {
        match Place::find(path) {
            Err(Reason::FolderMissing { .. }) if self.folders.iter().any(|f| path.starts_with(f)) => {
                Ok(Place::File { path: path.to_owned(), there: None })
            }
            found => found,
        }
    }

    fn check_output_folder(&self, path: &Path) -> Result<(), Reason> {
        let there = path.ancestors().find(|part| fs::symlink_metadata(part).is_ok());
        if let Some(file) = there.filter(|part| !part.as_os_str().is_empty() && !part.is_dir()) {
            return Err(Reason::NoFolder { found: file.to_owned() });
        }
        let real = real_path(path);
        for data in &self.data {
            if data.is_dir() && fs::canonicalize(data).is_ok_and(|data| real.starts_with(data)) {
                return Err(Reason::InsideInput { folder: data.clone() });
            }
        }
        for weights in self.weights.iter().filter(|weights| weights.is_dir()) {
            if fs::canonicalize(weights).is_ok_and(|weights| weights == real) {
                return Err(Reason::IsInput { input: weights.clone() });
            }
        }
        Ok(())
    }
}

/// The folder of a file by its real name.
fn real_folder(path: &Path) -> PathBuf {
    real_path(folder_of(path))
}

/// The real name of a path whose end need not be there yet.
fn real_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(there), path.strip_prefix(there)) {
            // An empty rest would leave a separator at the end.
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path
}

/// What tells files apart: the real name, and on Unix the number of the file, which hard links share.
struct Spot {
    name: PathBuf,
    number: Option<(u64, u64)>,
}

impl Spot {
    fn of(path: &Path) -> Self {
        #[cfg(unix)]
        let number = fs::metadata(path).ok().map(|file| {
            use std::os::unix::fs::MetadataExt;
            (file.dev(), file.ino())
        });
        #[cfg(not(unix))]
        let number = None;
        Spot { name: real_path(path), number }
    }
}

/// Files by what tells them apart.
#[derive(Default)]
struct Spots<'a> {
    names: HashMap<PathBuf, &'a Path>,
    numbers: HashMap<(u64, u64), &'a Path>,
}

impl<'a> Spots<'a> {
    fn of(paths: &[&'a Path]) -> Self {
        let mut spots = Spots::default();
        paths.iter().for_each(|path| spots.add(Spot::of(path), path));
        spots
    }

    fn add(&mut self, spot: Spot, path: &'a Path) {
        self.names.insert(spot.name, path);
        if let Some(number) = spot.number {
            self.numbers.insert(number, path);
        }
    }

    fn find(&self, spot: &Spot) -> Option<&'a Path> {
        let by_number = spot.number.and_then(|number| self.numbers.get(&number));
        by_number.or_else(|| self.names.get(&spot.name)).copied()
    }
}
