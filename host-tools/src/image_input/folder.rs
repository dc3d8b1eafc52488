//! Folders of images.

use super::format::{Kind, HEAD};
use super::ImageError;
use crate::text::shown;
use std::io::Read;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A file of such a name is meant as an image, whatever it holds: a damaged one is named, not passed over.
const EXTENSIONS: [&str; 14] =
    ["png", "apng", "jpg", "jpeg", "jpe", "bmp", "gif", "webp", "tif", "tiff", "pnm", "ppm", "pgm", "pbm"];

/// Files that a message names at most.
const MOST_NAMES: usize = 5;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Images, in the order in which they were given, those of a folder sorted by path.
    pub images: Vec<FoundImage>,
    /// Files of folders that are no images.
    pub passed_over: Vec<PathBuf>,
}

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the folder that was given, its name alone where it was given itself.
    pub below: PathBuf,
}

impl Found {
    /// Says which files were passed over, if any were.
    pub fn passed_over_note(&self) -> Option<String> {
        let (first, rest) = self.passed_over.split_at(self.passed_over.len().min(MOST_NAMES));
        let names: Vec<String> = first.iter().map(|path| shown(path)).collect();
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        match self.passed_over.len() {
            0 => None,
            1 => Some(format!("1 file is no image and is passed over: {}", names[0])),
            count => {
                Some(format!("{count} files are no images and are passed over: {}{more}", names.join(", ")))
            }
        }
    }
}

/// The images given, and those of the folders given, at any depth. What begins with a dot is left out, and
/// symbolic links are followed, but not in a ring. A file is an image by its contents, or by its name if its
/// contents say nothing; a file that is given itself is one in any case.
///
/// # Errors
/// A folder that cannot be read, or that holds no image, with its name.
pub fn find_images(given: &[PathBuf]) -> Result<Found, ImageError> {
    let mut found = Found::default();
    for path in given {
        if path.is_dir() {
            let before = found.images.len();
            search(path, &mut found)?;
            if found.images.len() == before {
                return Err(ImageError::EmptyFolder { path: path.clone() });
            }
        } else if !found.images.iter().any(|image| image.path == *path) {
            let below = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
            found.images.push(FoundImage { path: path.clone(), below });
        }
    }
    Ok(found)
}

/// Every image file below `dir`, as [`find_images`] finds them. `dir` may be an image file itself.
///
/// # Errors
/// As [`find_images`]; `dir` is not there.
pub fn images_below(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    std::fs::metadata(dir).map_err(|e| ImageError::io(dir, e))?;
    Ok(find_images(&[dir.to_path_buf()])?.images.into_iter().map(|image| image.path).collect())
}

/// Adds what is below a folder, sorted by path.
pub(super) fn search(dir: &Path, found: &mut Found) -> Result<(), ImageError> {
    let mut images = Vec::new();
    let entries = WalkDir::new(dir).follow_links(true).into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let path = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            // Pipes and devices, which would wait.
            Ok(entry) if !entry.file_type().is_file() => {
                found.passed_over.push(entry.into_path());
                continue;
            }
            Ok(entry) => entry.path().to_path_buf(),
            // What a ring of links holds was found on the way to it.
            Err(error) if error.loop_ancestor().is_some() => continue,
            // A link to nothing.
            Err(error) if error.path().is_some_and(Path::is_symlink) => {
                error.path().unwrap_or(dir).to_path_buf()
            }
            Err(error) => {
                let path = error.path().unwrap_or(dir).to_path_buf();
                return Err(ImageError::io(&path, error.into()));
            }
        };
        if is_image(&path) {
            let below = path.strip_prefix(dir).unwrap_or(&path).to_path_buf();
            images.push(FoundImage { path, below });
        } else {
            found.passed_over.push(path);
        }
    }
    images.sort_by(|a, b| a.path.cmp(&b.path));
    found.passed_over.sort();
    found.images.extend(images);
    Ok(())
}

/// Names that systems and programs keep for themselves.
pub(super) fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

/// Whether a file of a folder is an image or is meant as one.
fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    if extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) {
        return true;
    }
    matches!(first_bytes(path).as_deref().map(Kind::of), Some(Kind::Readable(_) | Kind::Picture(_)))
}

fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PGM: &[u8] = b"P5\n1 1\n255\n\x07";

    fn write(dir: &Path, name: &str, bytes: &[u8]) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn below(found: &Found) -> Vec<String> {
        found.images.iter().map(|image| image.below.display().to_string()).collect()
    }

    #[test]
    fn images_are_found_by_contents_and_everything_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.PNG", "b/1", "a.dat", ".hidden/3.png", "b/._1.png", "z.JPG"] {
            write(dir.path(), name, PGM);
        }
        write(dir.path(), "b/broken.png", b"");
        write(dir.path(), "photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
        for name in ["notes.txt", "b/labels.csv", "b/thumbs.db"] {
            write(dir.path(), name, b"P1: text");
        }
        let found = find_images(&[dir.path().to_path_buf()]).unwrap();
        assert_eq!(below(&found), ["a.dat", "b/1", "b/2.PNG", "b/broken.png", "photo.heic", "z.JPG"]);
        let note = found.passed_over_note().unwrap();
        assert!(note.starts_with("3 files are no images") && note.contains("notes.txt"), "{note}");
        assert_eq!(images_below(&dir.path().join("z.JPG")).unwrap().len(), 1);
        let many = Found { passed_over: vec![PathBuf::from("x"); 9], ..Found::default() };
        assert!(many.passed_over_note().unwrap().ends_with("x, x and 4 more"));
    }

    #[test]
    fn files_given_twice_count_once_and_missing_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.pgm", PGM);
        let (there, missing) = (dir.path().join("a.pgm"), dir.path().join("missing.png"));
        let found = find_images(&[there.clone(), missing.clone(), there.clone()]).unwrap();
        let paths: Vec<PathBuf> = found.images.into_iter().map(|image| image.path).collect();
        assert_eq!(paths, [there, missing.clone()]);
        assert!(images_below(&missing).unwrap_err().to_string().contains("missing.png"));
    }

    #[test]
    fn a_folder_without_images_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "notes.txt", b"nothing");
        let error = find_images(&[dir.path().to_path_buf()]).unwrap_err().to_string();
        assert!(error.contains("no images in it or below"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_a_ring() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "in/a.pgm", PGM);
        symlink(dir.path().join("in"), dir.path().join("in/again")).unwrap();
        symlink(dir.path().join("in/a.pgm"), dir.path().join("in/link.pgm")).unwrap();
        symlink(dir.path().join("nowhere"), dir.path().join("in/dead")).unwrap();
        symlink(dir.path().join("nowhere"), dir.path().join("in/dead.png")).unwrap();
        let found = find_images(&[dir.path().join("in")]).unwrap();
        assert_eq!(below(&found), ["a.pgm", "dead.png", "link.pgm"]);
        assert_eq!(found.passed_over, [dir.path().join("in/dead")]);
    }
}
