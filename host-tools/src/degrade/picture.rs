//! 8-bit RGB pictures of any size.

use crate::image_input::{decode_file, resize_bicubic, ImageError, Loaded};
use crate::output;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::path::Path;

/// An 8-bit RGB picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// (height, width, 3).
    pub data: Vec<u8>,
}

/// Channels of a picture.
const CHANNELS: usize = 3;

impl Picture {
    /// A black picture.
    pub fn black(width: usize, height: usize) -> Self {
        Picture { width, height, data: vec![0; width * height * CHANNELS] }
    }

    /// Decodes an image file of any kind: grey becomes RGB, 16 bits become 8, alpha is dropped.
    ///
    /// # Errors
    /// A file that cannot be read or decoded, with its name.
    pub fn load(path: &Path) -> Result<Loaded<Self>, ImageError> {
        let decoded = decode_file(path)?;
        let image = decoded.image.into_rgb8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        let value = Picture { width, height, data: image.into_raw() };
        Ok(Loaded { value, warnings: decoded.warnings })
    }

    /// Writes a PNG file.
    ///
    /// # Errors
    /// A file that cannot be written, with its name.
    pub fn save_png(&self, path: &Path) -> Result<(), ImageError> {
        let (width, height) = (self.width as u32, self.height as u32);
        let mut png = Vec::new();
        let encoded =
            PngEncoder::new(&mut png).write_image(&self.data, width, height, ExtendedColorType::Rgb8);
        encoded.map_err(|e| ImageError::Decode { path: path.to_path_buf(), reason: e.to_string() })?;
        Ok(output::write(path, png)?)
    }

    /// The rectangle of `width × height` pixels at (`left`, `top`); what lies outside repeats the picture
    /// mirrored at its edge, so that any crop of any picture has pixels.
    pub fn crop(&self, left: isize, top: isize, width: usize, height: usize) -> Self {
        let mut data = Vec::with_capacity(width * height * CHANNELS);
        for y in 0..height {
            let row = mirrored(top + y as isize, self.height) * self.width;
            if left >= 0 && left as usize + width <= self.width {
                data.extend_from_slice(&self.data[(row + left as usize) * CHANNELS..][..width * CHANNELS]);
                continue;
            }
            for x in 0..width {
                let at = (row + mirrored(left + x as isize, self.width)) * CHANNELS;
                data.extend_from_slice(&self.data[at..at + CHANNELS]);
            }
        }
        Picture { width, height, data }
    }

    /// Turned by the element `which` (0 to 7) of the square's symmetry group: bit 0 mirrors left to right,
    /// bit 1 top to bottom, bit 2 exchanges rows and columns.
    pub fn turned(&self, which: u8) -> Self {
        let (width, height) =
            if which & 4 == 0 { (self.width, self.height) } else { (self.height, self.width) };
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..height {
            for x in 0..width {
                let (mut sx, mut sy) = if which & 4 == 0 { (x, y) } else { (y, x) };
                if which & 1 != 0 {
                    sx = self.width - 1 - sx;
                }
                if which & 2 != 0 {
                    sy = self.height - 1 - sy;
                }
                let at = (sy * self.width + sx) * CHANNELS;
                data.extend_from_slice(&self.data[at..at + CHANNELS]);
            }
        }
        Picture { width, height, data }
    }

    /// Cut to whole multiples of `scale`, then reduced by it: bicubic (Keys 1981, a = −0.5) with
    /// antialiasing.
    ///
    /// # Errors
    /// A picture smaller than the scale.
    pub fn reduced(&self, scale: usize) -> Result<Self, ImageError> {
        let whole = self.whole_multiples(scale)?;
        let (width, height) = (whole.width / scale, whole.height / scale);
        Ok(Picture {
            data: resize_bicubic(&whole.data, CHANNELS, [whole.width, whole.height], [width, height]),
            width,
            height,
        })
    }

