//! What a run reports.

use super::super::folder::REPORT_FILE;
use super::super::report::steps_in_words;
use super::history::Record;
use super::training::Training;
use crate::output;
use crate::text::printable;
use anyhow::Result;
use serde::Serialize;
use std::fmt;
use std::path::Path;

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

impl RestorerReport {
    /// Writes the report to `dir`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(output::write(&dir.join(REPORT_FILE), text)?)
    }
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
