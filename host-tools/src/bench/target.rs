//! The same on an emulated target: executed instructions.

use anyhow::{Context, Result};
use vitreous::{Model, Stage};
use vitreous_protocol::StageKind;

use super::report::{BenchReport, Unit};
use super::subject::{RunWork, Subject};
use crate::target::{repacked_for, RunOptions, Target, TargetCost};

/// Counts the instructions of one run on a target; they are the same in every run. A window is run as an
/// image of its size.
///
/// # Errors
/// As [`run_on_target`](crate::target::run_on_target) and
/// [`restore_on_target`](crate::target::restore_on_target).
pub fn bench_on_target(subject: Subject, target: Target, options: RunOptions) -> Result<BenchReport> {
    let (cost, arena_bytes) = subject.run_on(target, options)?;
    // The model as the target's kernels read it.
    let packed = repacked_for(target.board(), subject.file().bytes());
    let bytes = packed.as_ref().map_or(subject.file().bytes(), |packed| packed.as_slice());
    let work = subject.work(&Model::parse_without_checksums(bytes)?)?;
    report(&work, target, &cost, [bytes.len(), arena_bytes])
}

fn report(
    work: &RunWork,
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
        model: work.name.clone(),
        window: work.window.clone(),
        target: Some(target.name().to_owned()),
        kernels: target.board().kernels.to_owned(),
        unit: Unit::MillionInstructions,
        threads: 1,
        runs: 1,
        median: instructions,
        least: instructions,
        macs: work.macs(),
        peak_gmacs: None,
        peak_fraction: None,
        model_bytes,
        weight_bytes: work.weight_bytes(),
        arena_bytes,
        stack_bytes: Some(cost.total_stack_bytes as usize),
        stages: work.costs(stages.collect()),
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
        StageKind::KeysValues => Stage::KeysValues { layer, head: 0 },
        StageKind::Attention => Stage::Attention { layer, head: 0 },
        StageKind::Mlp => Stage::Mlp { layer },
        StageKind::Head => Stage::Head,
        StageKind::Conv => Stage::Conv { part: layer },
        StageKind::Encode => Stage::Encode,
        StageKind::Memory => Stage::Memory,
        StageKind::CrossNorm => Stage::CrossNorm { layer },
        StageKind::CrossKeysValues => Stage::CrossKeysValues { layer, head: 0 },
        StageKind::CrossAttention => Stage::CrossAttention { layer, head: 0 },
        StageKind::Decode => Stage::Decode,
        StageKind::Tail => Stage::Tail,
    }
}
