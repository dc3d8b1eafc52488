//! What a model needs: flash, memory over time, multiplications. All of it from the file, before anything
//! runs.

mod ipt;
mod ipt_layers;
mod layer;
mod place;
mod stages;
mod summary;
mod table;
mod vit;
mod vit_layers;

pub use ipt::{example_windows, inspect_restorer};
pub use ipt_layers::restorer_layers;
pub use layer::Layer;
pub use place::Place;
pub use stages::{of_all_heads, work, Work};
pub use summary::{Architecture, Inspection, IptSummary, PlannedRegion, TaskSummary, VitSummary};
pub use table::render;
pub use vit::inspect_classifier;
pub use vit_layers::classifier_layers;

use anyhow::Result;
use vitreous::models::ipt::Task;

use crate::converted::{refuse_task, ConvertedModel};

/// Inspects a model with the memory plan for `tile_rows` rows per tile; `task` is the one of a restorer whose
/// layers and plan are shown, if not the one that needs the most arena.
///
/// # Errors
/// A task that the model does not have; a tile height that the engine refuses.
pub fn inspect(model: &ConvertedModel, task: Option<&Task>, tile_rows: usize) -> Result<Inspection> {
    match model {
        ConvertedModel::Classifier(engine) => {
            refuse_task(engine, task)?;
            inspect_classifier(engine, tile_rows)
        }
        ConvertedModel::Restorer(restorer) => inspect_restorer(restorer, task, tile_rows),
    }
}
