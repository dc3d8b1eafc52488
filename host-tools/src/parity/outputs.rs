//! Outputs compared by what they mean: classes, decisions on labels, or values.

use anyhow::{ensure, Result};
use serde::Serialize;
use vitreous::models::vit::{Output, VitConfig};

use super::{Agreement, Sample, Thresholds};
use crate::engine::EngineOutput;

/// Labels that hold each for itself, decided at a probability of one half. Shares in percent.
#[derive(Clone, Debug, Serialize)]
pub struct Decisions {
    /// Decisions that are the same, over all images and labels.
    pub same: f64,
    /// Images on which all decisions are the same.
    pub same_images: f64,
}

/// Values of a regression.
#[derive(Clone, Debug, Serialize)]
pub struct Differences {
    /// Largest absolute difference of a value.
    pub largest: f64,
    /// Mean absolute difference.
    pub mean: f64,
}

/// What the outputs of reference and engine have in common.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// A softmax of classes.
    Classes(Agreement),
    /// Sigmoids of labels.
    Labels(Decisions),
    /// Values.
    Values(Differences),
    /// Features of a model without head.
    Features,
}

impl Outputs {
    pub(super) fn new(
        config: &VitConfig,
        samples: &[Sample],
        reference: &[Vec<f32>],
        engine: &[EngineOutput],
    ) -> Self {
        match config.output {
            _ if config.classes == 0 => Outputs::Features,
            Output::Softmax => Outputs::Classes(Agreement::new(samples, reference, engine)),
            Output::Sigmoid => Outputs::Labels(decisions(reference, engine)),
            Output::Values => Outputs::Values(differences(reference, engine)),
        }
    }

    /// Thresholds that these outputs do not meet, in words.
    pub(super) fn failures(&self, thresholds: &Thresholds) -> Vec<String> {
        let mut failures = Vec::new();
        let below = |share: f64| thresholds.min_agreement.filter(|least| share < *least);
        match self {
            Outputs::Classes(agreement) => {
                match (thresholds.max_top1_drop, agreement.top1_drop()) {
                    (Some(most), Some(drop)) if drop > most => {
                        failures.push(format!("top-1 accuracy drops by {drop:.2} points, more than {most}"));
                    }
                    (Some(_), None) => {
                        failures.push("--max-top1-drop needs labelled images, and there is none".into());
                    }
                    _ => {}
                }
                let same = agreement.top1_agreement;
                if let Some(least) = below(same) {
                    let what = "the best class is the same on";
                    failures.push(format!("{what} {same:.2} % of the images, below {least} %"));
                }
            }
            Outputs::Labels(Decisions { same, .. }) => {
                if let Some(least) = below(*same) {
                    failures.push(format!(
                        "{same:.2} % of the decisions on labels are the same, below {least} %"
                    ));
                }
            }
            Outputs::Values(Differences { largest, .. }) => {
                if let Some(most) = thresholds.max_difference.filter(|most| largest > most) {
                    failures.push(format!("a value differs by {largest:.6}, more than {most}"));
                }
            }
            Outputs::Features => {}
        }
        failures
    }
}

/// Refuses thresholds that say nothing of this model's outputs, which would seem to be met.
pub(super) fn check_thresholds(config: &VitConfig, thresholds: &Thresholds) -> Result<()> {
    let (kind, agreement, drop, difference) = match config.output {
        _ if config.classes == 0 => ("features", false, false, false),
        Output::Softmax => ("classes of which one holds", true, true, false),
        Output::Sigmoid => ("labels that hold each for itself", true, false, false),
        Output::Values => ("plain values", false, false, true),
    };
    let given = [
        ("--min-agreement", thresholds.min_agreement, agreement),
        ("--max-top1-drop", thresholds.max_top1_drop, drop),
        ("--max-difference", thresholds.max_difference, difference),
    ];
    for (option, value, has_meaning) in given {
        ensure!(value.is_none() || has_meaning, "{option} says nothing of a model whose outputs are {kind}");
    }
    Ok(())
}

fn decisions(reference: &[Vec<f32>], engine: &[EngineOutput]) -> Decisions {
    let same_of = |(reference, engine): (&Vec<f32>, &EngineOutput)| {
        // A logit of 0 is a probability of one half.
        let pairs = reference.iter().zip(&engine.logits);
        (pairs.filter(|(r, e)| (**r > 0.0) == (**e > 0.0)).count(), reference.len())
    };
    let images: Vec<(usize, usize)> = reference.iter().zip(engine).map(same_of).collect();
    let percent = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
    Decisions {
        same: percent(images.iter().map(|i| i.0).sum(), images.iter().map(|i| i.1).sum()),
        same_images: percent(images.iter().filter(|(same, all)| same == all).count(), images.len()),
    }
}

fn differences(reference: &[Vec<f32>], engine: &[EngineOutput]) -> Differences {
    let pairs = reference.iter().zip(engine).flat_map(|(r, e)| r.iter().zip(&e.logits));
    let differences: Vec<f64> = pairs.map(|(r, e)| (f64::from(*r) - f64::from(*e)).abs()).collect();
    Differences {
        largest: differences.iter().copied().fold(0.0, f64::max),
        mean: super::metrics::mean(&differences),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(logits: &[f32]) -> EngineOutput {
        EngineOutput {
            logits: logits.to_vec(),
            features: vec![],
            hidden: vec![],
            saturation: Default::default(),
        }
    }

    #[test]
    fn decisions_are_counted_label_by_label() {
        let reference = [vec![1.0, -1.0, 0.5], vec![-2.0, -3.0, 4.0]];
        let outputs = [engine(&[0.9, -0.8, -0.01]), engine(&[-1.0, -1.0, 1.0])];
        let Decisions { same, same_images } = decisions(&reference, &outputs);
        assert!((same - 500.0 / 6.0).abs() < 1e-9 && (same_images - 50.0).abs() < 1e-9);
        let thresholds = Thresholds { min_agreement: Some(90.0), ..Thresholds::default() };
        assert_eq!(Outputs::Labels(decisions(&reference, &outputs)).failures(&thresholds).len(), 1);
    }

    #[test]
    fn values_are_compared_by_their_differences() {
        let found = differences(&[vec![1.0, -2.0]], &[engine(&[1.5, -2.0])]);
        assert_eq!((found.largest, found.mean), (0.5, 0.25));
        let limit = |most| Thresholds { max_difference: Some(most), ..Thresholds::default() };
        assert!(Outputs::Values(found.clone()).failures(&limit(0.5)).is_empty());
        assert_eq!(Outputs::Values(found).failures(&limit(0.4)).len(), 1);
    }
}
