//! A model that classifies images, whatever its kind.

use super::cnn::CnnConfig;
use super::vit;
use crate::train::parameter::ParameterSpec;
use crate::train::weights::Weights;
use candle_core::{Device, Result, Tensor};
use std::fmt;
use vitreous::models::vit::VitConfig;

/// What classifies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Classifier {
    /// A vision transformer.
    Vit(VitConfig),
    /// A convolutional network.
    Cnn(CnnConfig),
}

impl fmt::Display for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Classifier::Vit(c) => write!(
                f,
                "ViT {}×{} patch {} dim {} depth {} heads {}",
                c.image_height, c.image_width, c.patch_height, c.dim, c.depth, c.heads
            ),
            Classifier::Cnn(c) => {
                write!(f, "CNN {}×{} width {} stages {}", c.image, c.image, c.width, c.depth())
            }
        }
    }
}

impl Classifier {
    /// Every parameter, in the order of the forward pass.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        match self {
            Classifier::Vit(config) => vit::parameters(config),
            Classifier::Cnn(config) => config.parameters(),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Classifier::Vit(config) => config.classes,
            Classifier::Cnn(config) => config.classes,
        }
    }

    /// Logits of every head, each (batch, classes), of normalised images (height, width, channels).
    pub fn logits(&self, weights: &Weights, images: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        match self {
            Classifier::Vit(config) => vit::logits(config, weights, &patches(config, images)?),
            Classifier::Cnn(config) => Ok(vec![config.logits(weights, images)?]),
        }
    }
}

/// Cuts normalised images (height, width, channels) into rows of (batch·patches, channels·patch area); a row
/// is ordered as timm's convolution weight: channel, then patch row, then patch column.
fn patches(c: &VitConfig, images: &[Vec<f32>]) -> Result<Tensor> {
    let (ph, pw) = (c.patch_height, c.patch_width);
    let mut rows = Vec::with_capacity(images.len() * c.patches() * c.patch_bytes());
    for image in images {
        for top in (0..c.image_height).step_by(ph) {
            for left in (0..c.image_width).step_by(pw) {
                for channel in 0..c.channels {
                    for y in top..top + ph {
                        let row =
                            (left..left + pw).map(|x| image[(y * c.image_width + x) * c.channels + channel]);
                        rows.extend(row);
                    }
                }
            }
        }
    }
    Tensor::from_vec(rows, (images.len() * c.patches(), c.patch_bytes()), &Device::Cpu)
}
