//! How long the steps of a run take.

use std::time::{Duration, Instant};

use vitreous::Stage;

/// Runs `run` to its end and times each step; `next` is the stage of the next one, if there is one.
///
/// # Errors
/// Those of `step`.
pub(crate) fn time_steps<R, E>(
    run: &mut R,
    next: impl Fn(&R) -> Option<Stage>,
    mut step: impl FnMut(&mut R) -> Result<(), E>,
) -> Result<Vec<(Stage, Duration)>, E> {
    let mut steps = Vec::new();
    let mut last = Instant::now();
    while let Some(stage) = next(run) {
        step(run)?;
        let now = Instant::now();
        steps.push((stage, now - last));
        last = now;
    }
    Ok(steps)
}
