//! Loading of data from wherever it is, in the size that is wanted.

use super::dataset::{geometry, DataKind, Dataset};
use super::image_set::{check_memory, ImageSet};
use super::{cifar, digits::digits, folder, idx};
use anyhow::{bail, ensure, Context, Result};
use std::path::{Path, PathBuf};

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

/// Size and colours that the user asked for, where they are not the data's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Side in pixels.
    pub side: Option<usize>,
    /// Colour channels of class folders' images: 1 or 3.
    pub channels: Option<usize>,
}

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
