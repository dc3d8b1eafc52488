//! Folders of labelled images.

use super::folder::{is_hidden, search};
use super::{Found, ImageError};
use crate::text::{read_bounded, MAX_TEXT};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A folder of images and their classes.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    /// Every image with the index of its class.
    pub images: Vec<(PathBuf, usize)>,
    /// The class folders' names, in the order of their indices; `None` where a labels.csv gives the classes.
    pub classes: Option<Vec<String>>,
    /// Files that are no images, and images that stand beside the class folders; empty where a labels.csv
    /// gives the images.
    pub passed_over: Vec<PathBuf>,
}

/// Reads a folder of labelled images.
///
/// With a `labels.csv` (RFC 4180, UTF-8, a header line with the columns `file` and `class`, where `file` is
/// relative to `dir` and `class` an index) the order is the file's. Else every subfolder is a class; classes
/// count in the order of their folders' names, and images, at any depth below them, are sorted by path.
///
/// # Errors
/// A folder or file that cannot be read; no labelled image; a faulty line of the labels.csv, with its number.
pub fn labelled(dir: &Path) -> Result<Labelled, ImageError> {
    let csv = dir.join("labels.csv");
    let labelled = if csv.is_file() {
        Labelled { images: read_csv(dir, &csv)?, ..Labelled::default() }
    } else {
        read_class_folders(dir)?
    };
    if labelled.images.is_empty() {
        return Err(ImageError::NoImages { path: dir.to_path_buf() });
    }
    Ok(labelled)
}

/// Whether a folder's images lie in it as they are: without a labels.csv, and without folders beside them.
pub fn is_unlabelled(dir: &Path) -> bool {
    let entries = entries(dir).unwrap_or_default();
    let mut found = Found::default();
    let is_flat = !dir.join("labels.csv").exists() && entries.iter().all(|path| !path.is_dir());
    is_flat && search(dir, &mut found).is_ok() && !found.images.is_empty()
}

/// The images of [`labelled`].
///
/// # Errors
/// As [`labelled`].
pub fn labelled_images(dir: &Path) -> Result<Vec<(PathBuf, usize)>, ImageError> {
    Ok(labelled(dir)?.images)
}

/// The class subfolders' names, sorted: index in the list = class index. Hidden folders do not count.
///
/// # Errors
/// A folder that cannot be read.
pub fn class_names(dir: &Path) -> Result<Vec<String>, ImageError> {
    let folders = entries(dir)?.into_iter().filter(|path| path.is_dir());
    Ok(folders.map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect())
}

/// What a folder holds, sorted, without hidden names.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let entries = std::fs::read_dir(dir).map_err(|e| ImageError::io(dir, e))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
    let mut paths = paths.map_err(|e| ImageError::io(dir, e))?;
    paths.retain(|path| !path.file_name().is_some_and(is_hidden));
    paths.sort();
    Ok(paths)
}

fn read_class_folders(dir: &Path) -> Result<Labelled, ImageError> {
    let mut labelled = Labelled::default();
    let (folders, files): (Vec<_>, Vec<_>) = entries(dir)?.into_iter().partition(|path| path.is_dir());
    labelled.passed_over = files;
    for (class, folder) in folders.iter().enumerate() {
        let mut found = Found::default();
        search(folder, &mut found)?;
        labelled.images.extend(found.images.into_iter().map(|image| (image.path, class)));
        labelled.passed_over.extend(found.passed_over);
    }
    labelled.classes = Some(class_names(dir)?);
    Ok(labelled)
}

fn read_csv(dir: &Path, csv: &Path) -> Result<Vec<(PathBuf, usize)>, ImageError> {
    let error = |line: u64, reason: String| ImageError::Csv { path: csv.to_path_buf(), line, reason };
    let bytes = read_bounded(csv, MAX_TEXT).map_err(|e| ImageError::io(csv, e))?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(error(1, "the text is UTF-16; save it as UTF-8".into()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    // A spreadsheet of a language with decimal commas writes semicolons.
    let delimiter = if is_semicolon_separated(bytes) { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let line_of =
        |position: Option<&csv::Position>| position.map_or(1, |at| line_at(bytes, at.byte() as usize));
    let faulty = |e: csv::Error| error(line_of(e.position()), reason(&e));
    let header = reader.headers().map_err(faulty)?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|h| h.eq_ignore_ascii_case(name));
        found.ok_or_else(|| error(1, format!("no column `{name}` in the header, expected file,class")))
    };
    let (file_column, class_column) = (column("file")?, column("class")?);
    let mut images = Vec::new();
    let mut classes: HashMap<PathBuf, (usize, u64)> = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(faulty)?;
        let line = line_of(record.position());
        let fields =
            (record.len() == header.len()).then(|| (record.get(file_column), record.get(class_column)));
        let Some((Some(file), Some(class))) = fields else {
            return Err(error(line, format!("{} fields, expected {}", record.len(), header.len())));
        };
        let index = class
            .parse()
            .map_err(|_| error(line, format!("class {class:?} is no class index (a whole number from 0)")))?;
        if file.is_empty() {
            return Err(error(line, "no file is named".into()));
        }
        let path = dir.join(file);
        if !path.is_file() {
            return Err(error(line, format!("{} does not exist", path.display())));
        }
        // By its own place: `./a.png` and `a.png` are one image.
        let place = path.canonicalize().unwrap_or_else(|_| path.clone());
        let (first, before) = *classes.entry(place).or_insert((index, line));
        if first != index {
            let reason = format!("{file:?} has class {index} here, and {first} in line {before}");
            return Err(error(line, reason));
        }
        images.push((path, index));
    }
    Ok(images)
}

