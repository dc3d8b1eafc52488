//! Labelled image sets for training, held in memory as 8-bit pixels of the model's size.

mod cifar;
mod digits;
mod folder;
mod idx;
mod split;

pub use digits::{digits, digits_test, write_digits_test};

use super::augment::epoch_order;
use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use vitreous::format::{Crop, Filter, Preprocess};

/// Where the images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// The 1,797 handwritten 8×8 digits that are built in.
    Digits,
    /// A folder: class folders, CIFAR-10 binaries or IDX files, told apart by what lies in it.
    Folder(PathBuf),
}

impl DataSource {
    /// The folder that is read, if one is.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            DataSource::Digits => None,
            DataSource::Folder(folder) => Some(folder),
        }
    }
}

/// What a folder was found to hold. It decides the defaults of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Built-in digits.
    Digits,
    /// CIFAR-10 binaries.
    Cifar10,
    /// IDX files (MNIST and its relatives).
    Idx,
    /// A folder per class.
    ClassFolders,
}

/// Images of one size with their class indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSet {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Colour channels.
    pub channels: usize,
    /// (images, height, width, channels).
    pub pixels: Vec<u8>,
    /// Class index of each image.
    pub labels: Vec<u16>,
}

impl ImageSet {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn image_bytes(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Pixels of image `index`: (height, width, channels).
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_bytes()..][..self.image_bytes()]
    }

    /// A set of the same image size with the images of `indices`.
    fn subset(&self, indices: &[usize]) -> ImageSet {
        ImageSet {
            pixels: indices.iter().flat_map(|&i| self.image(i)).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            ..*self
        }
    }

    /// Mean and standard deviation per channel of pixels scaled to 0..1, rounded to four decimals; unused
    /// channels get 0 and 1, as does the deviation of a channel without contrast.
    pub fn statistics(&self) -> ([f32; 4], [f32; 4]) {
        let (mut mean, mut std) = ([0f32; 4], [1f32; 4]);
        for channel in 0..self.channels {
            let values = || self.pixels.iter().skip(channel).step_by(self.channels).map(|&p| p as u64);
            let count = values().count().max(1) as f64;
            let average = values().sum::<u64>() as f64 / count;
            let variance = values().map(|v| v * v).sum::<u64>() as f64 / count - average * average;
            let rounded = |v: f64| ((v / 255.0 * 1e4).round() / 1e4) as f32;
            mean[channel] = rounded(average);
            std[channel] = Some(rounded(variance.max(0.0).sqrt())).filter(|&s| s > 0.0).unwrap_or(1.0);
        }
        (mean, std)
    }
}

/// A training set, a held-out set and the classes' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What it is, for messages and reports.
    pub name: String,
    /// Its form.
    pub kind: DataKind,
    /// Class names.
    pub labels: Vec<String>,
    /// Images to train on.
    pub train: ImageSet,
    /// Images held out.
    pub test: ImageSet,
}

/// Size and colours that the user asked for, where they are not the data's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Side in pixels.
    pub side: Option<usize>,
    /// Colour channels of class folders' images: 1 or 3.
    pub channels: Option<usize>,
}

/// The shuffles that choose a part of each class are those of epochs that no training reaches.
const PART_ORDER: u64 = 1 << 27;

/// Side in pixels to which images of class folders are brought if the user names none.
pub const FOLDER_SIDE: usize = 64;

impl Dataset {
    /// Reads the data and brings it to the wanted size.
    pub fn load(source: &DataSource, shape: Shape) -> Result<Dataset> {
        let mut set = match source {
            DataSource::Digits => digits(),
            DataSource::Folder(dir) => load_folder(dir, shape)?,
        };
        if let Some(side) = shape.side {
            set.train = resized(set.train, side)?;
            set.test = resized(set.test, side)?;
        }
        let channels = set.train.channels;
        if let Some(wanted) = shape.channels.filter(|&wanted| wanted != channels) {
            bail!("{}: its images have {channels} channel(s), not {wanted}; leave out --channels", set.name);
        }
        ensure!(!set.train.is_empty(), "{}: no image to train on", set.name);
        ensure!(!set.test.is_empty(), "{}: no held-out image; add a test folder or more images", set.name);
        ensure!(set.labels.len() >= 2, "{}: {} class, expected at least 2", set.name, set.labels.len());
        Ok(set)
    }

