//! Image classification.

use heapless::Vec;

use crate::error::Error;
use crate::math::{exp2, sigmoid};
use crate::models::vit::{Output, Vit};
use crate::source::PixelSource;

/// One output of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Prediction {
    /// Class index.
    pub class: usize,
    /// Logit, or value of a regression.
    pub logit: f32,
    /// Score, by the model's [`Output`]: the softmax of all logits at this class, the sigmoid of this logit,
    /// or the value itself.
    pub score: f32,
}

/// Classifies one image. Returns the `K` most probable classes, best first, or fewer if the model has fewer
/// classes. Of a regression it returns the first `K` values, in their order.
///
/// ```
/// # #[allow(dead_code)]
/// # mod digits { include!("../../examples/digits/digits.rs"); }
/// # let pixels = include_bytes!("../../examples/digits/images.raw");
/// use vitreous::models::vit::Vit;
/// use vitreous::{pipeline, Arena, Model, SliceSource};
///
/// let model = Model::parse(digits::MODEL)?;
/// let vit = Vit::new(&model)?;
/// let mut arena = Arena::<{ digits::ARENA_BYTES }>::new();
/// let mut image = SliceSource::new(pixels, digits::IMAGE_WIDTH * digits::IMAGE_CHANNELS);
/// let best = pipeline::classify::<3, _>(&vit, arena.bytes_mut(), &mut image)?;
/// assert_eq!(best[0].class, 0);
/// # Ok::<(), vitreous::Error>(())
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
    Ok(top_k(vit.config().output, run.logits()?))
}

/// The `K` largest logits, best first; of equal logits, the lower class comes first. For [`Output::Values`]
/// these are the first `K` values in their order, since a greater value is not a better one.
pub fn top_k<const K: usize>(output: Output, logits: &[f32]) -> Vec<Prediction, K> {
    if output == Output::Values {
        let values = logits.iter().enumerate().take(K);
        return values.map(|(class, &logit)| Prediction { class, logit, score: logit }).collect();
    }
    let mut best: Vec<Prediction, K> = Vec::new();
    for (class, &logit) in logits.iter().enumerate() {
        let place = best.iter().position(|p| logit > p.logit).unwrap_or(best.len());
        if place < K {
            if best.is_full() {
                best.pop();
            }
            // This can't fail: there is room, and the place is at most the length.
            let _ = best.insert(place, Prediction { class, logit, score: 0.0 });
        }
    }
    match output {
        Output::Softmax => softmax(logits, &mut best),
        Output::Sigmoid => best.iter_mut().for_each(|p| p.score = sigmoid(p.logit)),
        Output::Values => {}
    }
    best
}

/// Sets the scores of `best`, whose first element has the greatest of all `logits`.
fn softmax(logits: &[f32], best: &mut [Prediction]) {
    let max = best.first().map_or(0.0, |p| p.logit);
    let exponential = |logit: f32| exp2((logit - max) * core::f32::consts::LOG2_E);
    let sum: f32 = logits.iter().map(|&l| exponential(l)).sum();
    for prediction in best {
        prediction.score = exponential(prediction.logit) / sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(best: &[Prediction]) -> std::vec::Vec<usize> {
        best.iter().map(|p| p.class).collect()
    }

    #[test]
    fn best_classes_come_first_and_ties_keep_their_order() {
        for output in [Output::Softmax, Output::Sigmoid] {
            assert_eq!(classes(&top_k::<3>(output, &[1.0, 5.0, 2.0, 5.0, 0.0])), [1, 3, 2]);
            assert!(top_k::<0>(output, &[1.0]).is_empty());
            assert!(top_k::<4>(output, &[]).is_empty());
        }
        let all = top_k::<8>(Output::Softmax, &[0.0, 0.0]);
        assert_eq!(all.len(), 2);
        assert!((all[0].score - 0.5).abs() < 1e-6);
    }

    #[test]
    fn labels_that_hold_each_for_itself_do_not_share_a_sum() {
        let best = top_k::<2>(Output::Sigmoid, &[2.0, -1.0, 2.0]);
        assert_eq!(classes(&best), [0, 2]);
        assert!(best.iter().all(|p| (p.score - 0.880_797).abs() < 1e-6));
        assert_eq!(top_k::<1>(Output::Sigmoid, &[0.0])[0].score, 0.5);
    }

    #[test]
    fn values_stay_as_they_are_and_in_their_order() {
        let values = top_k::<2>(Output::Values, &[-3.5, 7.0, 9.0]);
        assert_eq!(classes(&values), [0, 1]);
        assert_eq!([values[0].score, values[1].score], [-3.5, 7.0]);
        assert_eq!(top_k::<4>(Output::Values, &[41.0])[0].score, 41.0);
    }
}
