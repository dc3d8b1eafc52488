//! Inspection of a restorer.

use anyhow::Result;
use vitreous::kernels::TableSpec;
use vitreous::models::ipt::{Ipt, Task};
use vitreous::pipeline::{default_overlap, BandPlan, WindowGrid};

use super::ipt_layers::restorer_layers;
use super::summary::{Architecture, Inspection, IptSummary, Particulars, TaskSummary};
use crate::restorer::Restorer;

/// Names of the phases of an IPT's memory plan, by number. Convolutions come first, although the tail runs
/// last.
const PHASES: [&str; 5] = ["head", "tail", "norm", "attention", "mlp"];

/// Image size for which the memory of row bands is stated.
const EXAMPLE: (usize, usize) = (320, 240);

/// Inspects a restorer with the memory plan for `tile_rows` rows per tile; `task` is the one whose layers and
/// plan are shown, if not the one that needs the most arena.
///
/// # Errors
/// A task that the model does not have; a tile height that the engine refuses.
pub fn inspect_restorer(restorer: &Restorer, task: Option<&Task>, tile_rows: usize) -> Result<Inspection> {
    restorer.with_ipt(|ipt| inspect_ipt(restorer, ipt, task, tile_rows))?
}

/// Windows of a side of `window` pixels that an image of 320×240 pixels takes.
pub fn example_windows(window: usize) -> usize {
    let windows = |size| WindowGrid::new(size, window, default_overlap(window)).count();
    windows(EXAMPLE.0) * windows(EXAMPLE.1)
}

fn inspect_ipt(restorer: &Restorer, ipt: &Ipt, task: Option<&Task>, tile_rows: usize) -> Result<Inspection> {
    let c = ipt.config();
    let table = TableSpec::of_layout(ipt.model().layout());
    let overlap = default_overlap(c.window);
    let mut tasks = Vec::new();
    for (index, task) in c.tasks.iter().enumerate() {
        tasks.push(TaskSummary {
            task: task.to_string(),
            macs_per_window: restorer_layers(ipt, index).iter().map(|l| l.macs).sum(),
            arena_bytes: ipt.plan_for(index, tile_rows, table, 1)?.arena_bytes(),
            band_bytes_320: BandPlan::new(c.window, task.scale, EXAMPLE.0)?.bytes(),
            windows_320x240: example_windows(c.window),
        });
    }
    let largest = || (0..tasks.len()).max_by_key(|&i| (tasks[i].arena_bytes, usize::MAX - i)).unwrap_or(0);
    let shown = task.map(|task| restorer.task_index(task)).transpose()?.unwrap_or_else(largest);
    let plan = ipt.plan_for(shown, tile_rows, table, 1)?;
    let layers = restorer_layers(ipt, shown);
    // Parameters of all tasks: those of the body once, those of heads and tails each.
    let own = |index: usize| {
        restorer_layers(ipt, index).into_iter().filter(move |l| {
            l.name.contains(&format!(".{index}."))
                && (l.name.starts_with("head.") || l.name.starts_with("tail."))
        })
    };
    let shared: u64 =
        layers.iter().map(|l| l.parameters).sum::<u64>() - own(shown).map(|l| l.parameters).sum::<u64>();
    let parameters = shared + (0..tasks.len()).flat_map(own).map(|l| l.parameters).sum::<u64>();
    let summary = IptSummary {
        features: c.features,
        window: c.window,
        patch: c.patch,
        tokens: c.tokens(),
        dim: c.dim(),
        heads: c.heads,
        hidden: c.hidden,
        head_hidden: c.head_hidden,
        layers: [c.encoder_layers, c.decoder_layers],
        task: tasks[shown].task.clone(),
        tasks,
        overlap,
    };
    let particulars = Particulars {
        architecture: Architecture::Ipt(summary),
        per: "window",
        layers,
        parameters,
        plan: &plan,
        tile_rows,
        phases: &PHASES,
    };
    Inspection::new(restorer.file(), particulars)
}
