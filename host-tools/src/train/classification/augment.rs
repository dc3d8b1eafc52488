//! Training samples: the image of a step, changed at random, and its soft target.

use super::data::ImageSet;
use crate::train::random::{purpose, stream};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use vitreous::format::Preprocess;

/// Random changes to training images and targets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Augment {
    /// Largest shift in pixels along each axis; black moves in.
    pub shift: f32,
    /// Largest rotation in degrees.
    pub rotate: f32,
    /// Largest relative change of size.
    pub zoom: f32,
    /// Mirror half of the images left to right.
    pub flip: bool,
    /// Largest change of brightness, in parts of the full scale.
    pub brightness: f32,
    /// Largest relative change of contrast.
    pub contrast: f32,
    /// Probability of erasing a rectangle (Zhong et al., arXiv 1708.04896).
    pub erase: f32,
    /// α of mixup's beta distribution (Zhang et al., arXiv 1710.09412); 0 is off.
    pub mixup: f32,
    /// Part of the target that is spread over all classes (Szegedy et al., arXiv 1512.00567, §7).
    pub smoothing: f32,
}

impl Augment {
    /// No change at all.
    pub const NONE: Augment = Augment {
        shift: 0.0,
        rotate: 0.0,
        zoom: 0.0,
        flip: false,
        brightness: 0.0,
        contrast: 0.0,
        erase: 0.0,
        mixup: 0.0,
        smoothing: 0.0,
    };
}

/// Makes samples of one image set.
pub struct Sampler<'a> {
    /// The images.
    pub images: &'a ImageSet,
    /// Number of classes.
    pub classes: usize,
    /// Mean and deviation of the normalisation.
    pub preprocess: &'a Preprocess,
    /// What to change.
    pub augment: Augment,
    /// The run's seed.
    pub seed: u64,
}

impl Sampler<'_> {
    /// Image `index`, changed and normalised, (height, width, channels), with its target (classes).
    pub fn sample(&self, index: usize, epoch: u64, position: usize) -> (Vec<f32>, Vec<f32>) {
        let mut rng = stream(self.seed, purpose::SAMPLE, epoch, position as u64);
        let mut pixels = self.changed(index, &mut rng);
        let mut target = self.smooth_target(index);
        if self.augment.mixup > 0.0 {
            let partner = rng.random_range(0..self.images.len());
            let share = beta(self.augment.mixup, &mut rng);
            let other = self.changed(partner, &mut rng);
            mix(&mut pixels, &other, share);
            mix(&mut target, &self.smooth_target(partner), share);
        }
        (pixels, target)
    }

    /// Image `index` as it is, normalised.
    pub fn plain(&self, index: usize) -> Vec<f32> {
        let mut pixels: Vec<f32> = self.images.image(index).iter().map(|&p| p as f32 / 255.0).collect();
        self.normalise(&mut pixels);
        pixels
    }

    fn changed(&self, index: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let a = &self.augment;
        let mut pixels = self.moved(index, rng);
        if a.brightness > 0.0 || a.contrast > 0.0 {
            let gain = 1.0 + symmetric(a.contrast, rng);
            let offset = symmetric(a.brightness, rng);
            let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
            pixels.iter_mut().for_each(|p| *p = ((*p - mean) * gain + mean + offset).clamp(0.0, 1.0));
        }
        self.normalise(&mut pixels);
        if a.erase > 0.0 && rng.random::<f32>() < a.erase {
            self.erase(&mut pixels, rng);
        }
        pixels
    }

    /// Shift, rotation, zoom and flip as one affine map about the centre, sampled bilinearly; black comes in.
    fn moved(&self, index: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let a = &self.augment;
        let (height, width, channels) = (self.images.height, self.images.width, self.images.channels);
        let source = self.images.image(index);
        let mut shift = [symmetric(a.shift, rng), symmetric(a.shift, rng)];
        let (angle, zoom) = (symmetric(a.rotate, rng).to_radians(), 1.0 + symmetric(a.zoom, rng));
        let mirror = if a.flip && rng.random::<bool>() { -1.0 } else { 1.0 };
        if a.rotate == 0.0 && a.zoom == 0.0 {
            // Pure shifts stay on the pixel grid: nothing is blurred.
            shift = shift.map(f32::round);
        }
        let (sin, cos) = (angle.sin() / zoom, angle.cos() / zoom);
        let (cy, cx) = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);
        let mut out = Vec::with_capacity(source.len());
        for y in 0..height {
            for x in 0..width {
                let (dy, dx) = (y as f32 - cy - shift[0], (x as f32 - cx - shift[1]) * mirror);
                let (sy, sx) = (cos * dy - sin * dx + cy, sin * dy + cos * dx + cx);
                let (top, left) = (sy.floor(), sx.floor());
                let (fy, fx) = (sy - top, sx - left);
                let at = |row: f32, column: f32, channel: usize| {
                    let inside = row >= 0.0 && column >= 0.0 && row < height as f32 && column < width as f32;
                    let offset = || (row as usize * width + column as usize) * channels + channel;
                    if inside {
                        source[offset()] as f32 / 255.0
                    } else {
                        0.0
                    }
                };
                for channel in 0..channels {
                    let upper = (1.0 - fx) * at(top, left, channel) + fx * at(top, left + 1.0, channel);
                    let lower =
                        (1.0 - fx) * at(top + 1.0, left, channel) + fx * at(top + 1.0, left + 1.0, channel);
                    out.push((1.0 - fy) * upper + fy * lower);
                }
            }
        }
        out
    }

    fn normalise(&self, pixels: &mut [f32]) {
        for pixel in pixels.chunks_exact_mut(self.images.channels) {
            for (channel, p) in pixel.iter_mut().enumerate() {
                *p = (*p - self.preprocess.mean[channel]) / self.preprocess.std[channel];
            }
        }
    }

    /// Sets a rectangle of 2 to 33 % of the area and an aspect of 0.3 to 3.3 to the mean (Zhong et al.,
    /// §3.2).
    fn erase(&self, pixels: &mut [f32], rng: &mut ChaCha8Rng) {
        let (height, width, channels) = (self.images.height, self.images.width, self.images.channels);
        let area = rng.random_range(0.02..0.33f32) * (height * width) as f32;
        let aspect = (rng.random_range(0.3f32.ln()..3.3f32.ln())).exp();
        let rows = ((area * aspect).sqrt().round() as usize).clamp(1, height);
        let columns = ((area / aspect).sqrt().round() as usize).clamp(1, width);
        let (top, left) = (rng.random_range(0..=height - rows), rng.random_range(0..=width - columns));
        for y in top..top + rows {
            pixels[(y * width + left) * channels..][..columns * channels].fill(0.0);
        }
    }

    fn smooth_target(&self, index: usize) -> Vec<f32> {
        let mut target = vec![self.augment.smoothing / self.classes as f32; self.classes];
        target[self.images.labels[index] as usize] += 1.0 - self.augment.smoothing;
        target
    }
}

