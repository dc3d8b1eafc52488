//! What a run measured, from validation to validation.

use serde::Serialize;

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

/// Numbers of a record beside its PSNRs.
const FIXED: usize = 4;

impl Record {
    /// Numbers of a record with this many tasks.
    pub fn fields(tasks: usize) -> usize {
        FIXED + tasks
    }

    /// All fields, for the checkpoint.
    pub fn to_vec(&self) -> Vec<f64> {
        let mut all = vec![self.step as f64, self.loss, self.gradient_norm, self.lr];
        all.extend(&self.psnr);
        all
    }

    /// The inverse of [`to_vec`](Self::to_vec).
    pub fn from_slice(v: &[f64]) -> Self {
        Record { step: v[0] as u64, loss: v[1], gradient_norm: v[2], lr: v[3], psnr: v[FIXED..].to_vec() }
    }
}
