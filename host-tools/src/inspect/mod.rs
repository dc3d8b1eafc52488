//! What a model needs: flash, memory over time, multiplications. All of it from the file, before anything
//! runs.

mod ipt;
mod ipt_layers;
mod layers;
mod stages;
mod table;
mod vit;

pub use ipt::{example_windows, inspect_restorer, IptSummary, TaskSummary};
pub use ipt_layers::restorer_layers;
pub use layers::{layers, Layer};
pub use stages::{of_all_heads, work, Place, Work};
pub use table::render;
pub(crate) use table::{grouped, table};
pub use vit::{inspect, VitSummary};

use crate::checkpoint::Settings;
use serde::Serialize;
use vitreous::tensor::Precision;
use vitreous::Plan;

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

/// `int8` or `f16`.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Int8 => "int8",
        Precision::F16 => "f16",
    }
}
