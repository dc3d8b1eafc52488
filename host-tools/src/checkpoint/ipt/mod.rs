//! Float IPT weights under the names of the authors' release.

mod shapes;

pub use shapes::{parse_task, tensor_shapes, RGB_MEAN};

use super::FloatTensor;
use std::collections::BTreeMap;
use vitreous::models::ipt::IptConfig;

/// A float IPT. Its tensors are exactly those of [`tensor_shapes`], in the authors' names, units (pixels 0..255, mean subtracted)
/// and axis order (unfolded patches are ordered channel, row, column).
#[derive(Clone, Debug)]
pub struct FloatIpt {
    /// The model's name.
    pub name: String,
    /// The hyperparameters.
    pub config: IptConfig,
    /// The weights by name.
    pub tensors: BTreeMap<String, FloatTensor>,
    /// SHA-256 of the file that the weights come from; zeros for weights from memory.
    pub source_sha256: [u8; 32],
    /// What the import assumed or left out, in sentences for the user.
    pub warnings: Vec<String>,
}
