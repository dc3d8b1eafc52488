//! What may say something of the preprocessing, and what it says.

use vitreous::format::{Crop, Filter};
use vitreous::models::vit::VitConfig;

use crate::checkpoint::json::Json;
use crate::checkpoint::metadata::saved::SavedConfig;
use crate::checkpoint::metadata::Identity;
use crate::checkpoint::settings::Said;

/// What the caller knows of the preprocessing.
#[derive(Clone, Debug, Default)]
pub struct PreprocessOptions {
    /// Mean per channel of pixels scaled to 0..1, or one for all.
    pub mean: Option<Vec<f64>>,
    /// Standard deviation per channel of pixels scaled to 0..1, or one for all.
    pub std: Option<Vec<f64>>,
    /// Length of the shorter side after the resize, in pixels.
    pub resize: Option<usize>,
    /// The crop's share of the resized image; timm's way to say `resize`.
    pub crop_pct: Option<f64>,
    /// How the model's aspect ratio is reached.
    pub crop: Option<Crop>,
    /// Resampling filter.
    pub interpolation: Option<Filter>,
    /// Order of the colour channels that the weights were trained with.
    pub channel_order: Option<ChannelOrder>,
}

/// Order of an image's colour channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red first, as Pillow, timm, torchvision and transformers have it.
    Rgb,
    /// Blue first, as OpenCV has it.
    Bgr,
}

/// Everything that may say something.
pub(crate) struct Sources<'a> {
    pub options: &'a PreprocessOptions,
    pub saved: Option<&'a SavedConfig>,
    /// config.json.
    pub config: Option<&'a Json>,
    /// preprocessor_config.json.
    pub processor: Option<&'a Json>,
    pub identity: &'a Identity,
    /// Whose names the tensors have.
    pub library: &'static str,
    /// Names in lower case that may tell whose release it is: of the weights' file, and the one that
    /// config.json gives.
    pub names: &'a [String],
    /// Name of the folder, in lower case, which tells nothing but as a whole.
    pub folder: &'a str,
    pub model: &'a VitConfig,
    /// (height, width) of the training's images.
    pub trained: (usize, usize),
}

/// What the sources say, before it is put together.
#[derive(Default)]
pub(crate) struct Found {
    pub mean: Option<Said<Vec<f64>>>,
    pub std: Option<Said<Vec<f64>>>,
    pub resize: Option<Said<usize>>,
    /// Whether `resize` was reckoned from the crop's share of the resized image.
    pub is_share: bool,
    pub crop: Option<Said<Crop>>,
    pub interpolation: Option<Said<Filter>>,
    pub channel_order: Option<Said<ChannelOrder>>,
}

impl Found {
    /// Keeps what is there already and takes the rest of `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
            is_share: if self.resize.is_some() { self.is_share } else { other.is_share },
            resize: self.resize.or(other.resize),
            crop: self.crop.or(other.crop),
            interpolation: self.interpolation.or(other.interpolation),
            channel_order: self.channel_order.or(other.channel_order),
        }
    }
}

impl Sources<'_> {
    pub fn size(&self) -> (usize, usize) {
        (self.model.image_height, self.model.image_width)
    }

    pub fn is_resized(&self) -> bool {
        self.size() != self.trained
    }
}

/// What a share of the crop is of: a shorter side of this length covers the crop of every photograph.
pub(crate) fn longer((height, width): (usize, usize)) -> usize {
    height.max(width)
}

/// timm's `math.floor(size / crop_pct)`, in the same f64 arithmetic.
pub(crate) fn resize_of(side: usize, crop_pct: f64) -> usize {
    (side as f64 / crop_pct).floor() as usize
}
