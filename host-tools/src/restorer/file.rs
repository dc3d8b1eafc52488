//! An image file for a restorer, and the file that comes of it: alpha, grey and the colour profile beside the
//! RGB that the network takes.

use std::path::Path;

use anyhow::{Context, Result};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::transparent::fill_transparent;
use crate::degrade::Picture;
use crate::image_input::{decode_file, luma, resize_bicubic, ImageError};

/// Where an ICC profile names the colours that it is of (ICC.1:2022, 7.2).
const PROFILE_COLOURS: std::ops::Range<usize> = 16..20;

/// An image file, taken apart.
#[derive(Clone, Debug)]
pub struct RestorerInput {
    /// The colours, for the network. Where the image is wholly transparent they go on from what is seen
    /// around, so that hidden ones do not bleed.
    pub picture: Picture,
    /// (height, width), if the file has alpha.
    alpha: Option<Vec<u8>>,
    /// Whether all pixels are grey.
    grey: bool,
    profile: Option<Vec<u8>>,
    /// Whether the file holds EXIF or XMP data, which are not kept.
    pub has_metadata: bool,
    /// Whether the file has more than 8 bits per channel.
    pub is_deep: bool,
    /// What the user must know: damage that was read over, frames that were left out.
    pub warnings: Vec<String>,
}

/// A restored image as its file holds it.
#[derive(Clone, Debug)]
pub struct RestoredFile {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// (height, width, channels).
    pub data: Vec<u8>,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
    pub channels: usize,
    profile: Option<Vec<u8>>,
    /// Whether the input has a colour profile that is none of the output's colours, so that it is left out.
    pub lost_profile: bool,
}

impl RestorerInput {
    /// Decodes an image file of any kind, turned upright.
    ///
    /// # Errors
    /// A file that cannot be read or decoded, with its name.
    pub fn load(path: &Path) -> Result<Self, ImageError> {
        let decoded = decode_file(path)?;
        let (colour, image) = (decoded.image.color(), decoded.image);
        let is_deep = colour.bits_per_pixel() / u16::from(colour.channel_count()) > 8;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let rgba = image.into_rgba8().into_raw();
        let pixels = || rgba.as_chunks::<4>().0.iter();
        let mut picture =
            Picture { width, height, data: pixels().flat_map(|&[r, g, b, _]| [r, g, b]).collect() };
        let grey = pixels().all(|&[r, g, b, a]| a == 0 || r == g && g == b);
        let alpha = colour.has_alpha().then(|| pixels().map(|pixel| pixel[3]).collect::<Vec<u8>>());
        if let Some(alpha) = &alpha {
            fill_transparent(&mut picture, alpha);
        }
        Ok(RestorerInput {
            picture,
            alpha,
            grey,
            profile: decoded.profile,
            has_metadata: decoded.has_metadata,
            is_deep,
            warnings: decoded.warnings,
        })
    }

    /// What is to be written of the restored colours: with the alpha of the input, enlarged (bicubic) where
    /// they are. With `keep_grey` a grey input becomes grey again, as the luma of the result (BT.601).
    pub fn finish(&self, restored: &Picture, keep_grey: bool) -> RestoredFile {
        let (width, height) = (restored.width, restored.height);
        let colours = restored.data.as_chunks::<3>().0;
        let grey = keep_grey && self.grey;
        let channels = if grey { 1 } else { 3 };
        let mut data = if grey { colours.iter().map(luma).collect() } else { restored.data.clone() };
        if let Some(alpha) = &self.alpha {
            let (from_width, from_height) = (self.picture.width, self.picture.height);
            let alpha = if (from_width, from_height) == (width, height) {
                alpha.clone()
            } else {
                resize_bicubic(alpha, 1, [from_width, from_height], [width, height])
            };
            let pixels = data.chunks_exact(channels).zip(&alpha);
            data = pixels
                .flat_map(|(pixel, alpha)| pixel.iter().chain(std::iter::once(alpha)))
                .copied()
                .collect();
        }
        let of_colours: &[u8] = if grey { b"GRAY" } else { b"RGB " };
        let profile = self.profile.clone().filter(|profile| profile.get(PROFILE_COLOURS) == Some(of_colours));
        let lost_profile = self.profile.is_some() && profile.is_none();
        let channels = channels + usize::from(self.alpha.is_some());
        RestoredFile { width, height, data, channels, profile, lost_profile }
    }
}

impl RestoredFile {
    /// The image as a PNG file, with its colour profile.
    ///
    /// # Errors
    /// An image that the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let colour = match self.channels {
            1 => ExtendedColorType::L8,
            2 => ExtendedColorType::La8,
            3 => ExtendedColorType::Rgb8,
            _ => ExtendedColorType::Rgba8,
        };
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        if let Some(profile) = &self.profile {
            encoder.set_icc_profile(profile.clone()).context("the colour profile")?;
        }
        encoder.write_image(&self.data, self.width.try_into()?, self.height.try_into()?, colour)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(alpha: Option<Vec<u8>>, grey: bool, profile: Option<Vec<u8>>) -> RestorerInput {
        let picture = Picture { width: 2, height: 1, data: vec![9, 9, 9, 99, 99, 99] };
        RestorerInput { picture, alpha, grey, profile, has_metadata: false, is_deep: false, warnings: vec![] }
    }

    fn profile(colours: &[u8]) -> Option<Vec<u8>> {
        Some([&[0; 16], colours, &[0; 108]].concat())
    }

    #[test]
    fn alpha_grey_and_profile_are_put_back() {
        let restored = Picture { width: 2, height: 1, data: vec![10, 10, 10, 0, 255, 0] };
        let plain = input(None, true, None).finish(&restored, false);
        assert_eq!((plain.channels, plain.data), (3, restored.data.clone()));
        let grey = input(Some(vec![0, 255]), true, profile(b"GRAY")).finish(&restored, true);
        assert_eq!((grey.channels, &grey.data[..], grey.lost_profile), (2, &[10, 0, 150, 255][..], false));
        let colour = input(Some(vec![7, 8]), false, profile(b"CMYK")).finish(&restored, true);
        assert_eq!((colour.channels, &colour.data[..]), (4, &[10, 10, 10, 7, 0, 255, 0, 8][..]));
        assert!(colour.lost_profile && colour.profile.is_none());
        let rgb = input(None, false, profile(b"RGB ")).finish(&restored, false);
        assert!(rgb.profile.is_some() && rgb.to_png().unwrap().windows(4).any(|w| w == b"iCCP"));
    }

    #[test]
    fn alpha_is_enlarged_with_the_picture() {
        let restored = Picture::black(4, 2);
        let file = input(Some(vec![200, 200]), false, None).finish(&restored, false);
        assert_eq!(file.data, [0, 0, 0, 200].repeat(8));
    }
}
