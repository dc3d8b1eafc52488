//! A photograph in any common format and size as the model's 8-bit input.
//!
//! Decode, turn upright (EXIF), convert to the model's channels, resize, crop: what `Preprocess` says, with the
//! arithmetic of Pillow and torchvision. Normalisation is the model's own part.
mod decode;
mod error;
mod folder;
mod resample;

pub use decode::{decode_bytes, decode_file};
pub use error::ImageError;
pub use folder::{class_names, images_below, labelled_images};

use image::DynamicImage;
use resample::Pixels;
use std::path::Path;
use vitreous::format::{Crop, Filter, Preprocess};

/// More pixels than this in an intermediate image are refused: very long and thin images.
const MAX_RESIZED_PIXELS: usize = 1 << 26;

/// Reads an image file as the model's input: (height, width, channels) u8.
pub fn load_pixels(
    path: &Path,
    preprocess: &Preprocess,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, ImageError> {
    pixels_from_image_named(path, decode_file(path)?, preprocess, height, width, channels)
}

/// [`load_pixels`] from an encoded image in memory.
pub fn pixels_from_bytes(
    bytes: &[u8],
    preprocess: &Preprocess,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, ImageError> {
    let name = Path::new("image");
    pixels_from_image_named(name, decode_bytes(name, bytes)?, preprocess, height, width, channels)
}

/// [`load_pixels`] from a decoded image.
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

/// An RGB image (height, width, 3) at another size: bicubic (Keys 1981, a = −0.5), antialiased where it becomes smaller. No
/// side may be 0.
pub fn resize_rgb(data: &[u8], width: usize, height: usize, new_width: usize, new_height: usize) -> Vec<u8> {
    let pixels = Pixels { width, height, channels: 3, data: data.to_vec() };
    resample::resize(pixels, new_width, new_height, Filter::Bicubic).data
}

/// (width, height) with the shorter side `side` and the longer one in proportion, rounded down (torchvision's `Resize`).
fn shorter_side(width: usize, height: usize, side: usize) -> (usize, usize) {
    let (short, long) = (width.min(height), width.max(height));
    let longer = (side as u128 * long as u128 / short.max(1) as u128).min(usize::MAX as u128) as usize;
    if width <= height {
        (side, longer)
    } else {
        (longer, side)
    }
}

/// Where a side of `from` pixels is cut to `to`: half the difference, rounded to even as Python's `round` does.
/// Negative where it is too short and gets black before it (half the difference, rounded down: torchvision's `CenterCrop`).
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
