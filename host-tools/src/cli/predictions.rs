//! What a classifier's outputs are shown as, by what they mean.

use serde::Serialize;
use vitreous::models::vit::Output;
use vitreous::pipeline::{top_k, Prediction};

use crate::engine::Engine;
use crate::table::table;
use crate::text::printable;

/// Most classes that can be listed.
pub const MAX_TOP: usize = 20;

/// Classes listed if the user does not say how many.
const USUAL_TOP: usize = 5;

/// What an image gave.
#[derive(Serialize)]
#[serde(tag = "output", content = "predictions", rename_all = "snake_case")]
pub enum Predictions {
    /// Classes of which one holds, best first.
    Softmax(Vec<Class>),
    /// Labels that hold each for itself, best first.
    Sigmoid(Vec<Label>),
    /// Values, in their order.
    Values(Vec<Value>),
}

/// A class.
#[derive(Serialize)]
pub struct Class {
    class: usize,
    label: String,
    logit: f32,
    probability: f32,
}

/// A label that holds or not.
#[derive(Serialize)]
pub struct Label {
    #[serde(flatten)]
    class: Class,
    /// Whether its probability is above one half.
    holds: bool,
}

/// A value.
#[derive(Serialize)]
pub struct Value {
    class: usize,
    label: String,
    value: f32,
}

impl Predictions {
    /// The `top` best classes or first values; if that is not said, five classes, or the labels that hold
    /// where they are more, or all values.
    pub fn new(engine: &Engine, logits: &[f32], top: Option<usize>) -> Self {
        let output = engine.config().output;
        let class = |p: &Prediction| Class {
            class: p.class,
            label: engine.label(p.class),
            logit: p.logit,
            probability: p.score,
        };
        let best = top_k::<MAX_TOP>(output, logits);
        match output {
            Output::Softmax => {
                Predictions::Softmax(best.iter().take(top.unwrap_or(USUAL_TOP)).map(class).collect())
            }
            Output::Sigmoid => {
                let holding = best.iter().filter(|p| p.logit > 0.0).count();
                let best = best.iter().take(top.unwrap_or(USUAL_TOP.max(holding)));
                let label = |p: &Prediction| Label { class: class(p), holds: p.logit > 0.0 };
                Predictions::Sigmoid(best.map(label).collect())
            }
            Output::Values => {
                let values = logits.iter().enumerate().take(top.unwrap_or(logits.len()));
                let value = |(class, value): (usize, &f32)| Value {
                    class,
                    label: engine.label(class),
                    value: *value,
                };
                Predictions::Values(values.map(value).collect())
            }
        }
    }

    /// A table, for a terminal.
    pub fn render(&self) -> String {
        let number = |class: &Class| {
            let (percent, logit) =
                (format!("{:.2} %", 100.0 * class.probability), format!("{:.4}", class.logit));
            [class.class.to_string(), printable(&class.label).into_owned(), percent, logit]
        };
        let rows = match self {
            Predictions::Softmax(classes) => {
                let mut rows = table(&["class", "label", "probability", "logit"], 2);
                rows.add_rows(classes.iter().map(number));
                rows
            }
            Predictions::Sigmoid(labels) => {
                let mut rows = table(&["class", "label", "probability", "logit", "holds"], 2);
                for label in labels {
                    let holds = if label.holds { "yes" } else { "no" };
                    rows.add_row(number(&label.class).into_iter().chain([holds.into()]));
                }
                rows
            }
            Predictions::Values(values) => {
                let mut rows = table(&["output", "label", "value"], 2);
                for v in values {
                    let label = printable(&v.label).into_owned();
                    rows.add_row([v.class.to_string(), label, format!("{:.6}", v.value)]);
                }
                rows
            }
        };
        rows.to_string()
    }
}
