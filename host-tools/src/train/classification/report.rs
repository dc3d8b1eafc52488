//! What a run reports.

use super::recipe::Recipe;
use crate::text::printable;
use crate::train::history::Record;
use crate::train::report::steps_in_words;
use serde::Serialize;
use std::fmt;

/// One finished epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochRecord {
    /// Epochs done, from 1.
    pub epoch: u64,
    /// Mean training loss over the epoch, with augmentation and smoothing.
    pub loss: f64,
    /// Mean gradient norm before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Accuracy on the held-out images, 0 to 1, of the weights that would be saved.
    pub test_accuracy: f64,
}

impl From<&Record> for EpochRecord {
    fn from(record: &Record) -> Self {
        let &Record { at: epoch, loss, gradient_norm, lr, ref scores } = record;
        EpochRecord { epoch, loss, gradient_norm, lr, test_accuracy: scores[0] }
    }
}

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
