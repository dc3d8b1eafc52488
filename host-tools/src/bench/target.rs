//! The same on an emulated target: executed instructions.

use anyhow::{Context, Result};
use vitreous_protocol::StageKind;

use super::{stage_macs, BenchReport, StageCost, Unit};
use crate::engine::Engine;
use crate::target::{run_on_target, RunOptions, Target};

/// Counts the instructions of one image on a target; they are the same in every run.
///
/// # Errors
/// As [`run_on_target`].
pub fn bench_on_target(
    engine: &Engine,
    target: Target,
    pixels: Vec<u8>,
    options: RunOptions<'_>,
) -> Result<BenchReport> {
    let run = run_on_target(target, engine.path(), &[pixels], options)?;
    let result = run.results.first().context("the target gave no result")?;
    let instructions = result.cost.instructions.context("instructions were not counted")?;
    let stages: Vec<StageCost> = result
        .cost
        .stages
        .iter()
        .map(|count| {
            let (stage, in_block) = name(count.kind);
            StageCost {
                stage: stage.to_owned(),
                layer: in_block.then_some(count.layer),
                median: millions(count.instructions.unwrap_or(0)),
                macs: stage_macs(engine.config(), stage),
            }
        })
        .collect();
    Ok(BenchReport {
        model: engine.with_vit(|vit| vit.model().name().to_owned())?,
        target: Some(target.name().to_owned()),
        kernels: target.board().kernels.to_owned(),
        unit: Unit::MillionInstructions,
        threads: 1,
        runs: 1,
        median: millions(instructions),
        least: millions(instructions),
        macs: stages.iter().map(|stage| stage.macs).sum(),
        peak_gmacs: None,
        peak_fraction: None,
        model_bytes: engine.bytes().len(),
        arena_bytes: run.arena_bytes as usize,
        stack_bytes: Some(result.cost.total_stack_bytes as usize),
        stages,
    })
}

fn millions(instructions: u64) -> f64 {
    instructions as f64 / 1e6
}

/// Name of a classifier's stage, and whether each block has one.
fn name(kind: StageKind) -> (&'static str, bool) {
    match kind {
        StageKind::Embed => ("embed", false),
        StageKind::Norm => ("norm", true),
        StageKind::Project => ("project", true),
        StageKind::Attention => ("attention", true),
        StageKind::Mlp => ("mlp", true),
        StageKind::Head => ("head", false),
        // Stages of restorers, which this bench does not run.
        _ => ("other", false),
    }
}