/// Uniform in −limit..limit; always draws one number, so that one setting does not move another's numbers.
fn symmetric(limit: f32, rng: &mut ChaCha8Rng) -> f32 {
    limit * (2.0 * rng.random::<f32>() - 1.0)
}

fn mix(target: &mut [f32], other: &[f32], share: f32) {
    target.iter_mut().zip(other).for_each(|(t, &o)| *t = share * *t + (1.0 - share) * o);
}

/// A beta(α, α) number for 0 < α ≤ 1, by Jöhnk's rejection method.
fn beta(alpha: f32, rng: &mut ChaCha8Rng) -> f32 {
    loop {
        let x = rng.random::<f32>().powf(1.0 / alpha);
        let y = rng.random::<f32>().powf(1.0 / alpha);
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitreous::format::{Crop, Filter};

    fn plain_preprocess() -> Preprocess {
        Preprocess { filter: Filter::Bilinear, crop: Crop::Squash, resize: 3, mean: [0.0; 4], std: [1.0; 4] }
    }

    fn images() -> ImageSet {
        let pixels = (0..18).map(|i| i * 14).collect();
        ImageSet { height: 3, width: 3, channels: 1, pixels, labels: vec![0, 1] }
    }

    fn with_sampler<R>(augment: Augment, body: impl FnOnce(&Sampler) -> R) -> R {
        let (images, preprocess) = (images(), plain_preprocess());
        body(&Sampler { images: &images, classes: 2, preprocess: &preprocess, augment, seed: 3 })
    }

    #[test]
    fn without_augmentation_a_sample_is_the_image() {
        with_sampler(Augment::NONE, |s| {
            let (pixels, target) = s.sample(1, 0, 0);
            let gap = pixels.iter().zip(s.plain(1)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-6);
            assert_eq!(target, [0.0, 1.0]);
        });
    }

    #[test]
    fn samples_depend_on_seed_epoch_and_position_only() {
        let augment = Augment {
            shift: 1.0,
            rotate: 20.0,
            flip: true,
            erase: 0.5,
            mixup: 0.3,
            contrast: 0.2,
            ..Augment::NONE
        };
        with_sampler(augment, |s| {
            assert_eq!(s.sample(0, 4, 7), s.sample(0, 4, 7));
            assert_ne!(s.sample(0, 4, 7), s.sample(0, 4, 8));
            assert_ne!(s.sample(0, 4, 7), s.sample(0, 5, 7));
        });
    }

    #[test]
    fn targets_sum_to_one_and_values_are_finite() {
        let augment =
            Augment { mixup: 0.2, smoothing: 0.1, zoom: 0.5, rotate: 90.0, erase: 1.0, ..Augment::NONE };
        with_sampler(augment, |s| {
            for position in 0..200 {
                let (pixels, target) = s.sample(position % 2, 1, position);
                assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(pixels.iter().all(|p| p.is_finite()));
            }
        });
    }
}
