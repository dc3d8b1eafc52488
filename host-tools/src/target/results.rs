//! What a run on a target gives.

use serde::Serialize;
use vitreous_protocol::StageKind;

use super::Target;
use crate::degrade::Picture;

/// All results of one start of the emulator; a result `R` is that of one image.
#[derive(Clone, Debug, Serialize)]
pub struct TargetRun<R = TargetResult> {
    /// Where it ran.
    pub target: Target,
    /// Arena of the memory plan, in bytes; the engine was given just this.
    pub arena_bytes: u32,
    /// Stack that loading the model took, in bytes.
    pub load_stack_bytes: u32,
    /// Instructions that loading the model took, if they were counted.
    pub load_instructions: Option<u64>,
    /// The application's statics, in bytes; the engine has none.
    pub static_bytes: u32,
    /// CRC-32 of the model's name.
    pub model_name: u32,
    /// Proof of the instruction counter, if instructions were counted.
    pub calibration: Option<Calibration>,
    /// Seconds of this machine's time for all of it.
    pub seconds: f64,
    /// One per image, in order.
    pub results: Vec<R>,
}

impl<R> TargetRun<R> {
    /// The same run with other results.
    pub(super) fn map<S>(self, f: impl FnMut(R) -> S) -> TargetRun<S> {
        TargetRun {
            target: self.target,
            arena_bytes: self.arena_bytes,
            load_stack_bytes: self.load_stack_bytes,
            load_instructions: self.load_instructions,
            static_bytes: self.static_bytes,
            model_name: self.model_name,
            calibration: self.calibration,
            seconds: self.seconds,
            results: self.results.into_iter().map(f).collect(),
        }
    }
}

/// A loop of known length, counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calibration {
    /// Instructions in the loop.
    pub expected: u64,
    /// Instructions counted, those of reading the counter included.
    pub counted: u64,
}

/// What the classification of one image gave and cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TargetResult {
    /// The classifier's output, bit for bit.
    pub logits: Vec<f32>,
    /// The pooled features, bit for bit; empty unless asked for.
    pub features: Vec<f32>,
    /// What it cost.
    #[serde(flatten)]
    pub cost: TargetCost,
}

/// What the restoration of one image gave and cost.
#[derive(Clone, Debug, Serialize)]
pub struct TargetRestored {
    /// The restored image.
    #[serde(skip)]
    pub image: Picture,
    /// Memory beside the arena.
    #[serde(flatten)]
    pub band: Band,
    /// What it cost.
    #[serde(flatten)]
    pub cost: TargetCost,
}

/// What one image cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TargetCost {
    /// Deepest stack of the engine's run, in bytes, by painting.
    pub stack_bytes: u32,
    /// Deepest stack in all, in bytes: the engine's view of the model and the application included.
    pub total_stack_bytes: u32,
    /// Bytes of the arena up to the last that was written.
    pub arena_touched: u32,
    /// Executed instructions, if they were counted; sending results is not.
    pub instructions: Option<u64>,
    /// Instructions by stage and layer, heads and windows summed, in the order stage, layer.
    pub stages: Vec<StageCount>,
}

/// One image as it came back: values or rows.
#[derive(Default)]
pub(super) struct Received {
    pub logits: Vec<f32>,
    pub features: Vec<f32>,
    pub pixels: Vec<u8>,
    pub band: Band,
    pub cost: TargetCost,
}

/// Memory for row bands beside the arena, and what sending the rows took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Band {
    /// Bytes of it; the engine was given just this.
    pub band_bytes: u32,
    /// Bytes of it up to the last that was written.
    pub band_touched: u32,
    /// Instructions that sending the rows took, if they were counted.
    pub send_instructions: Option<u64>,
}

/// Instructions of one stage of one layer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StageCount {
    /// The stage.
    pub kind: StageKind,
    /// The layer, or the part of a convolutional head; 0 where there are none.
    pub layer: u16,
    /// Calls of `step()`.
    pub tiles: u32,
    /// Executed instructions, if they were counted.
    pub instructions: Option<u64>,
}
