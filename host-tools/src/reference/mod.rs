//! Float reference of the ViT and the IPT: plain framework operations on f32, independent of the engine's
//! code.
//!
//! It judges the engine's accuracy, and is itself judged by goldens made with PyTorch.
mod ipt;
mod layers;
mod memory;
mod vit;

pub use ipt::{IptStages, ReferenceIpt};
pub use memory::{in_gib, ipt_bytes, vit_bytes};
pub use vit::{NormPair, ReferenceOutput, ReferenceVit};

/// Why the reference cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// An image of another size than the model's.
    #[error("image {index} has {found} values, expected {expected} (height·width·channels of the model)")]
    InputLength {
        /// Index of the image in the batch.
        index: usize,
        /// Values given.
        found: usize,
        /// Values expected.
        expected: usize,
    },
    /// A task that the model was not trained for.
    #[error("the model has no task {task}; its tasks are {known}")]
    Task {
        /// The task asked for.
        task: String,
        /// The tasks that there are.
        known: String,
    },
    /// More than a machine is likely to have.
    #[error(
        "the float reference would take {needed} of memory for this size of images, and takes at most \
         {most}: its attention grows with the square of the number of patches"
    )]
    Memory {
        /// For one pass.
        needed: String,
        /// The bound.
        most: String,
    },
    /// The framework's own error.
    #[error("float reference: {0}")]
    Framework(candle_core::Error),
}

// The message has the framework's own already; as a source it would be printed twice.
impl From<candle_core::Error> for ReferenceError {
    fn from(error: candle_core::Error) -> Self {
        Self::Framework(error)
    }
}

/// Index of the largest value, the first of equal ones; 0 for an empty slice.
pub fn argmax(logits: &[f32]) -> usize {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (1..logits.len()).fold(0, better)
}
