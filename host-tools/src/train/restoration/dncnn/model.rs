//! Shape, starting values, forward pass and file of a DnCNN.

use super::super::network::{Network, Output, Parameter, UNIT};
use crate::output;
use crate::train::folder::MODEL_FILE;
use crate::train::parameter::ParameterSpec;
use crate::train::random::{purpose, stream, uniform};
use crate::train::weights::Weights;
use anyhow::{ensure, Result};
use candle_core::Tensor;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::path::Path;
use vitreous::models::ipt::{Task, COLOURS};

/// Side of every kernel.
const KERNEL: usize = 3;

/// A DnCNN's hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DnCnnConfig {
    /// Convolutions; 17 or 20 in the paper.
    pub depth: usize,
    /// Feature maps; 64 in the paper.
    pub width: usize,
    /// Side of the windows that it is trained on.
    pub window: usize,
    /// What it repairs; it cannot enlarge.
    pub task: Task,
}

/// A trainable DnCNN.
pub struct DnCnn {
    config: DnCnnConfig,
    parameters: Vec<Parameter>,
}

impl DnCnn {
    /// The network of this configuration.
    ///
    /// # Errors
    /// A shape that is none, or a task that enlarges.
    pub fn new(config: DnCnnConfig) -> Result<Self> {
        ensure!(config.depth >= 2, "--depth {}: expected at least 2", config.depth);
        ensure!(config.width >= 1, "--width 0: expected at least 1");
        ensure!(config.window >= 1, "--window 0: expected at least 1");
        ensure!(
            config.task.scale == 1,
            "--task {}: DnCNN cannot enlarge; give a task of scale 1",
            config.task
        );
        let mut parameters = Vec::new();
        for layer in 0..config.depth {
            let inputs = if layer == 0 { COLOURS } else { config.width };
            let outputs = if layer + 1 == config.depth { COLOURS } else { config.width };
            let name = layer_name(layer);
            let mut add = |name: String, shape: Vec<usize>, unit: f32| {
                let spec = ParameterSpec::new(name.clone(), shape);
                parameters.push(Parameter { spec, task: None, file_name: name, unit });
            };
            add(format!("{name}.weight"), vec![outputs, inputs, KERNEL, KERNEL], 1.0);
            // Inputs and outputs are pixels, and ReLU is homogeneous: biases scale with the unit.
            add(format!("{name}.bias"), vec![outputs], UNIT);
        }
        Ok(DnCnn { config, parameters })
    }
}

/// Convolutions and ReLUs are numbered together.
fn layer_name(layer: usize) -> String {
    format!("model.{}", 2 * layer)
}

impl Network for DnCnn {
    fn describe(&self) -> String {
        format!("DnCNN depth {} width {} window {}", self.config.depth, self.config.width, self.config.window)
    }

    fn tasks(&self) -> &[Task] {
        std::slice::from_ref(&self.config.task)
    }

    fn window(&self) -> usize {
        self.config.window
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// He and others (arXiv 1502.01852, eq. 10), but zero for the last convolution.
    fn initial_values(&self, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = stream(seed, purpose::WEIGHTS, 0, 0);
        let last = layer_name(self.config.depth - 1) + ".weight";
        let initial = |p: &Parameter| match p.spec.shape[..] {
            [_, inputs, ..] if p.spec.name != last => {
                let bound = (6.0 / (inputs * KERNEL * KERNEL) as f32).sqrt();
                uniform(p.spec.elements(), bound, &mut rng)
            }
            _ => vec![0.0; p.spec.elements()],
        };
        self.parameters.iter().map(initial).collect()
    }

    /// `x − network(x)` (residual learning, §3.2).
    fn forward(&self, weights: &Weights, x: &Tensor, _task: usize) -> candle_core::Result<Output> {
        let last = self.config.depth - 1;
        let mut map = x.clone();
        for layer in 0..last {
            map = weights.conv_relu(&map, &layer_name(layer))?;
        }
        let pixels = (x - weights.conv(&map, &layer_name(last))?)?;
        Ok(Output { pixels, features: None })
    }

    /// The file's network takes and gives pixels of 0..255 with `RGB_MEAN·255` subtracted.
    fn save(&self, dir: &Path, name: &str, values: &[Vec<f32>]) -> Result<()> {
        let scaled: Vec<Vec<f32>> = self
            .parameters
            .iter()
            .zip(values)
            .map(|(p, values)| values.iter().map(|v| v * p.unit).collect())
            .collect();
        let mut views = Vec::new();
        for (p, data) in self.parameters.iter().zip(&scaled) {
            let view = TensorView::new(Dtype::F32, p.spec.shape.clone(), bytemuck::cast_slice(data))?;
            views.push((p.file_name.clone(), view));
        }
        output::write(&dir.join(MODEL_FILE), safetensors::serialize(views, None)?)?;
        let c = &self.config;
        let shape = json!({ "depth": c.depth, "width": c.width, "task": c.task.to_string() });
        let config = json!({ "architecture": name, "vitreous_dncnn": shape });
        Ok(output::write(&dir.join("config.json"), serde_json::to_string_pretty(&config)? + "\n")?)
    }
}
