//! How a photograph becomes the model's input. The model stores these steps; whoever holds the photograph
//! carries them out.

use super::u32_at;
use crate::error::Error;

/// Resampling filter of the resize step, antialiased as Pillow does it (support scaled by the reduction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Filter {
    /// Nearest neighbour.
    Nearest,
    /// Triangle filter.
    Bilinear,
    /// Cubic convolution with a = −0.5 (Keys 1981).
    Bicubic,
    /// Windowed sinc, 3 lobes.
    Lanczos3,
    /// Box filter.
    Box,
}

/// How the resized image is brought to the model's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Crop {
    /// The shorter side is resized to `resize`, then the centre is cut out (padded with black where it is too
    /// small).
    Center,
    /// The whole image is resized to exactly the model's height and width; `resize` is not used.
    Squash,
}

/// Preprocessing of an image: resize, crop, then `(pixel/255 − mean)/std` per channel.
///
/// The converter folds the last step into the first layer's weights, so a target gets 8-bit pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Preprocess {
    /// Resampling filter.
    pub filter: Filter,
    /// How the resized image is brought to the model's size.
    pub crop: Crop,
    /// Length in pixels of the shorter side after the resize (timm: `floor(input / crop_pct)`).
    pub resize: usize,
    /// Mean per channel, of pixels scaled to 0..1; unused channels are 0.
    pub mean: [f32; 4],
    /// Standard deviation per channel, of pixels scaled to 0..1; unused channels are 1.
    pub std: [f32; 4],
}

/// Bytes of the preprocessing section.
pub const PREPROCESS_BYTES: usize = 48;

impl Preprocess {
    /// As stored in a `.vtr`.
    pub fn to_bytes(&self) -> [u8; PREPROCESS_BYTES] {
        let mut bytes = [0; PREPROCESS_BYTES];
        let words = [self.filter as u32, self.crop as u32, self.resize as u32, 0];
        let floats = self.mean.iter().chain(&self.std).map(|f| f.to_bits());
        for (to, word) in bytes.chunks_exact_mut(4).zip(words.into_iter().chain(floats)) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8], start: u32) -> Result<Self, Error> {
        if bytes.len() != PREPROCESS_BYTES {
            let (found, expected) = (bytes.len() as u32, PREPROCESS_BYTES as u32);
            return Err(Error::SectionLength { section: 1, offset: start, found, expected });
        }
        let field = |name, word: u32| Error::Field {
            name,
            offset: start + 4 * word,
            value: u32_at(bytes, 4 * word as usize),
        };
        let filter = match u32_at(bytes, 0) {
            0 => Filter::Nearest,
            1 => Filter::Bilinear,
            2 => Filter::Bicubic,
            3 => Filter::Lanczos3,
            4 => Filter::Box,
            _ => return Err(field("filter", 0)),
        };
        let crop = match u32_at(bytes, 4) {
            0 => Crop::Center,
            1 => Crop::Squash,
            _ => return Err(field("crop", 1)),
        };
        let resize = u32_at(bytes, 8) as usize;
        if resize > 1 << 16 || (resize == 0 && crop == Crop::Center) {
            return Err(field("resize", 2));
        }
        let (mut mean, mut std) = ([0.0; 4], [1.0; 4]);
        for (word, value) in (4u32..).zip(mean.iter_mut().chain(&mut std)) {
            *value = f32::from_bits(u32_at(bytes, 4 * word as usize));
            if !value.is_finite() || (word >= 8 && *value <= 0.0) {
                return Err(field(if word < 8 { "mean" } else { "std" }, word));
            }
        }
        Ok(Self { filter, crop, resize, mean, std })
    }
}
