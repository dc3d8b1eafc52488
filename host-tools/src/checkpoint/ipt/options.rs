//! What a caller says of an IPT's weights.

use vitreous::models::ipt::Task;

/// What the caller knows better than the file. Everything has a default.
#[derive(Clone, Debug, Default)]
pub struct IptLoadOptions {
    /// Attention heads; the authors' release has 12.
    pub heads: Option<usize>,
    /// One task per tail, in order.
    pub tasks: Option<Vec<Task>>,
    /// Row of the query embedding for each tail, counted from 0, where there are more rows than tails.
    pub queries: Option<Vec<usize>>,
    /// ε of the layer norms; PyTorch's default, which the authors use, is 1e-5.
    pub norm_eps: Option<f32>,
    /// The model's name.
    pub name: Option<String>,
    /// Which of several sets of weights in the file, by its key or prefix.
    pub weights: Option<String>,
    /// Tensors that are not part of a plain IPT become warnings instead of an error.
    pub allow_extra_tensors: bool,
    /// A value that nobody says is an error instead of a warning.
    pub strict: bool,
}
