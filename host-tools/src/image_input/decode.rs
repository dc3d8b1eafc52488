//! Image files to 8-bit pixels of the model's channels.
use super::resample::Pixels;
use super::ImageError;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// Longest side and memory that a decoder may take: a header can claim any size (decompression bombs).
const MAX_SIDE: u32 = 1 << 16;
const MAX_DECODED_BYTES: u64 = 1 << 29;

/// Decodes an image file, turned upright as its EXIF orientation says.
pub fn decode_file(path: &Path) -> Result<DynamicImage, ImageError> {
    let bytes = std::fs::read(path).map_err(|e| ImageError::io(path, e))?;
    decode_bytes(path, &bytes)
}

/// Decodes an encoded image in memory; `name` is for messages.
pub fn decode_bytes(name: &Path, bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| ImageError::io(name, e))?;
    if reader.format().is_none() {
        return Err(ImageError::UnknownFormat { path: name.to_path_buf() });
    }
    let failed =
        |e: image::ImageError| ImageError::Decode { path: name.to_path_buf(), reason: e.to_string() };
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let too_large = |found: String, limit: String| {
        Err(ImageError::TooLarge { path: name.to_path_buf(), width, height, found, limit })
    };
    if width.max(height) > MAX_SIDE {
        return too_large(format!("{} on the longer side", width.max(height)), MAX_SIDE.to_string());
    }
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return too_large(format!("{} bytes decoded", decoder.total_bytes()), MAX_DECODED_BYTES.to_string());
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(2 * MAX_DECODED_BYTES);
    decoder.set_limits(limits).map_err(failed)?;
    // A broken EXIF block is no reason to refuse a readable image.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Converts to the model's channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
///
/// 16-bit and float images are scaled to 8 bits. Alpha that the model does not take is dropped (as Pillow's `convert`
/// does, so as the training did), not flattened. Grey is ITU-R BT.601's luma with Pillow's fixed point.
pub(super) fn to_channels(image: DynamicImage, channels: usize) -> Result<Pixels, ImageError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let has_colour = image.color().has_color();
    let data = match channels {
        1 if has_colour => image.to_rgb8().as_raw().as_chunks::<3>().0.iter().map(luma).collect(),
        1 => image.to_luma8().into_raw(),
        2 if has_colour => {
            let rgba = image.to_rgba8();
            let pixel = |&[r, g, b, a]: &[u8; 4]| [luma(&[r, g, b]), a];
            rgba.as_raw().as_chunks::<4>().0.iter().flat_map(pixel).collect()
        }
        2 => image.to_luma_alpha8().into_raw(),
        3 => image.into_rgb8().into_raw(),
        4 => image.into_rgba8().into_raw(),
        _ => return Err(ImageError::Channels { channels }),
    };
    Ok(Pixels { width, height, channels, data })
}

/// `0.299·r + 0.587·g + 0.114·b` in 16-bit fixed point (Pillow, `src/libImaging/Convert.c`, `L24`).
fn luma(&[r, g, b]: &[u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}
