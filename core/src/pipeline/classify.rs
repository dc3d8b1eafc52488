//! Image classification.

use heapless::Vec;

use crate::error::Error;
use crate::math::exp2;
use crate::models::vit::Vit;
use crate::source::PixelSource;

/// A class and how sure the model is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Prediction {
    /// Class index.
    pub class: usize,
    /// Logit.
    pub logit: f32,
    /// Softmax of the logits at this class.
    pub probability: f32,
}

/// Classifies one image: the `K` most probable classes, best first (fewer if the model has fewer classes).
///
/// ```no_run
/// # fn main() -> Result<(), vitreous::Error> {
/// # let (bytes, pixels) = (&[][..], &[][..]);
/// use vitreous::models::vit::Vit;
/// use vitreous::{pipeline, Arena, Model, SliceSource};
///
/// let model = Model::parse(bytes)?;
/// let vit = Vit::new(&model)?;
/// let mut arena = Arena::<16384>::new();
/// let mut image = SliceSource::new(pixels, 8);
/// let best = pipeline::classify::<3, _>(&vit, arena.bytes_mut(), &mut image)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`Vit::begin`] and of [`crate::models::vit::Run::step`].
pub fn classify<const K: usize, S: PixelSource + ?Sized>(
    vit: &Vit,
    arena: &mut [u8],
    source: &mut S,
) -> Result<Vec<Prediction, K>, Error> {
    let mut run = vit.begin(arena)?;
    run.finish(source)?;
    Ok(top_k(run.logits()?))
}

/// The `K` largest logits, best first; of equal logits the lower class first.
pub fn top_k<const K: usize>(logits: &[f32]) -> Vec<Prediction, K> {
    let mut best: Vec<Prediction, K> = Vec::new();
    for (class, &logit) in logits.iter().enumerate() {
        let place = best.iter().position(|p| logit > p.logit).unwrap_or(best.len());
        if place < K {
            if best.is_full() {
                best.pop();
            }
            // There is room, and the place is at most the length.
            let _ = best.insert(place, Prediction { class, logit, probability: 0.0 });
        }
    }
    let max = best.first().map_or(0.0, |p| p.logit);
    let exponential = |logit: f32| exp2((logit - max) * core::f32::consts::LOG2_E);
    let sum: f32 = logits.iter().map(|&l| exponential(l)).sum();
    for prediction in &mut best {
        prediction.probability = exponential(prediction.logit) / sum;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_classes_come_first_and_ties_keep_their_order() {
        let best = top_k::<3>(&[1.0, 5.0, 2.0, 5.0, 0.0]);
        let classes: std::vec::Vec<_> = best.iter().map(|p| p.class).collect();
        assert_eq!(classes, [1, 3, 2]);
        let all = top_k::<8>(&[0.0, 0.0]);
        assert_eq!(all.len(), 2);
        assert!((all[0].probability - 0.5).abs() < 1e-6);
        assert!(top_k::<0>(&[1.0]).is_empty());
        assert!(top_k::<4>(&[]).is_empty());
    }
}
