//! What a run measured, epoch by epoch.

use serde::Serialize;

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

impl EpochRecord {
    /// Numbers in [`to_array`](Self::to_array).
    pub const FIELDS: usize = 5;

    /// All fields as f64, for the checkpoint.
    pub fn to_array(&self) -> [f64; Self::FIELDS] {
        [self.epoch as f64, self.loss, self.gradient_norm, self.lr, self.test_accuracy]
    }

    /// The inverse of [`to_array`](Self::to_array), for a slice of that length.
    pub fn from_slice(v: &[f64]) -> Self {
        EpochRecord { epoch: v[0] as u64, loss: v[1], gradient_norm: v[2], lr: v[3], test_accuracy: v[4] }
    }
}

/// Sums over the current epoch's steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// Σ loss · images.
    pub loss: f64,
    /// Images so far.
    pub images: f64,
    /// Σ gradient norm.
    pub gradient_norm: f64,
    /// Steps so far.
    pub steps: f64,
}

impl Running {
    /// Adds one step.
    pub fn add(&mut self, loss: f64, images: usize, gradient_norm: f64) {
        self.loss += loss * images as f64;
        self.images += images as f64;
        self.gradient_norm += gradient_norm;
        self.steps += 1.0;
    }

    /// Mean loss per image.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1.0)
    }

    /// All fields, for the checkpoint.
    pub fn to_array(&self) -> [f64; 4] {
        [self.loss, self.images, self.gradient_norm, self.steps]
    }

    /// The inverse of [`to_array`](Self::to_array); `None` for another length.
    pub fn from_slice(v: &[f64]) -> Option<Self> {
        let &[loss, images, gradient_norm, steps] = v else { return None };
        Some(Running { loss, images, gradient_norm, steps })
    }
}
