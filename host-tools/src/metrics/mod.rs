//! How near a restored image is to the clean one, in the field's conventions.
//!
//! PSNR and SSIM, over the colours and on luma alone, of 8-bit images, with a border left out that restorers
//! of enlarged images are not judged by. Equal to MATLAB's and scikit-image's figures; see the tests.

mod sqnr;
mod ssim;

pub use sqnr::sqnr_db;
pub use ssim::ssim;

use serde::Serialize;

use crate::degrade::Picture;

/// PSNR that equal images get: more than 8 bits can show otherwise.
const MAX_DB: f64 = 100.0;

/// Likeness of two images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// PSNR over all colours in dB.
    pub psnr_rgb: f64,
    /// PSNR of luma in dB.
    pub psnr_luma: f64,
    /// Mean of the colours' SSIM; `None` for an image smaller than its window.
    pub ssim_rgb: Option<f64>,
    /// SSIM of luma; `None` for an image smaller than its window.
    pub ssim_luma: Option<f64>,
}

impl Score {
    /// Compares two images of one size, without the outer `shave` pixels on each side (which an image too
    /// small for it keeps).
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn new(image: &Picture, clean: &Picture, shave: usize) -> Self {
        assert_eq!((image.width, image.height), (clean.width, clean.height), "images of one size");
        let (image, clean) = (shaved(image, shave), shaved(clean, shave));
        let size = (clean.width, clean.height);
        let (luma, clean_luma) = (luma(&image), luma(&clean));
        let channel = |picture: &Picture, c: usize| -> Vec<f64> {
            picture.data.iter().skip(c).step_by(3).map(|v| f64::from(*v)).collect()
        };
        let colours: Option<Vec<f64>> =
            (0..3).map(|c| ssim(&channel(&image, c), &channel(&clean, c), size)).collect();
        Self {
            psnr_rgb: psnr(image.mean_square_error(&clean)),
            psnr_luma: psnr(mean_square_error(&luma, &clean_luma)),
            ssim_rgb: colours.map(|colours| colours.iter().sum::<f64>() / 3.0),
            ssim_luma: ssim(&luma, &clean_luma, size),
        }
    }

    /// Mean of each figure; of SSIM over the images that have one.
    pub fn mean<'a>(scores: impl Iterator<Item = &'a Score> + Clone) -> Option<Self> {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (count, sum) = values.fold((0usize, 0.0), |(n, sum), value| (n + 1, sum + value));
            (count > 0).then(|| sum / count as f64)
        };
        Some(Self {
            psnr_rgb: mean(&mut scores.clone().map(|s| s.psnr_rgb))?,
            psnr_luma: mean(&mut scores.clone().map(|s| s.psnr_luma))?,
            ssim_rgb: mean(&mut scores.clone().filter_map(|s| s.ssim_rgb)),
            ssim_luma: mean(&mut scores.filter_map(|s| s.ssim_luma)),
        })
    }
}

/// PSNR in dB of a mean squared error in grey levels of 0..255; 100 for equal images.
pub fn psnr(mean_square_error: f64) -> f64 {
    (10.0 * (255.0 * 255.0 / mean_square_error).log10()).min(MAX_DB)
}

/// Luma Y of ITU-R BT.601 in its range of 16..235, as MATLAB's `rgb2ycbcr` defines it, not rounded: (height,
/// width).
pub fn luma(image: &Picture) -> Vec<f64> {
    let weighted = |p: &[u8; 3]| {
        16.0 + (65.481 * f64::from(p[0]) + 128.553 * f64::from(p[1]) + 24.966 * f64::from(p[2])) / 255.0
    };
    image.data.as_chunks::<3>().0.iter().map(weighted).collect()
}

fn mean_square_error(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len().max(1) as f64
}

fn shaved(image: &Picture, shave: usize) -> Picture {
    if shave == 0 || image.width.min(image.height) <= 2 * shave {
        return image.clone();
    }
    image.crop(shave as isize, shave as isize, image.width - 2 * shave, image.height - 2 * shave)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By tests/goldens/metrics.py, with scikit-image: PSNR of colours and luma, SSIM of colours and luma.
    const EXPECTED: [[f64; 4]; 3] = [
        [29.096835485, 32.090101336, 0.975398439, 0.965960293],
        [29.101176101, 32.079043331, 0.977190052, 0.966641060],
        [29.099518196, 32.073819955, 0.973472518, 0.964772259],
    ];

    /// Integer arithmetic alone, so that the script of the expected figures makes the same images.
    fn pair(width: usize, height: usize) -> (Picture, Picture) {
        let mut clean = Picture::black(width, height);
        let mut noisy = clean.clone();
        for i in 0..clean.data.len() {
            let (y, x, c) = (i / 3 / width, i / 3 % width, i % 3);
            let value = (x * 7 + y * 3 + c * 41 + (x / 5 + y / 4) % 2 * 60) % 223 + 16;
            let noise = (x * 7919 + y * 104_729 + c * 1_299_709) % 31;
            clean.data[i] = value as u8;
            noisy.data[i] = (value + noise).saturating_sub(15).min(255) as u8;
        }
        (noisy, clean)
    }

    fn near(found: Score, expected: [f64; 4]) {
        let found = [found.psnr_rgb, found.psnr_luma, found.ssim_rgb.unwrap(), found.ssim_luma.unwrap()];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    }

    #[test]
    fn figures_are_those_of_scikit_image() {
        let (noisy, clean) = pair(37, 29);
        near(Score::new(&noisy, &clean, 0), EXPECTED[0]);
        near(Score::new(&noisy, &clean, 2), EXPECTED[1]);
        let (noisy, clean) = pair(64, 11);
        near(Score::new(&noisy, &clean, 0), EXPECTED[2]);
    }

    #[test]
    fn equal_images_get_the_most_and_small_ones_no_ssim() {
        let (_, clean) = pair(16, 16);
        let score = Score::new(&clean, &clean, 0);
        assert_eq!((score.psnr_rgb, score.psnr_luma), (100.0, 100.0));
        assert!(
            (score.ssim_rgb.unwrap() - 1.0).abs() < 1e-12 && (score.ssim_luma.unwrap() - 1.0).abs() < 1e-12
        );
        let (noisy, clean) = pair(1, 1);
        let score = Score::new(&noisy, &clean, 4);
        assert!(score.ssim_rgb.is_none() && score.psnr_rgb.is_finite());
        let mean = Score::mean([score, Score { ssim_rgb: Some(0.5), ..score }].iter()).unwrap();
        assert_eq!((mean.ssim_rgb, mean.psnr_rgb), (Some(0.5), score.psnr_rgb));
        assert_eq!(Score::mean([].iter()), None);
    }

    #[test]
    fn luma_of_black_and_white_is_16_and_235() {
        let luma = luma(&Picture { width: 2, height: 1, data: vec![0, 0, 0, 255, 255, 255] });
        assert!((luma[0] - 16.0).abs() < 1e-12 && (luma[1] - 235.0).abs() < 1e-9);
        assert!((psnr(1.0) - 48.130_803_608_679_1).abs() < 1e-9);
    }
}
