//! Folders of labelled images.
use super::ImageError;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 12] =
    ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "pnm", "ppm", "pgm", "pbm"];

/// Every image below `dir` with its class index.
///
/// With a `labels.csv` (a header line with the columns `file` and `class`, where `file` is relative to `dir` and
/// `class` an index) the order is the file's. Else every subfolder is a class; classes count in the order of their
/// folders' names, see [`class_names`], and images are sorted by name.
pub fn labelled_images(dir: &Path) -> Result<Vec<(PathBuf, usize)>, ImageError> {
    let csv = dir.join("labels.csv");
    let images = if csv.is_file() { read_csv(dir, &csv)? } else { read_class_folders(dir)? };
    if images.is_empty() {
        return Err(ImageError::NoImages { path: dir.to_path_buf() });
    }
    Ok(images)
}

/// The class subfolders' names, sorted: index in the list = class index. Hidden folders do not count.
pub fn class_names(dir: &Path) -> Result<Vec<String>, ImageError> {
    let mut names = Vec::new();
    for path in sorted_entries(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

/// Every image file below `dir`, at any depth, sorted by path; hidden folders do not count. `dir` may be an image file itself.
///
/// # Errors
/// A folder that cannot be read, or that holds no image, with its name.
pub fn images_below(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    if dir.is_file() {
        return Ok(vec![dir.to_path_buf()]);
    }
    let mut images = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in sorted_entries(&folder)? {
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if is_image(&path) {
                images.push(path);
            }
        }
    }
    images.sort();
    if images.is_empty() {
        return Err(ImageError::EmptyFolder { path: dir.to_path_buf() });
    }
    Ok(images)
}

fn sorted_entries(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let entries = std::fs::read_dir(dir).map_err(|e| ImageError::io(dir, e))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
    let mut paths = paths.map_err(|e| ImageError::io(dir, e))?;
    paths.sort();
    Ok(paths)
}

fn read_class_folders(dir: &Path) -> Result<Vec<(PathBuf, usize)>, ImageError> {
    let mut images = Vec::new();
    for (class, name) in class_names(dir)?.iter().enumerate() {
        let files = sorted_entries(&dir.join(name))?;
        images.extend(files.into_iter().filter(|file| is_image(file)).map(|file| (file, class)));
    }
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    path.is_file() && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

fn read_csv(dir: &Path, csv: &Path) -> Result<Vec<(PathBuf, usize)>, ImageError> {
    let text = std::fs::read_to_string(csv).map_err(|e| ImageError::io(csv, e))?;
    let error = |line: usize, reason: String| ImageError::Csv { path: csv.to_path_buf(), line, reason };
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header = split_csv(lines.next().map_or("", |(_, line)| line));
    let column = |name: &str| {
        let found = header.iter().position(|h| h.trim().eq_ignore_ascii_case(name));
        found.ok_or_else(|| error(1, format!("no column `{name}` in the header, expected file,class")))
    };
    let (file_column, class_column) = (column("file")?, column("class")?);
    let mut images = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields = split_csv(line);
        let (Some(file), Some(class)) = (fields.get(file_column), fields.get(class_column)) else {
            return Err(error(index + 1, format!("{} fields, expected {}", fields.len(), header.len())));
        };
        let class = class.trim();
        let class = class.parse().map_err(|_| {
            error(index + 1, format!("class {class:?} is no class index (a whole number from 0)"))
        })?;
        let file = dir.join(file.trim());
        if !file.is_file() {
            return Err(error(index + 1, format!("{} does not exist", file.display())));
        }
        images.push((file, class));
    }
    Ok(images)
}

/// Fields of one line; a field may stand in double quotes, with a quote in it doubled (RFC 4180, §2).
fn split_csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut();
        match (character, field) {
            ('"', Some(field)) if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (other, Some(field)) => field.push(other),
            (_, None) => {}
        }
    }
    fields
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
        for file in ["dog/b.PNG", "dog/a.jpg", "cat/c.webp", "cat/notes.txt", ".cache/x.png"] {
            touch(dir.path().join(file));
        }
        let found = labelled_images(dir.path()).unwrap();
        let expected = [("cat/c.webp", 0), ("dog/a.jpg", 1), ("dog/b.PNG", 1)];
        assert_eq!(found, expected.map(|(file, class)| (dir.path().join(file), class)));
        assert_eq!(class_names(dir.path()).unwrap(), ["cat", "dog"]);
    }

    #[test]
    fn a_labels_file_is_read_by_its_header_and_its_faults_are_named_by_line() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path().join("a, b.jpg"));
        touch(dir.path().join("c.jpg"));
        let csv = dir.path().join("labels.csv");
        std::fs::write(&csv, "class,file\n7,\"a, b.jpg\"\n\n0,c.jpg\n").unwrap();
        let expected = vec![(dir.path().join("a, b.jpg"), 7), (dir.path().join("c.jpg"), 0)];
        assert_eq!(labelled_images(dir.path()).unwrap(), expected);
        for (text, message) in [
            ("name,class\n", "line 1: no column `file`"),
            ("file,class\nc.jpg,cat\n", "line 2: class \"cat\" is no class index"),
            ("file,class\nc.jpg\n", "line 2: 1 fields, expected 2"),
            ("file,class\nd.jpg,1\n", "d.jpg does not exist"),
            ("file,class\n", "no labelled images"),
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
