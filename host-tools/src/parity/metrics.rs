//! Figures of merit.

use serde::Serialize;
use vitreous::models::vit::Output;

use super::Sample;
use crate::engine::EngineOutput;

/// Mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Least value.
pub(super) fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Best classes of one image by reference and by engine, best first.
type Ranked = (Vec<usize>, Vec<usize>);

/// Classes by reference and by engine. Shares in percent.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// Images on which both have the same best class.
    pub top1_agreement: f64,
    /// Share of the reference's five best classes that are among the engine's five best.
    pub top5_overlap: f64,
    /// Labelled images.
    pub labelled: usize,
    /// Top-1 accuracy of the reference on the labelled images.
    pub reference_top1: Option<f64>,
    /// Top-1 accuracy of the engine.
    pub engine_top1: Option<f64>,
    /// Top-5 accuracy of the reference.
    pub reference_top5: Option<f64>,
    /// Top-5 accuracy of the engine.
    pub engine_top5: Option<f64>,
}

impl Agreement {
    pub(super) fn new(samples: &[Sample], reference: &[Vec<f32>], engine: &[EngineOutput]) -> Self {
        let best = |logits: &[f32]| -> Vec<usize> {
            vitreous::pipeline::top_k::<5>(Output::Softmax, logits).iter().map(|p| p.class).collect()
        };
        let pairs: Vec<Ranked> =
            reference.iter().zip(engine).map(|(r, e)| (best(r), best(&e.logits))).collect();
        let percent = |hits: usize, all: usize| 100.0 * hits as f64 / all.max(1) as f64;
        let labelled: Vec<_> =
            samples.iter().zip(&pairs).filter_map(|(s, p)| s.class.map(|c| (c, p))).collect();
        let accuracy = |hit: &dyn Fn(usize, &Ranked) -> bool| {
            let hits = labelled.iter().filter(|(class, pair)| hit(*class, pair)).count();
            (!labelled.is_empty()).then(|| percent(hits, labelled.len()))
        };
        let common: usize = pairs.iter().map(|(r, e)| r.iter().filter(|c| e.contains(c)).count()).sum();
        Self {
            top1_agreement: percent(
                pairs.iter().filter(|(r, e)| r.first() == e.first()).count(),
                pairs.len(),
            ),
            top5_overlap: percent(common, pairs.iter().map(|(r, _)| r.len()).sum()),
            labelled: labelled.len(),
            reference_top1: accuracy(&|class, (r, _)| r.first() == Some(&class)),
            engine_top1: accuracy(&|class, (_, e)| e.first() == Some(&class)),
            reference_top5: accuracy(&|class, (r, _)| r.contains(&class)),
            engine_top5: accuracy(&|class, (_, e)| e.contains(&class)),
        }
    }

    /// Points of top-1 accuracy that the engine loses against the reference.
    pub fn top1_drop(&self) -> Option<f64> {
        Some(self.reference_top1? - self.engine_top1?)
    }
}
