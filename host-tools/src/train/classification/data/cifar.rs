//! CIFAR-10's binary files (Krizhevsky, cs.toronto.edu/~kriz/cifar.html): records of one label byte and
//! 3·32·32 pixels, plane by plane.

use super::dataset::{DataKind, Dataset};
use super::image_set::ImageSet;
use anyhow::{bail, ensure, Context, Result};
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Whether `dir` holds a training batch.
pub fn is_here(dir: &Path) -> bool {
    !batches(dir).is_empty()
}

/// The training batches that are there, in order.
fn batches(dir: &Path) -> Vec<PathBuf> {
    let named = (1..=5).map(|i| dir.join(format!("data_batch_{i}.bin")));
    named.filter(|path| path.is_file()).collect()
}

/// Reads all batches, test_batch.bin and, if it is there, batches.meta.txt.
pub fn load(dir: &Path) -> Result<Dataset> {
    let labels = class_names(&dir.join("batches.meta.txt"))?;
    let mut train = empty();
    for path in batches(dir) {
        read_batch(&path, labels.len(), &mut train)?;
    }
    let mut test = empty();
    let path = dir.join("test_batch.bin");
    ensure!(path.is_file(), "{}: missing; it comes with CIFAR-10's binary version", path.display());
    read_batch(&path, labels.len(), &mut test)?;
    let name = format!("CIFAR-10 binaries in {}", dir.display());
    Ok(Dataset { name, kind: DataKind::Cifar10, labels, train, test })
}

fn empty() -> ImageSet {
    ImageSet { height: SIDE, width: SIDE, channels: 3, ..ImageSet::default() }
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    if !path.is_file() {
        return Ok(CLASSES.map(str::to_owned).to_vec());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    ensure!((2..=256).contains(&names.len()), "{}: {} class names, expected 10", path.display(), names.len());
    Ok(names)
}

fn read_batch(path: &Path, classes: usize, set: &mut ImageSet) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("{}: cannot read", path.display()))?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        bail!(
            "{}: {} bytes, expected a multiple of {RECORD} (label and 3·32·32 pixels); the file is \
             truncated or not of the binary version: fetch it again",
            path.display(),
            bytes.len()
        );
    }
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let label = record[0] as usize;
        if label >= classes {
            bail!(
                "{}: label {label} in record {index} (byte {}), expected 0 to {}",
                path.display(),
                index * RECORD,
                classes - 1
            );
        }
        set.labels.push(label as u16);
        let planes = &record[1..];
        set.pixels.extend((0..PLANE).flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(label: u8) -> Vec<u8> {
        let planes = (0..3 * PLANE).map(|i| (i / PLANE * 10 + i % PLANE % 7) as u8);
        core::iter::once(label).chain(planes).collect()
    }

    fn write(dir: &Path, name: &str, bytes: &[u8]) {
        std::fs::write(dir.join(name), bytes).unwrap();
    }

    #[test]
    fn planes_become_interleaved_pixels() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "data_batch_1.bin", &[record(3), record(9)].concat());
        write(dir.path(), "test_batch.bin", &record(0));
        let data = load(dir.path()).unwrap();
        assert_eq!((data.train.labels, data.test.labels), (vec![3, 9], vec![0]));
        assert_eq!(data.train.pixels[..6], [0, 10, 20, 1, 11, 21]);
        assert_eq!(data.labels[9], "truck");
    }

    #[test]
    fn truncated_files_wrong_labels_and_missing_parts_are_named() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "data_batch_1.bin", &record(1)[..3000]);
        let message = load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("data_batch_1.bin") && message.contains("3000 bytes"), "{message}");
        write(dir.path(), "data_batch_1.bin", &record(10));
        assert!(load(dir.path()).unwrap_err().to_string().contains("label 10 in record 0"));
        write(dir.path(), "data_batch_1.bin", &record(1));
        assert!(load(dir.path()).unwrap_err().to_string().contains("test_batch.bin: missing"));
    }
}
