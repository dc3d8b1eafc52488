//! A photograph in any common format and size as the model's 8-bit input.
//!
//! Decode, turn upright (EXIF), convert to the model's channels, resize, crop: what `Preprocess` says, with
//! the arithmetic of Pillow and torchvision. Normalisation is the model's own part.
mod container;
mod decode;
mod error;
mod failed;
mod folder;
mod format;
mod jpeg;
mod labels;
mod resample;

pub(crate) use decode::luma;
pub use decode::{decode_bytes, decode_file, Decoded};
pub use error::ImageError;
pub use failed::{print_warnings, Failed, FailedImage};
pub use folder::{find_images, images_below, Found, FoundImage};
pub use labels::{class_names, is_unlabelled, labelled, labelled_images, Labelled};

use image::DynamicImage;
use resample::Pixels;
use std::path::Path;
use vitreous::format::{Crop, Filter, Preprocess};

/// More pixels than this in an intermediate image are refused: very long and thin images.
const MAX_RESIZED_PIXELS: usize = 1 << 26;

/// What was made of an image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// It.
    pub value: T,
    /// What the user must know of the file: damage that was read over, frames that were left out.
    pub warnings: Vec<String>,
}

/// Reads an image file as the model's input: (height, width, channels) u8.
///
/// # Errors
/// Those of [`decode_file`]; an image that would become too large; a number of channels that no image has.
pub fn load_pixels(
    path: &Path,
    preprocess: &Preprocess,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Loaded<Vec<u8>>, ImageError> {
    let decoded = decode_file(path)?;
    let value = pixels_from_image_named(path, decoded.image, preprocess, height, width, channels)?;
    Ok(Loaded { value, warnings: decoded.warnings })
}

/// [`load_pixels`] from an encoded image in memory, without its warnings.
///
/// # Errors
/// As [`load_pixels`].
pub fn pixels_from_bytes(
    bytes: &[u8],
    preprocess: &Preprocess,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, ImageError> {
    let name = Path::new("image");
    pixels_from_image_named(name, decode_bytes(name, bytes)?.image, preprocess, height, width, channels)
}

/// [`load_pixels`] from a decoded image.
///
/// # Errors
/// An image without pixels, or that would become too large; a number of channels that no image has.
pub fn pixels_from_image(
    image: DynamicImage,
    preprocess: &Preprocess,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, ImageError> {
    pixels_from_image_named(Path::new("image"), image, preprocess, height, width, channels)
}

fn pixels_from_image_named(
    path: &Path,
    image: DynamicImage,
    preprocess: &Preprocess,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, ImageError> {
    let (image_width, image_height) = (image.width(), image.height());
    let image = decode::to_channels(image, channels)?;
    if image.width == 0 || image.height == 0 {
        return Err(ImageError::Decode { path: path.to_path_buf(), reason: "it has no pixels".into() });
    }
    let (new_width, new_height) = match preprocess.crop {
        Crop::Squash => (width, height),
        Crop::Center => shorter_side(image.width, image.height, preprocess.resize),
    };
    // The pass over the rows comes first and keeps the image's own height.
    let intermediate = new_width.saturating_mul(new_height.max(image.height));
    if intermediate > MAX_RESIZED_PIXELS {
        return Err(ImageError::TooLarge {
            path: path.to_path_buf(),
            width: image_width,
            height: image_height,
            found: format!("{intermediate} pixels once resized to {new_width}×{new_height}"),
            limit: format!("{MAX_RESIZED_PIXELS}"),
        });
    }
    let resized = resample::resize(image, new_width.max(1), new_height.max(1), preprocess.filter);
    Ok(centre_crop(&resized, width, height))
}

/// An image (height, width, channels) at another size, sizes as width and height: bicubic (Keys 1981, a =
/// −0.5), antialiased where it becomes smaller. No side may be 0.
pub fn resize_bicubic(data: &[u8], channels: usize, [width, height]: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let pixels = Pixels { width, height, channels, data: data.to_vec() };
    resample::resize(pixels, to[0], to[1], Filter::Bicubic).data
}

/// (width, height) with the shorter side `side` and the longer one in proportion, rounded down (torchvision's
/// `Resize`).
fn shorter_side(width: usize, height: usize, side: usize) -> (usize, usize) {
    let (short, long) = (width.min(height), width.max(height));
    let longer = (side as u128 * long as u128 / short.max(1) as u128).min(usize::MAX as u128) as usize;
    if width <= height {
        (side, longer)
    } else {
        (longer, side)
    }
}

/// Where a side of `from` pixels is cut to `to`: half the difference, rounded to even as Python's `round`
/// does. Negative where it is too short and gets black before it (half the difference, rounded down:
/// torchvision's `CenterCrop`).
fn crop_offset(from: usize, to: usize) -> isize {
    if to > from {
        return -(((to - from) / 2) as isize);
    }
    let difference = from - to;
    let half = difference / 2;
    (half + usize::from(difference % 2 == 1 && half % 2 == 1)) as isize
}

/// (height, width, channels): the image's centre, with black around it where it is too small.
fn centre_crop(image: &Pixels, width: usize, height: usize) -> Vec<u8> {
    let channels = image.channels;
    let (left, top) = (crop_offset(image.width, width), crop_offset(image.height, height));
    let mut out = vec![0; width * height * channels];
    for (y, row) in out.chunks_exact_mut((width * channels).max(1)).enumerate() {
        let Some(source_y) = y.checked_add_signed(top).filter(|y| *y < image.height) else { continue };
        let columns = width.min(image.width) * channels;
        let from = (source_y * image.width + left.max(0) as usize) * channels;
        let to = (-left).max(0) as usize * channels;
        row[to..to + columns].copy_from_slice(&image.data[from..from + columns]);
    }
    out
}

#[cfg(test)]
mod tests;
