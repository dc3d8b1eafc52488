//! The handwritten digits of Alpaydin and Kaynak (UCI, Optical Recognition of Handwritten Digits, test part):
//! 1,797 grey images of 8×8 pixels, embedded by smartcore.

use super::dataset::{DataKind, Dataset};
use super::image_set::ImageSet;
use super::split;
use crate::output;
use anyhow::{ensure, Context, Result};
use image::ImageFormat;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Largest value of the source's pixels: counts of set bits in a 4×4 window.
const LEVELS: f32 = 16.0;
/// Held-out part of each class.
const TEST_FRACTION: f64 = 0.2;

/// The digits, split into 1,433 training and 364 held-out images by a fixed seed.
pub fn digits() -> Dataset {
    let source = smartcore::dataset::digits::load_dataset();
    let all = ImageSet {
        height: 8,
        width: 8,
        channels: 1,
        pixels: source.data.iter().map(|&v| (v * 255.0 / LEVELS).round() as u8).collect(),
        labels: source.target.iter().map(|&v| v as u16).collect(),
    };
    let (train, test) = split::stratified(&all, 10, TEST_FRACTION);
    let labels = (0..10).map(|digit| digit.to_string()).collect();
    Dataset { name: "digits".to_owned(), kind: DataKind::Digits, labels, train, test }
}

/// The held-out digits: pixels (8, 8, 1) and class.
pub fn digits_test() -> Vec<(Vec<u8>, usize)> {
    let test = digits().test;
    (0..test.len()).map(|i| (test.image(i).to_vec(), test.labels[i] as usize)).collect()
}

/// Writes the held-out digits below `dir` as 8×8 PNG files in one folder per class (`dir/7/0042.png`), for
/// commands that take labelled images. `limit` takes only the first images of each class. Returns the number
/// of files.
///
/// # Errors
/// A file cannot be written, or there are other files in the folder.
pub fn write_digits_test(dir: &Path, limit: Option<usize>) -> Result<usize> {
    refuse_foreign(dir)?;
    let mut counts = [0usize; 10];
    for (pixels, class) in digits_test() {
        if limit.is_some_and(|limit| counts[class] >= limit) {
            continue;
        }
        let folder = dir.join(class.to_string());
        output::folder(&folder)?;
        let path = folder.join(format!("{:04}.png", counts[class]));
        let image = image::GrayImage::from_raw(8, 8, pixels).context("64 pixels expected")?;
        let mut png = Vec::new();
        image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png)?;
        output::write(&path, png)?;
        counts[class] += 1;
    }
    Ok(counts.iter().sum())
}

/// Refuses a folder that holds anything but digits by an earlier call: neither would the images there
/// survive, nor would the folder be a set of digits.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let entries = |dir: &Path| -> Result<Vec<PathBuf>> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Ok(Vec::new()) };
        let paths = entries.map(|entry| Ok(entry?.path()));
        let is_hidden =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        paths.filter(|path| !path.as_ref().is_ok_and(is_hidden)).collect()
    };
    for class in entries(dir)? {
        let is_class = class.is_dir() && (0..10).any(|digit| class.ends_with(digit.to_string()));
        ensure!(is_class, "{} is none of the digits; give an empty or a new folder", class.display());
        for file in entries(&class)? {
            let is_digit = image::image_dimensions(&file).is_ok_and(|size| size == (8, 8));
            ensure!(is_digit, "{} is no 8×8 image; give an empty or a new folder", file.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_fixed_and_stratified() {
        let data = digits();
        assert_eq!((data.train.len(), data.test.len()), (1433, 364));
        for class in 0..10 {
            let count = data.test.labels.iter().filter(|&&l| l == class).count();
            assert!((34..=37).contains(&count), "class {class}: {count}");
        }
        assert_eq!(data, digits());
        assert_eq!(*data.train.pixels.iter().max().unwrap(), 255);
    }

    #[test]
    fn held_out_digits_come_back_from_their_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write_digits_test(dir.path(), Some(2)).unwrap(), 20);
        let first = digits_test().into_iter().find(|(_, class)| *class == 7).unwrap().0;
        let read = image::open(dir.path().join("7/0000.png")).unwrap().into_luma8();
        assert_eq!(read.into_raw(), first);
        write_digits_test(dir.path(), Some(1)).unwrap();
        image::GrayImage::new(9, 9).save(dir.path().join("7/0000.png")).unwrap();
        let message = write_digits_test(dir.path(), Some(1)).unwrap_err().to_string();
        assert!(message.contains("0000.png is no 8×8 image"), "{message}");
    }
}
