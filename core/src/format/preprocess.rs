//! How a photograph becomes the model's input. Stored in the model, executed by whoever holds the photograph.

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
    /// The shorter side is resized to `resize`, then the centre is cut out (padded with black where it is too small).
    Center,
    /// The whole image is resized to exactly the model's height and width; `resize` is not used.
    Squash,
}

/// Preprocessing of an image: resize, crop, then `(pixel/255 − mean)/std` per channel.
///
/// The last step is folded into the first layer's weights by the converter: a target gets 8-bit pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Preprocess {
    /// Resampling filter.
    pub filter: Filter,
    /// How the model's aspect ratio is reached.
    pub crop: Crop,
    /// Length in pixels of the shorter side after the resize (timm: `floor(input / crop_pct)`).
    pub resize: usize,
    /// Mean per channel, of pixels scaled to 0..1; unused channels are 0.
    pub mean: [f32; 4],
    /// Standard deviation per channel, of pixels scaled to 0..1; unused channels are 1.
    pub std: [f32; 4],
}
