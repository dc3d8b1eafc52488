//! What an inspection says.

use anyhow::Result;
use serde::Serialize;
use vitreous::Plan;

use super::layer::Layer;
use crate::checkpoint::Settings;
use crate::model_file::ModelFile;

/// Everything that `inspect` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The model's name.
    pub name: String,
    /// Its own version.
    pub model_version: u32,
    /// SHA-256 of the float weights, hexadecimal.
    pub source_sha256: String,
    /// What is particular to the architecture.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// What the weights do not say, and where each value comes from.
    pub settings: Settings,
    /// Weight layout as columns × inputs.
    pub layout: String,
    /// File length in bytes: what the model takes in flash.
    pub flash_bytes: usize,
    /// Parameters.
    pub parameters: u64,
    /// Multiply-accumulates of one image or window.
    pub macs: u64,
    /// What they are counted for: `image` or `window`.
    pub per: &'static str,
    /// Layers with their cost.
    pub layers: Vec<Layer>,
    /// Rows per tile of the plan.
    pub tile_rows: usize,
    /// Bytes of arena.
    pub arena_bytes: usize,
    /// The plan's regions.
    pub regions: Vec<PlannedRegion>,
    /// Most bytes in use in each phase.
    pub phase_bytes: Vec<(String, usize)>,
}

/// What is particular to an architecture.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "architecture", rename_all = "snake_case")]
pub enum Architecture {
    /// A classifier.
    Vit(VitSummary),
    /// A restorer.
    Ipt(IptSummary),
}

/// What is particular to a ViT.
#[derive(Clone, Debug, Serialize)]
pub struct VitSummary {
    /// `height × width × channels`.
    pub image: [usize; 3],
    /// `height × width` of a patch.
    pub patch: [usize; 2],
    /// Tokens, special ones included.
    pub tokens: usize,
    /// Embedding dimension.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads per block.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Classes; 0 without head.
    pub classes: usize,
    /// The MLP's nonlinearity.
    pub activation: String,
    /// How features are pooled.
    pub pool: String,
    /// What the outputs are shown as: `softmax`, `sigmoid`, `values`, or `features` of a model without head.
    pub output: &'static str,
    /// Resize filter, crop, mean, standard deviation.
    pub preprocess: String,
}

/// What is particular to an IPT.
#[derive(Clone, Debug, Serialize)]
pub struct IptSummary {
    /// Feature maps.
    pub features: usize,
    /// Side of the window in pixels.
    pub window: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Tokens of a window.
    pub tokens: usize,
    /// Width of a token.
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLPs.
    pub hidden: usize,
    /// Hidden width of the MLP behind the decoder.
    pub head_hidden: usize,
    /// Layers of encoder and decoder.
    pub layers: [usize; 2],
    /// The task that layers and plan are shown for.
    pub task: String,
    /// Every task.
    pub tasks: Vec<TaskSummary>,
    /// Least overlap of windows in pixels.
    pub overlap: usize,
}

/// A task of a restorer.
#[derive(Clone, Debug, Serialize)]
pub struct TaskSummary {
    /// Its name.
    pub task: String,
    /// Multiply-accumulates of one window.
    pub macs_per_window: u64,
    /// Bytes of arena.
    pub arena_bytes: usize,
    /// Bytes of row bands for an image of 320×240 pixels, beside the arena.
    pub band_bytes_320: usize,
    /// Windows of an image of 320×240 pixels.
    pub windows_320x240: usize,
}

/// A region of the plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedRegion {
    /// What it holds.
    pub name: String,
    /// Start in the arena.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// First phase in which it is alive.
    pub first_phase: u8,
    /// Last phase in which it is alive.
    pub last_phase: u8,
}

/// What an inspection says of one architecture.
pub(super) struct Particulars<'a> {
    pub architecture: Architecture,
    /// What multiplications are counted for: `image` or `window`.
    pub per: &'static str,
    pub layers: Vec<Layer>,
    /// Parameters of the whole model.
    pub parameters: u64,
    /// The plan for `tile_rows` rows per tile.
    pub plan: &'a Plan,
    pub tile_rows: usize,
    /// Names of the plan's phases, by number.
    pub phases: &'a [&'a str],
}

impl Inspection {
    /// # Errors
    /// A file whose settings are not UTF-8.
    pub(super) fn new(file: &ModelFile, particulars: Particulars) -> Result<Self> {
        let Particulars { architecture, per, layers, parameters, plan, tile_rows, phases } = particulars;
        let model = file.model()?;
        let (regions, phase_bytes) = planned(plan, phases);
        Ok(Self {
            name: model.name().into(),
            model_version: model.version(),
            source_sha256: hexadecimal(&model.source_sha256()),
            architecture,
            settings: file.settings()?,
            layout: format!("{}x{}", model.layout().nr, model.layout().kr),
            flash_bytes: file.bytes().len(),
            parameters,
            macs: layers.iter().map(|layer| layer.macs).sum(),
            per,
            layers,
            tile_rows,
            arena_bytes: plan.arena_bytes(),
            regions,
            phase_bytes,
        })
    }
}

/// The plan's regions that hold anything, and the most bytes in use in each of its phases.
fn planned(plan: &Plan, phases: &[&str]) -> (Vec<PlannedRegion>, Vec<(String, usize)>) {
    let regions: Vec<PlannedRegion> = plan
        .regions()
        .iter()
        .filter(|r| r.bytes > 0)
        .map(|r| PlannedRegion {
            name: r.name.into(),
            offset: r.offset,
            bytes: r.bytes,
            first_phase: r.first_phase,
            last_phase: r.last_phase,
        })
        .collect();
    let alive = |phase: u8| regions.iter().filter(move |r| r.first_phase <= phase && phase <= r.last_phase);
    let phase_bytes = (0u8..)
        .zip(phases)
        .map(|(phase, name)| (name.to_string(), alive(phase).map(|r| r.bytes).sum()))
        .collect();
    (regions, phase_bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
