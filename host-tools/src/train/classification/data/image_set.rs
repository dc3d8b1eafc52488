//! Images of one size, with their classes.

use anyhow::{ensure, Result};

/// Images of one size with their class indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSet {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Colour channels.
    pub channels: usize,
    /// (images, height, width, channels).
    pub pixels: Vec<u8>,
    /// Class index of each image.
    pub labels: Vec<u16>,
}

impl ImageSet {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn image_bytes(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Pixels of image `index`: (height, width, channels).
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_bytes()..][..self.image_bytes()]
    }

    /// A set of the same image size with the images of `indices`.
    pub fn subset(&self, indices: &[usize]) -> ImageSet {
        ImageSet {
            pixels: indices.iter().flat_map(|&i| self.image(i)).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            ..*self
        }
    }

    /// Mean and standard deviation per channel of pixels scaled to 0..1, rounded to four decimals; unused
    /// channels get 0 and 1, as does the deviation of a channel without contrast.
    pub fn statistics(&self) -> ([f32; 4], [f32; 4]) {
        let (mut mean, mut std) = ([0f32; 4], [1f32; 4]);
        for channel in 0..self.channels {
            let values = || self.pixels.iter().skip(channel).step_by(self.channels).map(|&p| p as u64);
            let count = values().count().max(1) as f64;
            let average = values().sum::<u64>() as f64 / count;
            let variance = values().map(|v| v * v).sum::<u64>() as f64 / count - average * average;
            let rounded = |v: f64| ((v / 255.0 * 1e4).round() / 1e4) as f32;
            mean[channel] = rounded(average);
            std[channel] = Some(rounded(variance.max(0.0).sqrt())).filter(|&s| s > 0.0).unwrap_or(1.0);
        }
        (mean, std)
    }
}

/// Refuses images that together take more memory than a machine is likely to have, since all of them are held
/// at once.
pub fn check_memory(images: usize, side: usize, channels: usize) -> Result<()> {
    const MOST: u64 = 64 << 30;
    let [images, side, channels] = [images, side, channels].map(|n| n as u64);
    let needed = images.saturating_mul(side * side * channels);
    ensure!(
        needed <= MOST,
        "{images} images of {side}×{side} pixels take {} GiB of memory: expected at most {}; give less \
         --image-size",
        needed >> 30,
        MOST >> 30
    );
    Ok(())
}
