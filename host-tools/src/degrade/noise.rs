//! White Gaussian noise.

use super::Picture;
use rand::Rng;

/// Adds independent normal noise of standard deviation `sigma` (in grey levels of 0..255) to every channel of
/// every pixel, then rounds and clips to 8 bits.
pub fn gaussian_noise(clean: &Picture, sigma: f64, rng: &mut impl Rng) -> Picture {
    let mut noisy = clean.clone();
    for pair in noisy.data.chunks_mut(2) {
        let normals = two_normals(rng);
        for (value, normal) in pair.iter_mut().zip(normals) {
            // `as` saturates, which is the clipping.
            *value = (f64::from(*value) + sigma * normal).round_ties_even() as u8;
        }
    }
    noisy
}

/// Two independent standard normal numbers (Box and Muller 1958).
fn two_normals(rng: &mut impl Rng) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let (sin, cos) = (core::f64::consts::TAU * rng.random::<f64>()).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn noise_has_the_stated_deviation_and_repeats_with_the_seed() {
        let clean = Picture { width: 100, height: 80, data: vec![128; 100 * 80 * 3] };
        let noisy = |seed| gaussian_noise(&clean, 20.0, &mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        let differences: Vec<f64> = noisy(1).data.iter().map(|&v| f64::from(v) - 128.0).collect();
        let count = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let deviation = (differences.iter().map(|d| d * d).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 0.5 && (deviation - 20.0).abs() < 0.3, "{mean} ± {deviation}");
        assert_eq!(noisy(1), noisy(1));
        assert_ne!(noisy(1), noisy(2));
    }

    #[test]
    fn noise_is_clipped_to_eight_bits() {
        let black = Picture { width: 64, height: 64, data: vec![0; 64 * 64 * 3] };
        let noisy = gaussian_noise(&black, 30.0, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
        let zeros = noisy.data.iter().filter(|v| **v == 0).count() as f64 / noisy.data.len() as f64;
        assert!((0.48..0.54).contains(&zeros), "{zeros}");
    }
}
