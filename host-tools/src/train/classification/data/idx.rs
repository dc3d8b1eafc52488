//! IDX files (LeCun, Cortes and Burges, the MNIST database's file format): big-endian header, then unsigned
//! bytes.

use super::dataset::{DataKind, Dataset};
use super::image_set::ImageSet;
use super::split;
use anyhow::{bail, ensure, Context, Result};
use std::path::{Path, PathBuf};

/// Type code of unsigned bytes, third byte of the magic number.
const UNSIGNED_BYTE: u8 = 0x08;
/// Held out where the folder has no test files.
const TEST_FRACTION: f64 = 0.2;

/// Whether `dir` holds training images.
pub fn is_here(dir: &Path) -> bool {
    find(dir, "train-images", 3).is_some()
}

/// Both spellings that are about: `train-images-idx3-ubyte` and `train-images.idx3-ubyte`.
fn find(dir: &Path, stem: &str, axes: usize) -> Option<PathBuf> {
    let names = ['-', '.'].map(|separator| dir.join(format!("{stem}{separator}idx{axes}-ubyte")));
    names.into_iter().find(|path| path.is_file())
}

/// Reads training images and labels and, if they are there, the `t10k` or `test` ones.
pub fn load(dir: &Path) -> Result<Dataset> {
    let train = pair(dir, "train")?;
    let test = ["t10k", "test"].into_iter().find(|part| find(dir, &format!("{part}-images"), 3).is_some());
    let test = test.map(|part| pair(dir, part)).transpose()?;
    let highest = train.labels.iter().chain(test.iter().flat_map(|t| &t.labels)).max();
    let classes = highest.map_or(0, |&label| label as usize + 1);
    let (train, test) = match test {
        Some(test) => (train, test),
        None => split::stratified(&train, classes, TEST_FRACTION),
    };
    ensure!(
        (train.height, train.width) == (test.height, test.width),
        "{}: training images are {}×{}, test images {}×{}; expected one size",
        dir.display(),
        train.height,
        train.width,
        test.height,
        test.width
    );
    let labels = (0..classes).map(|class| class.to_string()).collect();
    let name = format!("IDX files in {}", dir.display());
    Ok(Dataset { name, kind: DataKind::Idx, labels, train, test })
}

fn pair(dir: &Path, part: &str) -> Result<ImageSet> {
    let missing =
        |what: &str| format!("{}: {part}-{what}-ubyte is missing; it belongs to the set", dir.display());
    let images = find(dir, &format!("{part}-images"), 3).with_context(|| missing("images-idx3"))?;
    let labels = find(dir, &format!("{part}-labels"), 1).with_context(|| missing("labels-idx1"))?;
    let (shape, pixels) = read(&images, 3)?;
    let (count, classes) = read(&labels, 1)?;
    ensure!(
        count[0] == shape[0],
        "{}: {} labels for the {} images of {}; the files belong to different sets",
        labels.display(),
        count[0],
        shape[0],
        images.display()
    );
    ensure!(
        shape[1] > 0 && shape[1] == shape[2],
        "{}: images of {}×{}, square ones expected",
        images.display(),
        shape[1],
        shape[2]
    );
    let labels = classes.into_iter().map(u16::from).collect();
    Ok(ImageSet { height: shape[1], width: shape[2], channels: 1, pixels, labels })
}

/// Shape and elements of a file with `axes` axes of unsigned bytes.
fn read(path: &Path, axes: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let header = 4 + 4 * axes;
    if bytes.len() < header || bytes[..4] != [0, 0, UNSIGNED_BYTE, axes as u8] {
        bail!(
            "{}: begins with {:02x?}, expected [00, 00, 08, {axes:02x}] and {axes} sizes; it is not an IDX \
             file of unsigned bytes (unpack .gz files first)",
            path.display(),
            &bytes[..bytes.len().min(4)]
        );
    }
    let size = |axis: usize| u32::from_be_bytes([4, 5, 6, 7].map(|i| bytes[4 * axis + i])) as usize;
    let shape: Vec<usize> = (0..axes).map(size).collect();
    let expected = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if expected != Some(bytes.len() - header) {
        bail!(
            "{}: {} bytes of data, but its header says {shape:?}; the file is truncated or damaged: fetch \
             it again",
            path.display(),
            bytes.len() - header
        );
    }
    Ok((shape, bytes[header..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(shape: &[u32], data: &[u8]) -> Vec<u8> {
        let sizes = shape.iter().flat_map(|n| n.to_be_bytes());
        [0, 0, 8, shape.len() as u8].into_iter().chain(sizes).chain(data.iter().copied()).collect()
    }

    fn message(dir: &Path) -> String {
        load(dir).unwrap_err().to_string()
    }

    #[test]
    fn images_and_labels_are_paired_and_a_part_is_held_out() {
        let dir = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..40).collect();
        std::fs::write(dir.path().join("train-images-idx3-ubyte"), file(&[10, 2, 2], &pixels)).unwrap();
        let labels = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
        std::fs::write(dir.path().join("train-labels.idx1-ubyte"), file(&[10], &labels)).unwrap();
        let data = load(dir.path()).unwrap();
        assert_eq!((data.train.len(), data.test.len(), data.labels.len()), (8, 2, 2));
        assert_eq!(data.train.image_bytes(), 4);
    }

    #[test]
    fn damaged_files_are_named_with_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("train-images-idx3-ubyte");
        let labels = dir.path().join("train-labels-idx1-ubyte");
        std::fs::write(&images, file(&[2, 2, 2], &[0; 7])).unwrap();
        assert!(message(dir.path()).contains("train-labels-idx1-ubyte is missing"));
        std::fs::write(&labels, file(&[3], &[0, 1, 1])).unwrap();
        assert!(message(dir.path()).contains("7 bytes of data, but its header says [2, 2, 2]"));
        std::fs::write(&images, file(&[2, 2, 2], &[0; 8])).unwrap();
        assert!(message(dir.path()).contains("3 labels for the 2 images"));
        std::fs::write(&images, [0x1f, 0x8b, 8, 0]).unwrap();
        assert!(message(dir.path()).contains("unpack .gz files first"));
        std::fs::write(&images, file(&[u32::MAX, u32::MAX, u32::MAX], &[])).unwrap();
        assert!(message(dir.path()).contains("truncated or damaged"));
    }
}
