//! DnCNN (Zhang et al., arXiv 1608.03981): a plain convolutional network that predicts what was added to a
//! picture. It stands beside the transformer to compare with.
//!
//! Batch normalisation is left out. At run time it is part of the convolutions anyway (as in the authors'
//! merged release, whose tensor names these are), and a network whose last convolution starts at zero, and
//! which thus starts by giving back its input, trains without it.

mod args;
mod model;

pub use args::{training, TrainDnCnnArgs};
pub use model::{DnCnn, DnCnnConfig};
