//! What must hold inside of a restorer's configuration.
use super::super::CheckpointError;
use std::path::Path;
use vitreous::models::ipt::{IptConfig, TaskKind};

/// Larger sizes than these are no model's; with them no product of sizes overflows.
const MAX_SIDE: usize = 4096;
const MAX_FEATURES: usize = 4096;
const MAX_HIDDEN: usize = 1 << 20;
const MAX_LAYERS: usize = 1024;

/// Checks every relation inside of a configuration.
pub fn validate_ipt_config(path: &Path, c: &IptConfig) -> Result<(), CheckpointError> {
    let fail = |what: String, way_out: &str| {
        Err(CheckpointError::Config { path: path.to_path_buf(), what, way_out: way_out.into() })
    };
    let sizes = [
        ("features", c.features, MAX_FEATURES),
        ("window", c.window, MAX_SIDE),
        ("patch", c.patch, MAX_SIDE),
        ("heads", c.heads, MAX_HIDDEN),
        ("hidden", c.hidden, MAX_HIDDEN),
        ("head_hidden", c.head_hidden, MAX_HIDDEN),
        ("encoder_layers", c.encoder_layers, MAX_LAYERS),
        ("decoder_layers", c.decoder_layers, MAX_LAYERS),
    ];
    if let Some((name, size, most)) = sizes.into_iter().find(|(_, size, most)| !(1..=*most).contains(size)) {
        return fail(format!("{name} is {size}, expected 1 to {most}"), "check config.json and the options");
    }
    if !c.window.is_multiple_of(c.patch) {
        let what = format!("a window of {0}×{0} is no whole number of {1}×{1} patches", c.window, c.patch);
        return fail(what, "window must be a multiple of patch");
    }
    if !c.dim().is_multiple_of(c.heads) {
        let what = format!("the token width {} is no multiple of {} heads", c.dim(), c.heads);
        return fail(what, "pass the right --heads");
    }
    if !(c.norm_eps.is_finite() && c.norm_eps >= 0.0) {
        return fail(format!("layer norm's epsilon is {}", c.norm_eps), "pass --norm-eps");
    }
    validate_tasks(c).or_else(|what| fail(what, "check `tasks` in config.json, or pass --tasks"))
}

fn validate_tasks(c: &IptConfig) -> Result<(), String> {
    if c.tasks.is_empty() {
        return Err("there are no tasks".into());
    }
    for (index, task) in c.tasks.iter().enumerate() {
        if c.tasks[..index].contains(task) {
            return Err(format!("task {task} is there twice"));
        }
        let valid = match task.kind {
            TaskKind::Denoise => task.scale == 1 && (1..=255).contains(&task.strength),
            TaskKind::SuperResolve => (2..=4).contains(&task.scale) && task.strength == 0,
            TaskKind::Derain => task.scale == 1 && task.strength == 0,
            TaskKind::Jpeg => task.scale == 1 && (1..=100).contains(&task.strength),
        };
        if !valid {
            return Err(format!("task {index} cannot be: {task:?}"));
        }
    }
    Ok(())
}
