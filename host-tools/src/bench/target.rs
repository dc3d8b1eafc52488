//! The same on an emulated target: executed instructions.

use anyhow::{Context, Result};
use vitreous::models::ipt::{Ipt, COLOURS};
use vitreous::models::vit::Vit;
use vitreous::{Model, Stage};
use vitreous_protocol::StageKind;

use super::report::{BenchReport, Unit};
use super::subject::Subject;
use crate::degrade::Picture;
use crate::engine::Engine;
use crate::restorer::Restorer;
use crate::target::{repacked_for, restore_on_target, run_on_target, RunOptions, Target, TargetCost};

/// Counts the instructions of one image on a target; they are the same in every run.
///
/// # Errors
/// As [`run_on_target`].
pub fn bench_on_target(engine: &Engine, target: Target, options: RunOptions<'_>) -> Result<BenchReport> {
    let c = engine.config();
    let pixels = super::pixels(c.image_height * c.image_width * c.channels);
    let run = run_on_target(target, engine.path(), &[pixels], options)?;
    let result = run.results.first().context("the target gave no result")?;
    on_weights_of(target, engine.bytes(), |model, bytes| {
        let subject = Subject::classifier(&Vit::new(model)?);
        report(&subject, target, &result.cost, [bytes, run.arena_bytes as usize])
    })
}

/// Counts the instructions of one image of a window's size on a target; `task` is an index into the model's
/// tasks.
///
/// # Errors
/// As [`restore_on_target`].
pub fn bench_restorer_on_target(
    restorer: &Restorer,
    target: Target,
    task: usize,
    options: RunOptions<'_>,
) -> Result<BenchReport> {
    let side = restorer.config().window;
    let image = Picture { width: side, height: side, data: super::pixels(side * side * COLOURS) };
    let run = restore_on_target(target, restorer.path(), task, &[image], None, options)?;
    let result = run.results.first().context("the target gave no result")?;
    on_weights_of(target, restorer.bytes(), |model, bytes| {
        let subject = Subject::restorer(&Ipt::new(model)?, task);
        report(&subject, target, &result.cost, [bytes, run.arena_bytes as usize])
    })
}

/// Calls `f` with the model as the target's kernels read it, and its length.
fn on_weights_of<T>(target: Target, bytes: &[u8], f: impl FnOnce(&Model, usize) -> Result<T>) -> Result<T> {
    let packed = repacked_for(target.board(), bytes);
    let bytes = packed.as_ref().map_or(bytes, |packed| packed.as_slice());
    f(&Model::parse_without_checksums(bytes)?, bytes.len())
}

fn report(
    subject: &Subject,
    target: Target,
    cost: &TargetCost,
    [model_bytes, arena_bytes]: [usize; 2],
) -> Result<BenchReport> {
    let instructions = millions(cost.instructions.context("instructions were not counted")?);
    let stages = cost
        .stages
        .iter()
        .map(|count| (stage(count.kind, count.layer), millions(count.instructions.unwrap_or(0))));
    Ok(BenchReport {
        model: subject.name.clone(),
        window: subject.window.clone(),
        target: Some(target.name().to_owned()),
        kernels: target.board().kernels.to_owned(),
        unit: Unit::MillionInstructions,
        threads: 1,
        runs: 1,
        median: instructions,
        least: instructions,
        macs: subject.macs(),
        peak_gmacs: None,
        peak_fraction: None,
        model_bytes,
        weight_bytes: subject.weight_bytes(),
        arena_bytes,
        stack_bytes: Some(cost.total_stack_bytes as usize),
        stages: subject.costs(stages.collect()),
    })
}

fn millions(instructions: u64) -> f64 {
    instructions as f64 / 1e6
}

/// The engine's stage of what a target counts, all heads as the first.
fn stage(kind: StageKind, layer: u16) -> Stage {
    match kind {
        StageKind::Embed => Stage::Embed,
        StageKind::Norm => Stage::Norm { layer },
        StageKind::Project => Stage::Project { layer, head: 0 },
        StageKind::Attention => Stage::Attention { layer, head: 0 },
        StageKind::Mlp => Stage::Mlp { layer },
        StageKind::Head => Stage::Head,
        StageKind::Conv => Stage::Conv { part: layer },
        StageKind::Encode => Stage::Encode,
        StageKind::Memory => Stage::Memory,
        StageKind::CrossNorm => Stage::CrossNorm { layer },
        StageKind::CrossProject => Stage::CrossProject { layer, head: 0 },
        StageKind::CrossAttention => Stage::CrossAttention { layer, head: 0 },
        StageKind::Decode => Stage::Decode,
        StageKind::Tail => Stage::Tail,
    }
}
