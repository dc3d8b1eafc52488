//! A stratified split into training and held-out images.

use super::image_set::ImageSet;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The split is a property of the data, so its seed is fixed: no training seed can move an image across.
const SPLIT_SEED: u64 = 0x5649_5452_454f_5553;

/// Splits off `fraction` of each class, rounded up, as the held-out set: (training, held out). Order is kept.
pub fn stratified(all: &ImageSet, classes: usize, fraction: f64) -> (ImageSet, ImageSet) {
    let mut rng = ChaCha8Rng::seed_from_u64(SPLIT_SEED);
    let mut held_out = vec![false; all.len()];
    for class in 0..classes {
        let mut members: Vec<usize> = (0..all.len()).filter(|&i| all.labels[i] as usize == class).collect();
        let count = (members.len() as f64 * fraction).ceil() as usize;
        for chosen in 0..count.min(members.len().saturating_sub(1)) {
            let other = rng.random_range(chosen..members.len());
            members.swap(chosen, other);
            held_out[members[chosen]] = true;
        }
    }
    let part = |side: bool| (0..all.len()).filter(|&i| held_out[i] == side).collect::<Vec<_>>();
    (all.subset(&part(false)), all.subset(&part(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_held_out_in_proportion_and_nothing_is_lost() {
        let labels: Vec<u16> = (0..50).map(|i| if i < 40 { 0 } else { 1 }).collect();
        let all = ImageSet { height: 1, width: 1, channels: 1, pixels: (0..50).collect(), labels };
        let (train, test) = stratified(&all, 2, 0.2);
        assert_eq!(test.labels.iter().filter(|&&l| l == 0).count(), 8);
        assert_eq!(test.labels.iter().filter(|&&l| l == 1).count(), 2);
        let mut pixels = [train.pixels, test.pixels].concat();
        pixels.sort_unstable();
        assert_eq!(pixels, all.pixels);
    }
}
