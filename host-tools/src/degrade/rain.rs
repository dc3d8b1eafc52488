//! Rain streaks.
//!
//! A streak is a short blurred line of added light. As in the synthesis behind Rain100H (Yang et al., arXiv
//! 1609.07769, §3), a picture gets several layers, each with streaks of about one direction, length and
//! brightness.

use super::Picture;
use rand::Rng;

/// One layer of streaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// Streaks per pixel of the picture.
    pub density: f64,
    /// Length in pixels.
    pub length: f64,
    /// Direction in radians from straight down.
    pub angle: f64,
    /// Width across in pixels.
    pub width: f64,
    /// Added light at a streak's middle, in grey levels.
    pub light: f64,
}

/// The layers of a rainy picture.
#[derive(Clone, Debug, PartialEq)]
pub struct RainStreaks {
    /// Each is drawn over the others.
    pub layers: Vec<Layer>,
}

impl RainStreaks {
    /// Heavy rain, drawn at random: two to five layers whose directions scatter around a common one.
    pub fn heavy(rng: &mut impl Rng) -> Self {
        let main = rng.random_range(-0.8..0.8);
        let count = rng.random_range(2..=5);
        let layers = (0..count).map(|_| Layer {
            density: rng.random_range(0.002..0.012),
            length: rng.random_range(12.0..42.0),
            angle: main + rng.random_range(-0.25..0.25),
            width: rng.random_range(0.8..2.0),
            light: rng.random_range(40.0..130.0),
        });
        RainStreaks { layers: layers.collect() }
    }
}

/// Adds `streaks` at random places, then rounds and clips to 8 bits. Rain is white: all channels get the same
/// light.
pub fn rain(clean: &Picture, streaks: &RainStreaks, rng: &mut impl Rng) -> Picture {
    let mut light = vec![0f32; clean.width * clean.height];
    for layer in &streaks.layers {
        // Streaks that begin outside may reach in.
        let margin = layer.length;
        let (width, height) = (clean.width as f64 + 2.0 * margin, clean.height as f64 + 2.0 * margin);
        let count = (layer.density * width * height).round() as usize;
        for _ in 0..count {
            let centre = [rng.random_range(0.0..width) - margin, rng.random_range(0.0..height) - margin];
            let strength = rng.random_range(0.5..1.0);
            draw(clean.width, clean.height, layer, centre, strength, &mut light);
        }
    }
    let mut rainy = clean.clone();
    for (pixel, light) in rainy.data.chunks_exact_mut(3).zip(&light) {
        pixel.iter_mut().for_each(|v| *v = (f32::from(*v) + light).round_ties_even() as u8);
    }
    rainy
}

/// One streak: Gaussian across, fading to its ends along.
fn draw(width: usize, height: usize, layer: &Layer, centre: [f64; 2], strength: f64, light: &mut [f32]) {
    let (sin, cos) = layer.angle.sin_cos();
    let half = layer.length / 2.0;
    let reach = half + 3.0 * layer.width;
    let span = |centre: f64, extent: f64, limit: usize| {
        let low = (centre - extent).floor().clamp(0.0, limit as f64) as usize;
        low..((centre + extent).ceil().clamp(0.0, limit as f64) as usize)
    };
    let extent = |along: f64| (along.abs() * half + 3.0 * layer.width).min(reach);
    for y in span(centre[1], extent(cos), height) {
        for x in span(centre[0], extent(sin), width) {
            let (dx, dy) = (x as f64 - centre[0], y as f64 - centre[1]);
            let (along, across) = (dx * sin + dy * cos, dx * cos - dy * sin);
            let fade = 1.0 - (along / half).powi(2);
            if fade > 0.0 {
                let profile = (-0.5 * (across / (0.5 * layer.width)).powi(2)).exp();
                light[y * width + x] += (layer.light * strength * fade * profile) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn rain_only_adds_light_and_repeats_with_the_seed() {
        let clean = Picture { width: 90, height: 70, data: vec![60; 90 * 70 * 3] };
        let rainy = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rain(&clean, &RainStreaks::heavy(&mut rng), &mut rng)
        };
        let once = rainy(3);
        assert!(once.data.iter().all(|v| *v >= 60) && once.data.iter().any(|v| *v > 90));
        assert_eq!(once, rainy(3));
        assert_ne!(once, rainy(4));
    }

    #[test]
    fn a_streak_follows_its_angle() {
        let layer = Layer { density: 0.0, length: 20.0, angle: 0.0, width: 1.0, light: 100.0 };
        let mut light = vec![0f32; 31 * 31];
        draw(31, 31, &layer, [15.0, 15.0], 1.0, &mut light);
        assert!(light[22 * 31 + 15] > 30.0 && light[15 * 31 + 22] == 0.0);
        let mut turned = vec![0f32; 31 * 31];
        draw(31, 31, &Layer { angle: core::f64::consts::FRAC_PI_2, ..layer }, [15.0, 15.0], 1.0, &mut turned);
        assert!(turned[15 * 31 + 22] > 30.0 && turned[22 * 31 + 15] < 1e-6);
    }
}
