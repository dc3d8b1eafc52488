//! A tensor of a checkpoint.

/// A dense row-major tensor of finite floats.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatTensor {
    /// Length of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The elements, `shape`'s product in number.
    pub data: Vec<f32>,
}