    /// Cut at the right and at the bottom to whole multiples of `scale`.
    ///
    /// # Errors
    /// A picture smaller than the scale.
    pub fn whole_multiples(&self, scale: usize) -> Result<Self, ImageError> {
        let (width, height) = (self.width / scale * scale, self.height / scale * scale);
        if width == 0 || height == 0 {
            return Err(ImageError::TooSmall { width: self.width, height: self.height, scale });
        }
        Ok(self.crop(0, 0, width, height))
    }

    /// Every pixel repeated `scale` times in both directions.
    pub fn repeated(&self, scale: usize) -> Self {
        let mut data = Vec::with_capacity(self.data.len() * scale * scale);
        for row in self.data.chunks_exact(self.width * CHANNELS) {
            let wide: Vec<u8> = row.chunks_exact(CHANNELS).flat_map(|pixel| pixel.repeat(scale)).collect();
            (0..scale).for_each(|_| data.extend_from_slice(&wide));
        }
        Picture { width: self.width * scale, height: self.height * scale, data }
    }

    /// Pictures of equal height next to each other.
    pub fn side_by_side(pictures: &[Picture]) -> Self {
        let height = pictures.iter().map(|p| p.height).max().unwrap_or(0);
        let mut data = Vec::new();
        for y in 0..height {
            for picture in pictures {
                data.extend_from_slice(&picture.crop(0, y as isize, picture.width, 1).data);
            }
        }
        Picture { width: pictures.iter().map(|p| p.width).sum(), height, data }
    }

    /// Mean squared difference of two pictures of one size, over all channels.
    pub fn mean_square_error(&self, other: &Picture) -> f64 {
        let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
        let sum: f64 = self.data.iter().zip(&other.data).map(square).sum();
        sum / self.data.len().max(1) as f64
    }
}

/// The index within `0..length` that `index` falls on when the row is mirrored at its ends, edges not
/// repeated.
fn mirrored(index: isize, length: usize) -> usize {
    let period = (2 * length).saturating_sub(2).max(1) as isize;
    let folded = index.rem_euclid(period) as usize;
    if folded < length {
        folded
    } else {
        period as usize - folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: usize, height: usize) -> Picture {
        Picture { width, height, data: (0..width * height).flat_map(|i| [i as u8, 0, 255]).collect() }
    }

    fn firsts(picture: &Picture) -> Vec<u8> {
        picture.data.iter().step_by(3).copied().collect()
    }

    #[test]
    fn crops_outside_repeat_the_picture_mirrored() {
        let picture = numbered(3, 2);
        assert_eq!(firsts(&picture.crop(1, 0, 2, 2)), [1, 2, 4, 5]);
        assert_eq!(firsts(&picture.crop(-1, -1, 5, 3)), [4, 3, 4, 5, 4, 1, 0, 1, 2, 1, 4, 3, 4, 5, 4]);
        assert_eq!(firsts(&numbered(1, 1).crop(-3, -3, 2, 2)), [0, 0, 0, 0]);
    }

    #[test]
    fn the_eight_turns_differ_and_mirrors_undo_themselves() {
        let picture = numbered(3, 2);
        let turned: Vec<Picture> = (0..8).map(|which| picture.turned(which)).collect();
        for (i, a) in turned.iter().enumerate() {
            assert!(turned[..i].iter().all(|b| a != b));
        }
        assert_eq!(turned[0], picture);
        assert_eq!(turned[3].turned(3), picture);
        assert_eq!(firsts(&turned[4]), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn reducing_cuts_to_whole_multiples_and_keeps_flat_areas() {
        let flat = Picture { width: 7, height: 5, data: [10, 20, 30].repeat(35) };
        let half = flat.reduced(2).unwrap();
        assert_eq!((half.width, half.height), (3, 2));
        assert_eq!(half.data, [10, 20, 30].repeat(6));
        assert!(numbered(1, 1).reduced(2).unwrap_err().to_string().contains("1×1"));
    }
}
