//! Inspection of a classifier.

use anyhow::Result;
use vitreous::kernels::TableSpec;
use vitreous::models::vit::{Output, Vit};

use super::summary::{Architecture, Inspection, Particulars, VitSummary};
use super::vit_layers::classifier_layers;
use crate::checkpoint::{activation_name, crop_name, filter_name, pool_name};
use crate::engine::Engine;

/// Names of the phases of a ViT's memory plan, by number.
const PHASES: [&str; 5] = ["embed", "norm", "attention", "mlp", "head"];

/// Inspects a model with the memory plan for `tile_rows` rows per tile.
///
/// # Errors
/// A tile height that the engine refuses.
pub fn inspect_classifier(engine: &Engine, tile_rows: usize) -> Result<Inspection> {
    engine.with_vit(|vit| inspect_vit(engine, vit, tile_rows))?
}

fn inspect_vit(engine: &Engine, vit: &Vit, tile_rows: usize) -> Result<Inspection> {
    let c = vit.config();
    let plan = vit.plan_for(tile_rows, TableSpec::of_layout(vit.model().layout()), 1)?;
    let layers = classifier_layers(vit);
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
    let particulars = Particulars {
        architecture: Architecture::Vit(summary),
        per: "image",
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        layers,
        plan: &plan,
        tile_rows,
        phases: &PHASES,
    };
    Inspection::new(engine.file(), particulars)
}
