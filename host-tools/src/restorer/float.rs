//! The float reference over whole images, with the engine's windows.

use anyhow::Result;
use rayon::prelude::*;
use vitreous::models::ipt::{IptConfig, Task};
use vitreous::pipeline::default_overlap;

use super::blend::{restore_by_windows, Windows};
use crate::checkpoint::ipt::FloatIpt;
use crate::checkpoint::Settings;
use crate::degrade::Picture;
use crate::reference::ReferenceIpt;

/// Windows of one forward pass: few, so that their attention scores stay in the cache.
const BATCH: usize = 4;
/// Windows in memory at a time; their batches are computed in parallel.
const GROUP: usize = 128;

/// Float weights of an IPT, run over whole images.
pub struct FloatRestorer {
    name: String,
    settings: Settings,
    source_sha256: [u8; 32],
    reference: ReferenceIpt,
}

impl FloatRestorer {
    /// Takes over the weights of `model`.
    ///
    /// # Errors
    /// The framework's own.
    pub fn new(model: &FloatIpt) -> Result<Self> {
        let (name, settings) = (model.name.clone(), model.settings.clone());
        let source_sha256 = model.source_sha256;
        Ok(Self { name, settings, source_sha256, reference: ReferenceIpt::new(model)? })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the values come from that the weights do not say.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// SHA-256 of the file that the weights come from; zeros for weights from memory.
    pub fn source_sha256(&self) -> [u8; 32] {
        self.source_sha256
    }

    /// Hyperparameters.
    pub fn config(&self) -> &IptConfig {
        self.reference.config()
    }

    /// Restores one image in windows that lie and are blended as the engine's; `overlap` in pixels, the
    /// engine's default if `None`. `done` is called with the number of windows done and their number in all.
    ///
    /// # Errors
    /// No such task; an overlap of more than half a window; the framework's own.
    pub fn restore(
        &self,
        task: &Task,
        image: &Picture,
        overlap: Option<usize>,
        done: impl FnMut(usize, usize),
    ) -> Result<Picture> {
        let window = self.config().window;
        let overlap = overlap.unwrap_or(default_overlap(window));
        let windows = Windows { side: window, overlap, scale: task.scale, batch: GROUP };
        let restore = |windows: &[Picture]| {
            let restored: Result<Vec<Vec<f32>>> = windows
                .par_chunks(BATCH)
                .map(|windows| {
                    let pixels: Vec<u8> = windows.iter().flat_map(|w| w.data.iter().copied()).collect();
                    Ok(self.reference.restore(&pixels, task)?)
                })
                .collect();
            Ok(restored?.concat())
        };
        restore_by_windows(image, windows, restore, done)
    }
}
