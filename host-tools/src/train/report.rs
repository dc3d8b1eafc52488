//! What a run reports.

use super::history::EpochRecord;
use super::recipe::Recipe;
use crate::text::printable;
use serde::Serialize;
use std::fmt;

/// Result of a training run; as JSON it is `training.json` and the output of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The model's name.
    pub name: String,
    /// What it was trained on.
    pub data: String,
    /// SHA-256 of all images and labels after resizing.
    pub data_sha256: String,
    /// Training images.
    pub train_images: usize,
    /// Held-out images.
    pub test_images: usize,
    /// Classes.
    pub classes: usize,
    /// Weights and biases.
    pub parameters: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Steps that earlier parts of the run had done; 0 if it was not resumed.
    pub resumed_at: u64,
    /// Wall time of this call, which did the other steps.
    pub seconds: f64,
    /// Training images per second of wall time, evaluation included.
    pub images_per_second: f64,
    /// Training images, without augmentation, that the model classifies as labelled.
    pub train_correct: usize,
    /// Held-out images that it classifies as labelled.
    pub test_correct: usize,
    /// All settings.
    pub recipe: Recipe,
    /// Every epoch.
    pub history: Vec<EpochRecord>,
}

impl TrainReport {
    /// Held-out accuracy, 0 to 1.
    pub fn test_accuracy(&self) -> f64 {
        self.test_correct as f64 / self.test_images.max(1) as f64
    }
}

/// What the time of a report is of.
pub fn steps_in_words(steps: u64, resumed_at: u64) -> String {
    match resumed_at {
        0 => format!("{steps} steps"),
        before => format!("{steps} steps, the last {} of them since --resume,", steps - before),
    }
}

impl fmt::Display for TrainReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (name, data) = (printable(&self.name), printable(&self.data));
        writeln!(f, "{name}: {} parameters, trained on {data}", self.parameters)?;
        let accuracy = 100.0 * self.test_accuracy();
        writeln!(f, "held-out accuracy  {accuracy:.2} % ({} of {})", self.test_correct, self.test_images)?;
        let training = 100.0 * self.train_correct as f64 / self.train_images.max(1) as f64;
        writeln!(f, "training accuracy  {training:.2} % ({} of {})", self.train_correct, self.train_images)?;
        let steps = steps_in_words(self.steps, self.resumed_at);
        write!(f, "{steps} in {:.1} s, {:.0} images/s", self.seconds, self.images_per_second)
    }
}
