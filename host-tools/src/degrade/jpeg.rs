//! JPEG artefacts.

use super::Picture;
use crate::image_input::ImageError;
use image::codecs::jpeg::JpegEncoder;
use image::ImageFormat;
use std::path::Path;

/// Encodes as baseline JPEG of `quality` (1 to 100) and decodes again.
///
/// # Errors
/// A picture that the encoder refuses: more than 65,535 pixels on a side.
pub fn jpeg(clean: &Picture, quality: u8) -> Result<Picture, ImageError> {
    let failed = |e: image::ImageError| ImageError::Decode {
        path: Path::new("JPEG degradation").into(),
        reason: e.to_string(),
    };
    let mut bytes = Vec::new();
    let (width, height) = (clean.width as u32, clean.height as u32);
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(&clean.data, width, height, image::ExtendedColorType::Rgb8)
        .map_err(failed)?;
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).map_err(failed)?;
    let data = decoded.into_rgb8().into_raw();
    Ok(Picture { width: clean.width, height: clean.height, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_quality_is_further_from_the_picture() {
        let data =
            (0..48 * 40).flat_map(|i| [(i * 7) as u8, (i / 48 * 5) as u8, (i % 48 * 5) as u8]).collect();
        let picture = Picture { width: 48, height: 40, data };
        let error = |quality| picture.mean_square_error(&jpeg(&picture, quality).unwrap());
        assert!(error(10) > error(40) && error(40) > error(95) && error(95) > 0.0);
    }
}
