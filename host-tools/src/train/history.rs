//! What a run measures, and how a checkpoint keeps it.

/// What was measured at one time of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When: epochs or steps done, as the family counts.
    pub at: u64,
    /// Mean training loss since the record before.
    pub loss: f64,
    /// Mean gradient norm since then, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Scores on held-out data of the weights that would be saved, in the family's order and unit.
    pub scores: Vec<f64>,
}

impl Record {
    /// Numbers of a record beside its scores.
    const FIXED: usize = 4;

    /// Numbers of a record with this many scores.
    pub fn fields(scores: usize) -> usize {
        Self::FIXED + scores
    }

    /// All numbers, for the checkpoint.
    pub fn to_vec(&self) -> Vec<f64> {
        let mut all = vec![self.at as f64, self.loss, self.gradient_norm, self.lr];
        all.extend(&self.scores);
        all
    }

    /// The inverse of [`to_vec`](Self::to_vec), for a slice of at least four numbers.
    pub fn from_slice(v: &[f64]) -> Self {
        let scores = v[Self::FIXED..].to_vec();
        Record { at: v[0] as u64, loss: v[1], gradient_norm: v[2], lr: v[3], scores }
    }
}

/// Sums over the steps since the last record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// Σ loss · samples.
    pub loss: f64,
    /// Samples so far.
    pub samples: f64,
    /// Σ gradient norm.
    pub gradient_norm: f64,
    /// Steps so far.
    pub steps: f64,
}

impl Running {
    /// Adds one step.
    pub fn add(&mut self, loss: f64, samples: usize, gradient_norm: f64) {
        self.loss += loss * samples as f64;
        self.samples += samples as f64;
        self.gradient_norm += gradient_norm;
        self.steps += 1.0;
    }

    /// Mean loss per sample.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.samples.max(1.0)
    }

    /// Mean gradient norm per step.
    pub fn mean_gradient_norm(&self) -> f64 {
        self.gradient_norm / self.steps.max(1.0)
    }

    /// All fields, for the checkpoint.
    pub fn to_array(self) -> [f64; 4] {
        [self.loss, self.samples, self.gradient_norm, self.steps]
    }

    /// The inverse of [`to_array`](Self::to_array); `None` for another length.
    pub fn from_slice(v: &[f64]) -> Option<Self> {
        let &[loss, samples, gradient_norm, steps] = v else { return None };
        Some(Running { loss, samples, gradient_norm, steps })
    }
}
