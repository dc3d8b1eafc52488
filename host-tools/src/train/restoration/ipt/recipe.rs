//! The shape of an IPT to train.

use crate::checkpoint::ipt::parse_task;
use anyhow::{anyhow, ensure, Result};
use serde::Serialize;
use std::path::Path;
use vitreous::models::ipt::{IptConfig, Task, MAX_TASKS};

/// Hyperparameters and tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IptRecipe {
    /// Feature maps.
    pub features: usize,
    /// Side of the window in pixels.
    pub window: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of the layers' MLPs.
    pub hidden: usize,
    /// Width of the hidden layer of the MLP behind the decoder.
    pub head_hidden: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Names of the tasks, in the order of heads, queries and tails.
    pub tasks: Vec<String>,
}

impl Default for IptRecipe {
    /// A restorer for microcontrollers: about 560 KiB in int8.
    fn default() -> Self {
        IptRecipe {
            features: 16,
            window: 32,
            patch: 2,
            heads: 4,
            hidden: 128,
            head_hidden: 128,
            encoder_layers: 3,
            decoder_layers: 2,
            tasks: ["denoise10", "denoise30", "denoise50", "denoise70", "x2"].map(str::to_owned).to_vec(),
        }
    }
}

impl IptRecipe {
    /// The model that this recipe trains.
    pub fn config(&self) -> Result<IptConfig> {
        ensure!(
            (1..=MAX_TASKS).contains(&self.tasks.len()),
            "--tasks: {} tasks, expected 1 to {MAX_TASKS}",
            self.tasks.len()
        );
        let mut tasks: Vec<Task> = Vec::new();
        for name in &self.tasks {
            let task = parse_task(name).map_err(|e| anyhow!("--tasks: {e}"))?;
            tasks.push(task);
        }
        let config = IptConfig {
            features: self.features,
            window: self.window,
            patch: self.patch,
            heads: self.heads,
            hidden: self.hidden,
            head_hidden: self.head_hidden,
            encoder_layers: self.encoder_layers,
            decoder_layers: self.decoder_layers,
            tasks: tasks.into_iter().collect(),
            norm_eps: 1e-5,
        };
        ensure!(self.features >= 3, "--features {}: expected at least 3, for the colours", self.features);
        crate::checkpoint::ipt::validate_ipt_config(Path::new("train ipt"), &config)?;
        Ok(config)
    }
}
