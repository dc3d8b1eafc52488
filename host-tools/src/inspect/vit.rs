//! Inspection of a classifier.

use anyhow::Result;
use serde::Serialize;
use vitreous::kernels::TableSpec;
use vitreous::models::vit::{Output, Vit};

use super::{hexadecimal, layers, planned, Architecture, Inspection};
use crate::checkpoint::{activation_name, crop_name, filter_name, pool_name};
use crate::engine::Engine;

/// Names of the phases of a ViT's memory plan, by number.
const PHASES: [&str; 5] = ["embed", "norm", "attention", "mlp", "head"];

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

/// Inspects a model with the memory plan for `tile_rows` rows per tile.
///
/// # Errors
/// A tile height that the engine refuses.
pub fn inspect(engine: &Engine, tile_rows: usize) -> Result<Inspection> {
    engine.with_vit(|vit| inspect_vit(engine, vit, tile_rows))?
}

fn inspect_vit(engine: &Engine, vit: &Vit, tile_rows: usize) -> Result<Inspection> {
    let (c, model) = (vit.config(), vit.model());
    let plan = vit.plan_for(tile_rows, TableSpec::of_layout(vit.model().layout()), 1)?;
    let (regions, phase_bytes) = planned(&plan, &PHASES);
    let layers = layers(vit);
    let preprocess = engine.preprocess();
    let (mean, std) = (&preprocess.mean[..c.channels], &preprocess.std[..c.channels]);
    let summary = VitSummary {
        image: [c.image_height, c.image_width, c.channels],
        patch: [c.patch_height, c.patch_width],
        tokens: c.tokens(),
        dim: c.dim,
        depth: c.depth,
        heads: c.heads,
        hidden: c.hidden,
        classes: c.classes,
        activation: activation_name(c.activation).into(),
        pool: pool_name(c.pool).into(),
        output: match c.output {
            _ if c.classes == 0 => "features",
            Output::Softmax => "softmax",
            Output::Sigmoid => "sigmoid",
            Output::Values => "values",
        },
        preprocess: format!(
            "{} resize to {}, {} crop, mean {mean:?}, std {std:?}",
            filter_name(preprocess.filter),
            preprocess.resize,
            crop_name(preprocess.crop)
        ),
    };
    Ok(Inspection {
        name: model.name().into(),
        model_version: model.version(),
        source_sha256: hexadecimal(&model.source_sha256()),
        architecture: Architecture::Vit(summary),
        settings: engine.settings()?,
        layout: format!("{}x{}", model.layout().nr, model.layout().kr),
        flash_bytes: engine.bytes().len(),
        parameters: layers.iter().map(|l| l.parameters).sum(),
        macs: layers.iter().map(|l| l.macs).sum(),
        per: "image",
        layers,
        tile_rows,
        arena_bytes: plan.arena_bytes(),
        regions,
        phase_bytes,
    })
}
