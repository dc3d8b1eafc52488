//! What a run reports.

use super::training::Training;
use crate::text::printable;
use crate::train::history;
use crate::train::report::steps_in_words;
use serde::Serialize;
use std::fmt;

/// One validation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Steps done.
    pub step: u64,
    /// Mean training loss since the validation before, in trained units.
    pub loss: f64,
    /// Mean gradient norm since then, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// PSNR in dB on windows of the held-out pictures, task by task, of the weights that would be saved.
    pub psnr: Vec<f64>,
}

impl From<&history::Record> for Record {
    fn from(record: &history::Record) -> Self {
        let history::Record { at: step, loss, gradient_norm, lr, scores: psnr } = record.clone();
        Record { step, loss, gradient_norm, lr, psnr }
    }
}

/// Result of a training run; as JSON it is `training.json` and the output of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct RestorerReport {
    /// The model's name.
    pub name: String,
    /// The network.
    pub network: String,
    /// What it repairs, in the order of the records' PSNRs.
    pub tasks: Vec<String>,
    /// The folder of training pictures.
    pub pictures: String,
    /// SHA-256 of all decoded pixels.
    pub pictures_sha256: String,
    /// Pictures trained on.
    pub train_pictures: usize,
    /// Held-out pictures.
    pub held_out_pictures: usize,
    /// Weights and biases.
    pub parameters: usize,
    /// Steps that earlier parts of the run had done; 0 if it was not resumed.
    pub resumed_at: u64,
    /// Wall time of this call, which did the other steps.
    pub seconds: f64,
    /// Training windows per second of wall time, validation included.
    pub windows_per_second: f64,
    /// All settings of the training.
    pub training: Training,
    /// Every validation.
    pub history: Vec<Record>,
}

impl fmt::Display for RestorerReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (name, pictures) = (printable(&self.name), self.pictures.to_string());
        writeln!(f, "{name}: {} parameters, trained on {}", self.parameters, printable(&pictures))?;
        if let (Some(first), Some(last)) = (self.history.first(), self.history.last()) {
            for (i, task) in self.tasks.iter().enumerate() {
                writeln!(
                    f,
                    "{task:>12}  {:.2} dB held out ({:.2} at the start)",
                    last.psnr[i], first.psnr[i]
                )?;
            }
        }
        write!(
            f,
            "{} in {:.1} s, {:.1} windows/s",
            steps_in_words(self.training.steps, self.resumed_at),
            self.seconds,
            self.windows_per_second
        )
    }
}