fn is_semicolon_separated(bytes: &[u8]) -> bool {
    let header = bytes.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
    !header.contains(&b',') && header.contains(&b';')
}

/// The line, from 1, of the record that is read next from a place in the text; the place may lie before line
/// feeds.
fn line_at(text: &[u8], at: usize) -> u64 {
    let (before, rest) = text.split_at(at.min(text.len()));
    let feeds = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    1 + before.iter().chain(feeds).filter(|b| **b == b'\n').count() as u64
}

/// The reason without the position, which is told apart from it.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8; save it as UTF-8".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }

    #[test]
    fn class_folders_count_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["dog/b.PNG", "dog/a/1.jpg", "cat/c.webp", "cat/notes.txt", ".cache/x.png", "loose.png"];
        for file in files {
            touch(dir.path().join(file));
        }
        let found = labelled(dir.path()).unwrap();
        let expected = [("cat/c.webp", 0), ("dog/a/1.jpg", 1), ("dog/b.PNG", 1)];
        assert_eq!(found.images, expected.map(|(file, class)| (dir.path().join(file), class)));
        assert_eq!(found.classes.unwrap(), ["cat", "dog"]);
        assert_eq!(found.passed_over, ["loose.png", "cat/notes.txt"].map(|file| dir.path().join(file)));
        assert_eq!(class_names(dir.path()).unwrap(), ["cat", "dog"]);
    }

    #[test]
    fn a_labels_file_is_read_by_its_header_and_its_faults_are_named_by_line() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a, b.jpg", "c.jpg", "say \"x\".jpg"] {
            touch(dir.path().join(name));
        }
        let csv = dir.path().join("labels.csv");
        let all = |files: &[(&str, usize)]| -> Vec<(PathBuf, usize)> {
            files.iter().map(|(file, class)| (dir.path().join(file), *class)).collect()
        };
        for text in [
            "class,file\n7,\"a, b.jpg\"\n\n0,c.jpg\n",
            "\u{feff}Class, File \r\n7,\"a, b.jpg\"\r\n0 , c.jpg\r\n",
            "file;note;class\n\"a, b.jpg\";\"two\nlines\";7\nc.jpg;;0",
        ] {
            std::fs::write(&csv, text).unwrap();
            assert_eq!(labelled_images(dir.path()).unwrap(), all(&[("a, b.jpg", 7), ("c.jpg", 0)]), "{text}");
        }
        std::fs::write(&csv, "file,class\n\"say \"\"x\"\".jpg\",1\n").unwrap();
        assert_eq!(labelled_images(dir.path()).unwrap(), all(&[("say \"x\".jpg", 1)]));
        for (text, message) in [
            (&b"name,class\n"[..], "line 1: no column `file`"),
            (b"file,class\nc.jpg,cat\n", "line 2: class \"cat\" is no class index"),
            (b"file,class\nc.jpg,-1\n", "line 2: class \"-1\" is no class index"),
            (b"file,class\nc.jpg\n", "line 2: 1 fields, expected 2"),
            (b"file,class\na, b.jpg,1\n", "line 2: 3 fields, expected 2"),
            (b"file,class\r\nc.jpg,0\r\n\r\nd.jpg,1\r\n", "line 4: "),
            (b"file,class\nd.jpg,1\n", "d.jpg does not exist"),
            (b"file,class\n,1\n", "no file is named"),
            (b"file,class\nc.jpg,1\n./c.jpg,2\n", "line 3: \"./c.jpg\" has class 2 here, and 1 in line 2"),
            (b"file,class\nc\xff.jpg,1\n", "line 2: the text is not UTF-8"),
            (b"\xff\xfef\0i\0", "UTF-16"),
            (b"file,class\n", "no labelled images"),
            (b"", "no column `file`"),
        ] {
            std::fs::write(&csv, text).unwrap();
            let error = labelled_images(dir.path()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_folder_without_images_says_what_is_expected() {
        let dir = tempfile::tempdir().unwrap();
        let error = labelled_images(dir.path()).unwrap_err().to_string();
        assert!(error.contains("labels.csv") && error.contains("subfolder"), "{error}");
    }
}
