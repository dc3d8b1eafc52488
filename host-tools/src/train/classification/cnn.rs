//! A small convolutional classifier, to compare a transformer with.
//!
//! Stages of two 3×3 convolutions with ReLU; between stages every 2×2 pixels become one with twice the maps
//! (a patch embedding, as in Liu et al., arXiv 2201.03545, §2.6). Then the mean over all pixels and one
//! linear layer.

use crate::train::ops;
use crate::train::parameter::ParameterSpec;
use crate::train::weights::Weights;
use candle_core::{Device, Result, Tensor};

/// A classifier's hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CnnConfig {
    /// Side of the square images.
    pub image: usize,
    /// Colour channels.
    pub channels: usize,
    /// Classes.
    pub classes: usize,
    /// Feature maps of the first stage.
    pub width: usize,
    /// Most stages; there are fewer if the image cannot be halved so often.
    pub stages: usize,
}

/// Convolutions of a stage.
const CONVOLUTIONS: usize = 2;
/// Smallest side of a map that is still halved.
const SMALLEST: usize = 4;

impl CnnConfig {
    /// Stages that the image's size allows.
    pub fn depth(&self) -> usize {
        let halvings = (0..self.stages.saturating_sub(1)).take_while(|&stage| {
            let side = self.image >> stage;
            self.image.is_multiple_of(2 << stage) && side >= 2 * SMALLEST
        });
        1 + halvings.count()
    }

    fn maps(&self, stage: usize) -> usize {
        self.width << stage
    }

    /// Every parameter in the order of the forward pass.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        let mut add = |name: String, weight: Vec<usize>| {
            let outputs = weight[0];
            specs.push(ParameterSpec::new(format!("{name}.weight"), weight));
            specs.push(ParameterSpec::new(format!("{name}.bias"), vec![outputs]));
        };
        for stage in 0..self.depth() {
            let maps = self.maps(stage);
            if stage > 0 {
                add(format!("stages.{stage}.down"), vec![maps, 4 * self.maps(stage - 1)]);
            }
            for conv in 0..CONVOLUTIONS {
                let inputs = if stage == 0 && conv == 0 { self.channels } else { maps };
                add(format!("stages.{stage}.conv{conv}"), vec![maps, inputs, 3, 3]);
            }
        }
        add("head".to_owned(), vec![self.classes, self.maps(self.depth() - 1)]);
        specs
    }

    /// Logits (batch, classes) of normalised images, each (height, width, channels).
    pub fn logits(&self, weights: &Weights, images: &[Vec<f32>]) -> Result<Tensor> {
        let (batch, mut side) = (images.len(), self.image);
        let mut map = Tensor::from_vec(images.concat(), (batch, side, side, self.channels), &Device::Cpu)?;
        for stage in 0..self.depth() {
            if stage > 0 {
                side /= 2;
                let pixels = weights.linear(&ops::unfold(&map, 2)?, &format!("stages.{stage}.down"))?;
                map = pixels.reshape((batch, side, side, self.maps(stage)))?;
            }
            for conv in 0..CONVOLUTIONS {
                map = weights.conv_relu(&map, &format!("stages.{stage}.conv{conv}"))?;
            }
        }
        let pixels = side * side;
        let features = map.reshape((batch * pixels, self.maps(self.depth() - 1)))?;
        weights.linear(&ops::pool_tokens(&features, pixels, 0..pixels)?, "head")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stop_where_the_image_cannot_be_halved() {
        let depth = |image| CnnConfig { image, channels: 1, classes: 2, width: 4, stages: 4 }.depth();
        assert_eq!([depth(8), depth(7), depth(12), depth(32), depth(256)], [2, 1, 2, 4, 4]);
    }
}
