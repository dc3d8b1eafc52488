//! What must hold inside of a restorer's configuration.
use crate::checkpoint::checks::check_eps;
use crate::checkpoint::error::CheckpointError;
use std::path::Path;
use vitreous::models::ipt::{IptConfig, TaskKind};

/// The format's bounds (docs/format.md).
const MAX_WINDOW: usize = 1024;
const MAX_PATCH: usize = 64;
const MAX_FEATURES: usize = 1024;
const MAX_HEADS: usize = 1024;
const MAX_HIDDEN: usize = 65_535;
const MAX_DIM: usize = 16_384;
const MAX_TOKENS: usize = 65_535;
const MAX_LAYERS: usize = 1024;

/// Checks every relation inside of a configuration.
pub fn validate_ipt_config(path: &Path, c: &IptConfig) -> Result<(), CheckpointError> {
    let fail = |what: String, way_out: &str| {
        Err(CheckpointError::Config { path: path.to_path_buf(), what, way_out: way_out.into() })
    };
    let sizes = [
        ("features", c.features, MAX_FEATURES),
        ("window", c.window, MAX_WINDOW),
        ("patch", c.patch, MAX_PATCH),
        ("heads", c.heads, MAX_HEADS),
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
    if c.tokens() > MAX_TOKENS {
        let side = c.window / c.patch;
        return fail(
            format!("a window of {side}×{side} patches is too large"),
            "there are at most 65,535 of them; pass a smaller --window",
        );
    }
    if c.dim() > MAX_DIM {
        let what = format!("tokens of {} features and {1}×{1} patches are too wide", c.features, c.patch);
        return fail(what, "their width is at most 16,384");
    }
    check_eps(path, c.norm_eps)?;
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
            let (scale, strength) = (task.scale, task.strength);
            return Err(format!(
                "task {index} cannot be: it has the scale {scale} and the strength {strength}"
            ));
        }
    }
    Ok(())
}
