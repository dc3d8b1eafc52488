//! Image files to 8-bit pixels of the model's channels.
use super::container::{survey, Refusal};
use super::format::{Kind, HEAD};
use super::resample::Pixels;
use super::ImageError;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::io::{Cursor, Read};
use std::path::Path;

/// Longest side and memory that a decoder may take: a header can claim any size (decompression bombs).
const MAX_SIDE: u32 = 1 << 16;
const MAX_DECODED_BYTES: u64 = 1 << 29;
/// Largest file: what is longer is no image.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A decoded image, upright, and what the file says beside it.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The pixels, turned as the EXIF orientation says.
    pub image: DynamicImage,
    /// The ICC colour profile, as it is in the file.
    pub profile: Option<Vec<u8>>,
    /// Whether the file holds EXIF or XMP data.
    pub has_metadata: bool,
    /// What the user must know: damage that was read over, frames that were left out.
    pub warnings: Vec<String>,
}

/// Decodes an image file, turned upright as its EXIF orientation says.
///
/// # Errors
/// A file that cannot be read; that is no image or of a format that is not read; that ends within its
/// picture; that its decoder refuses; that is too large. All name the file.
pub fn decode_file(path: &Path) -> Result<Decoded, ImageError> {
    let io = |e| ImageError::io(path, e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes).map_err(io)?;
    if !matches!(Kind::of(&bytes), Kind::Readable(_)) {
        return decode_bytes(path, &bytes);
    }
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ImageError::Decode {
            path: path.to_path_buf(),
            reason: format!("it is longer than {MAX_FILE_BYTES} bytes"),
        });
    }
    decode_bytes(path, &bytes)
}

/// Decodes an encoded image in memory; `name` is for messages.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(name: &Path, bytes: &[u8]) -> Result<Decoded, ImageError> {
    let path = || name.to_path_buf();
    if bytes.is_empty() {
        return Err(ImageError::Empty { path: path() });
    }
    let format = match Kind::of(bytes) {
        Kind::Readable(format) => format,
        Kind::Picture(format) => return Err(ImageError::Unsupported { path: path(), format }),
        Kind::Other(what, way_out) => return Err(ImageError::NoImage { path: path(), what, way_out }),
        Kind::Unknown => return Err(ImageError::UnknownFormat { path: path() }),
    };
    let mut survey = survey(format, bytes).map_err(|refusal| match refusal {
        Refusal::Cut(reason) => ImageError::Cut { path: path(), reason },
        Refusal::Format(format) => ImageError::Unsupported { path: path(), format },
    })?;
    let cut = survey.cut;
    let failed = |e: image::ImageError| {
        let reason = e.to_string();
        if cut {
            return ImageError::Cut { path: path(), reason: "it ends within the picture".into() };
        }
        ImageError::Decode { path: path(), reason }
    };
    let reader = ImageReader::with_format(Cursor::new(&*survey.bytes), format);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    check_size(name, &decoder)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(2 * MAX_DECODED_BYTES);
    decoder.set_limits(limits).map_err(failed)?;
    // Broken metadata is no reason to refuse a readable image.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| !profile.is_empty());
    let has = |data: Option<Vec<u8>>| data.is_some_and(|data| !data.is_empty());
    let has_metadata =
        has(decoder.exif_metadata().ok().flatten()) || has(decoder.xmp_metadata().ok().flatten());
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    if image.width() == 0 || image.height() == 0 {
        return Err(ImageError::Decode { path: path(), reason: "it has no pixels".into() });
    }
    // Its decoder gives every picture alpha.
    if format == image::ImageFormat::Gif && is_opaque(&image) {
        image = image.into_rgb8().into();
    }
    image.apply_orientation(orientation);
    Ok(Decoded { image, profile, has_metadata, warnings: std::mem::take(&mut survey.warnings) })
}

fn is_opaque(image: &DynamicImage) -> bool {
    image.as_rgba8().is_some_and(|image| image.pixels().all(|pixel| pixel.0[3] == u8::MAX))
}

fn check_size(name: &Path, decoder: &impl ImageDecoder) -> Result<(), ImageError> {
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
    Ok(())
}
/// Converts to the model's channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
///
/// 16-bit and float images are scaled to 8 bits. Alpha that the model does not take is dropped (as Pillow's
/// `convert` does, so as the training did), not flattened. Grey is ITU-R BT.601's luma with Pillow's fixed
/// point.
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
pub(crate) fn luma(&[r, g, b]: &[u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}
