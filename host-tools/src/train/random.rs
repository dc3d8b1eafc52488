//! Random numbers of a training.
//!
//! Every use has a stream of its own, numbered by purpose, epoch and position. So a resumed run needs no
//! generator state, and samples can be made in any order on any number of threads.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Purposes of [`stream`].
pub mod purpose {
    /// Initial weights.
    pub const WEIGHTS: u64 = 0;
    /// Order of the samples in an epoch.
    pub const ORDER: u64 = 1;
    /// The random changes of one sample.
    pub const SAMPLE: u64 = 2;
    /// Degradation of held-out pictures.
    pub const VALIDATION: u64 = 3;
}

/// The first epoch that no training reaches: [`epoch_order`] of it and of those behind it chooses a part of
/// the data.
pub const PART_ORDER: u64 = 1 << 27;

/// The generator for `purpose` (below 16), `epoch` (below 2²⁸) and `index`.
pub fn stream(seed: u64, purpose: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose << 60 | epoch << 32 | index);
    rng
}

/// The order of `count` samples in `epoch`: Fisher and Yates's shuffle.
pub fn epoch_order(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = stream(seed, purpose::ORDER, epoch, 0);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

/// Numbers that are uniform in −`bound`..`bound`.
pub fn uniform(count: usize, bound: f32, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-bound..bound)).collect()
}

/// A number of the standard normal distribution, by Box and Muller's transform of two uniform ones.
pub fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (core::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_every_sample_once() {
        let mut order = epoch_order(100, 1, 2);
        assert_ne!(order, epoch_order(100, 1, 3));
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
