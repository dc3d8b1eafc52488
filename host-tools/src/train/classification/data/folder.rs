//! A folder of class folders, of images in any common format and size.

use super::dataset::{geometry, DataKind, Dataset};
use super::image_set::{check_memory, ImageSet};
use super::split;
use crate::image_input::{class_names, labelled_images, load_pixels, Loaded};
use anyhow::{bail, ensure, Result};
use rayon::prelude::*;
use std::path::Path;

/// Held out where the folder has no test part.
const TEST_FRACTION: f64 = 0.2;

/// Reads `dir`/train and `dir`/test (or val, validation), or `dir` itself with a held-out split.
pub fn load(dir: &Path, side: usize, channels: usize) -> Result<Dataset> {
    let train_dir = dir.join("train");
    let root = if train_dir.is_dir() { train_dir.as_path() } else { dir };
    let labels = class_names(root)?;
    ensure!(
        labels.len() <= u16::MAX as usize,
        "{}: {} class folders are too many",
        root.display(),
        labels.len()
    );
    let all = read(root, labels.len(), side, channels)?;
    let parts = ["test", "val", "validation"].map(|part| dir.join(part));
    let test_dir = parts.iter().find(|part| root != dir && part.is_dir());
    let (train, test) = match test_dir {
        Some(test_dir) => {
            let test_labels = class_names(test_dir)?;
            ensure!(
                test_labels == labels,
                "{}: class folders {test_labels:?} differ from those of {}: {labels:?}",
                test_dir.display(),
                root.display()
            );
            (all, read(test_dir, labels.len(), side, channels)?)
        }
        None => split::stratified(&all, labels.len(), TEST_FRACTION),
    };
    Ok(Dataset {
        name: format!("images in {}", dir.display()),
        kind: DataKind::ClassFolders,
        labels,
        train,
        test,
    })
}

fn read(dir: &Path, classes: usize, side: usize, channels: usize) -> Result<ImageSet> {
    let files = labelled_images(dir)?;
    if let Some((path, class)) = files.iter().find(|(_, class)| *class >= classes) {
        bail!(
            "{}: class {class} has no folder; training takes one folder per class, no labels.csv",
            path.display()
        );
    }
    check_memory(files.len(), side, channels)?;
    let preprocess = geometry(DataKind::ClassFolders, side);
    let load = |path: &Path| load_pixels(path, &preprocess, side, side, channels);
    let images: Result<Vec<Vec<u8>>, _> =
        files.par_iter().map(|(path, _)| Loaded::or_warn(path, load)).collect();
    let labels = files.iter().map(|&(_, class)| class as u16).collect();
    Ok(ImageSet { height: side, width: side, channels, pixels: images?.concat(), labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, width: u32, height: u32, value: u8) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(width, height, image::Rgb([value, 0, 255])).save(path).unwrap();
    }

    #[test]
    fn class_folders_of_any_size_are_brought_to_one() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..5 {
            write(dir.path(), &format!("cat/{i}.png"), 10 + i, 12, 10);
            write(dir.path(), &format!("dog/{i}.bmp"), 30, 9 + i, 200);
        }
        let data = load(dir.path(), 8, 3).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (8, 2));
        assert_eq!(data.labels, ["cat", "dog"]);
        assert_eq!(data.train.image(0)[..3], [10, 0, 255]);
        assert_eq!(load(dir.path(), 8, 1).unwrap().train.image_bytes(), 64);
    }

    #[test]
    fn a_test_folder_with_other_classes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train/cat/0.png", 8, 8, 1);
        write(dir.path(), "train/dog/0.png", 8, 8, 1);
        write(dir.path(), "test/cow/0.png", 8, 8, 1);
        let message = load(dir.path(), 8, 3).unwrap_err().to_string();
        assert!(message.contains("cow") && message.contains("differ"), "{message}");
    }

    #[test]
    fn a_damaged_image_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "cat/0.png", 8, 8, 1);
        std::fs::write(dir.path().join("cat/1.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
        assert!(load(dir.path(), 8, 3).unwrap_err().to_string().contains("1.png"));
    }
}
