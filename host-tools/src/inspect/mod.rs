//! What a model needs: flash, memory over time, multiplications. All of it from the file, before anything runs.

mod layers;
mod table;

pub use layers::{layers, Layer};
pub use table::render;
pub(crate) use table::{grouped, table};

use anyhow::Result;
use serde::Serialize;
use vitreous::models::vit::Vit;
use vitreous::tensor::Precision;

use crate::engine::Engine;

/// Names of the phases of a ViT's memory plan, by number.
pub const PHASES: [&str; 5] = ["embed", "norm", "attention", "mlp", "head"];

/// Everything that `inspect` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The model's name.
    pub name: String,
    /// Its own version.
    pub model_version: u32,
    /// SHA-256 of the float weights, hexadecimal.
    pub source_sha256: String,
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
    /// Resize filter, crop, mean, standard deviation.
    pub preprocess: String,
    /// Weight layout as columns × inputs.
    pub layout: String,
    /// File length in bytes: what the model takes in flash.
    pub flash_bytes: usize,
    /// Parameters.
    pub parameters: u64,
    /// Multiply-accumulates of one image.
    pub macs: u64,
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

/// Inspects a model with the memory plan for `tile_rows` rows per tile.
///
/// # Errors
/// A tile height that the engine refuses.
pub fn inspect(engine: &Engine, tile_rows: usize) -> Result<Inspection> {
    engine.with_vit(|vit| inspect_vit(engine, vit, tile_rows))?
}

fn inspect_vit(engine: &Engine, vit: &Vit, tile_rows: usize) -> Result<Inspection> {
    let (c, model) = (vit.config(), vit.model());
    let plan = vit.plan_with_tile_rows(tile_rows)?;
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
    let phase_bytes =
        (0u8..).zip(PHASES).map(|(phase, name)| (name.into(), alive(phase).map(|r| r.bytes).sum()));
    let layers = layers(vit);
    let preprocess = engine.preprocess();
    let (mean, std) = (&preprocess.mean[..c.channels], &preprocess.std[..c.channels]);
    Ok(Inspection {
        name: model.name().into(),
        model_version: model.version(),
        source_sha256: model.source_sha256().iter().map(|b| format!("{b:02x}")).collect(),
        image: [c.image_height, c.image_width, c.channels],
        patch: [c.patch_height, c.patch_width],
        tokens: c.tokens(),
        dim: c.dim,
        depth: c.depth,
        heads: c.heads,
        hidden: c.hidden,
        classes: c.classes,
        activation: format!("{:?}", c.activation),
        pool: format!("{:?}", c.pool),
        preprocess: format!(
            "{:?} resize to {}, {:?} crop, mean {mean:?}, std {std:?}",
            preprocess.filter, preprocess.resize, preprocess.crop
        ),
        layout: format!("{}x{}", model.layout().nr, model.layout().kr),
        flash_bytes: engine.bytes().len(),
        parameters: layers.iter().map(|l| l.parameters).sum(),
        macs: layers.iter().map(|l| l.macs).sum(),
        layers,
        tile_rows,
        arena_bytes: plan.arena_bytes(),
        phase_bytes: phase_bytes.collect(),
        regions,
    })
}

/// `int8` or `f16`.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Int8 => "int8",
        Precision::F16 => "f16",
    }
}