    /// A part of every class of the training images, at least one each, chosen by `seed`; all held-out
    /// images.
    pub fn part(&self, fraction: f64, seed: u64) -> Dataset {
        let mut chosen = Vec::new();
        for class in 0..self.labels.len() {
            let of: Vec<usize> =
                (0..self.train.len()).filter(|&i| usize::from(self.train.labels[i]) == class).collect();
            let keep = ((of.len() as f64 * fraction).round() as usize).clamp(of.len().min(1), of.len());
            let order = epoch_order(of.len(), seed, PART_ORDER + class as u64);
            chosen.extend(order[..keep].iter().map(|&i| of[i]));
        }
        chosen.sort_unstable();
        Dataset { train: self.train.subset(&chosen), ..self.clone() }
    }

    /// SHA-256 over sizes, pixels and labels of both parts, as hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.train, &self.test] {
            for size in [part.len(), part.height, part.width, part.channels] {
                hash.update((size as u64).to_le_bytes());
            }
            hash.update(&part.pixels);
            part.labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How a photograph becomes this data's kind of image, with the training set's mean and deviation.
    pub fn preprocess(&self) -> Preprocess {
        let (mean, std) = self.train.statistics();
        Preprocess { mean, std, ..geometry(self.kind, self.train.height) }
    }
}

/// Resize and crop: class folders keep their aspect ratio, sets of fixed size are only scaled.
fn geometry(kind: DataKind, side: usize) -> Preprocess {
    let crop = if kind == DataKind::ClassFolders { Crop::Center } else { Crop::Squash };
    Preprocess { filter: Filter::Bilinear, crop, resize: side, mean: [0.0; 4], std: [1.0; 4] }
}

fn load_folder(dir: &Path, shape: Shape) -> Result<Dataset> {
    ensure!(
        dir.is_dir(),
        "{}: no such folder; expected a folder of images or the word `digits`",
        dir.display()
    );
    if cifar::is_here(dir) {
        return cifar::load(dir);
    }
    if idx::is_here(dir) {
        return idx::load(dir);
    }
    if let Some(inner) = ["cifar-10-batches-bin"].iter().map(|n| dir.join(n)).find(|d| cifar::is_here(d)) {
        return cifar::load(&inner);
    }
    let (side, channels) = (shape.side.unwrap_or(FOLDER_SIDE), shape.channels.unwrap_or(3));
    folder::load(dir, side, channels).with_context(|| {
        format!(
            "{}: holds neither CIFAR-10 binaries (data_batch_1.bin …) nor IDX files \
             (train-images-idx3-ubyte …); read as class folders",
            dir.display()
        )
    })
}

/// Refuses images that together take more memory than a machine is likely to have: all are held at once.
fn check_memory(images: usize, side: usize, channels: usize) -> Result<()> {
    const MOST: u64 = 64 << 30;
    let [images, side, channels] = [images, side, channels].map(|n| n as u64);
    let needed = images.saturating_mul(side * side * channels);
    ensure!(
        needed <= MOST,
        "{images} images of {side}×{side} pixels take {} GiB of memory: expected at most {}; give less \
         --image-size",
        needed >> 30,
        MOST >> 30
    );
    Ok(())
}

fn resized(set: ImageSet, side: usize) -> Result<ImageSet> {
    if (set.height, set.width) == (side, side) {
        return Ok(set);
    }
    check_memory(set.len(), side, set.channels)?;
    let squash = geometry(DataKind::Idx, side);
    let mut pixels = Vec::with_capacity(set.len() * side * side * set.channels);
    for index in 0..set.len() {
        let image = dynamic_image(set.image(index), set.height, set.width, set.channels)?;
        pixels.extend(crate::image_input::pixels_from_image(image, &squash, side, side, set.channels)?);
    }
    Ok(ImageSet { height: side, width: side, pixels, ..set })
}

/// `pixels` (height, width, channels) for the resize step.
fn dynamic_image(pixels: &[u8], height: usize, width: usize, channels: usize) -> Result<image::DynamicImage> {
    let (w, h, bytes) = (width as u32, height as u32, pixels.to_vec());
    let image = match channels {
        1 => image::GrayImage::from_raw(w, h, bytes).map(image::DynamicImage::ImageLuma8),
        3 => image::RgbImage::from_raw(w, h, bytes).map(image::DynamicImage::ImageRgb8),
        _ => None,
    };
    image.context("images of 1 or 3 channels expected")
}
