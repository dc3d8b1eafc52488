//! What training needs to know of a network that restores pictures.

use crate::train::parameter::ParameterSpec;
use crate::train::weights::Weights;
use anyhow::Result;
use candle_core::Tensor;
use std::path::Path;
use vitreous::models::ipt::Task;

/// Grey levels per unit of a trained pixel: about the standard deviation of photographs.
pub const UNIT: f32 = 64.0;

/// One trained tensor.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Name and shape.
    pub spec: ParameterSpec,
    /// The only task that uses it, or none for what all tasks share.
    pub task: Option<usize>,
    /// The file's tensor that it is part of.
    pub file_name: String,
    /// The file's value is this times the trained one.
    pub unit: f32,
}

/// A network that restores windows of pictures.
pub trait Network: Sync {
    /// One line that says what it is.
    fn describe(&self) -> String;
    /// What it repairs.
    fn tasks(&self) -> &[Task];
    /// Side of the windows that it is trained on, in pixels.
    fn window(&self) -> usize;
    /// Its parameters, in order.
    fn parameters(&self) -> &[Parameter];
    /// Starting values of every parameter, in order.
    fn initial_values(&self, seed: u64) -> Vec<Vec<f32>>;
    /// `x` (batch, window, window, 3), in units of [`UNIT`] and the mean subtracted, restored for `task`.
    fn forward(&self, weights: &Weights, x: &Tensor, task: usize) -> candle_core::Result<Output>;
    /// Writes model.safetensors and config.json to `dir`.
    fn save(&self, dir: &Path, name: &str, values: &[Vec<f32>]) -> Result<()>;
}

/// What a forward pass gives.
pub struct Output {
    /// Restored pixels, like the input: (batch, window·scale, window·scale, 3).
    pub pixels: Tensor,
    /// The body's tokens, which a contrastive loss compares: (batch·tokens, dim).
    pub features: Option<Tensor>,
}
