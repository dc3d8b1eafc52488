//! What each stage of a model costs: time on this machine, against what its integer units could do, or instructions on a target.

mod chart;
mod target;

pub use chart::svg;
pub use target::bench_on_target;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use vitreous::kernels::{Kernels, Peak};
use vitreous::models::vit::VitConfig;
use vitreous::Stage;

use crate::engine::Engine;
use crate::pool::Pool;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Threads.
    pub threads: usize,
    /// Runs that are counted.
    pub runs: usize,
    /// Runs before them.
    pub warm_up: usize,
}

/// What a run's cost is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds of this machine's time.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Millions of executed instructions.
    #[serde(rename = "million instructions")]
    MillionInstructions,
}

/// A model on a kernel table of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchReport {
    /// The model's name.
    pub model: String,
    /// The emulated board; none for this machine.
    pub target: Option<String>,
    /// Kernel table.
    pub kernels: String,
    /// What costs are counted in.
    pub unit: Unit,
    /// Threads.
    pub threads: usize,
    /// Runs counted.
    pub runs: usize,
    /// Median cost of a run.
    pub median: f64,
    /// Least cost of a run.
    pub least: f64,
    /// Multiply-accumulates of a run.
    pub macs: u64,
    /// Most int8 multiply-accumulates per second that one core does in registers, in thousand millions, measured between the
    /// runs; none for tables without vector instructions of their own.
    pub peak_gmacs: Option<f64>,
    /// Part of that peak, over all threads, that the median run reaches.
    pub peak_fraction: Option<f64>,
    /// Bytes of the model as runs read it.
    pub model_bytes: usize,
    /// Bytes of arena with these kernels and threads.
    pub arena_bytes: usize,
    /// Bytes of stack, where it was measured.
    pub stack_bytes: Option<usize>,
    /// Median cost of each stage of each layer, heads added up.
    pub stages: Vec<StageCost>,
}

/// A stage of a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageCost {
    /// `embed`, `norm`, `project`, `attention`, `mlp` or `head`.
    pub stage: String,
    /// Block; none outside of the blocks.
    pub layer: Option<u16>,
    /// Median cost.
    pub median: f64,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// Times runs of one image.
///
/// # Errors
/// No threads to be had, or an image of the wrong size.
pub fn bench(engine: &Engine, pixels: &[u8], options: BenchOptions) -> Result<BenchReport> {
    let pool = Pool::new(options.threads)?;
    let pool = Some(&pool).filter(|_| options.threads != 1);
    let mut session = engine.session_on(pool)?;
    for _ in 0..options.warm_up {
        session.run(pixels, false)?;
    }
    let (mut totals, mut profiles, mut peak) = (Vec::new(), Vec::new(), 0.0f64);
    for _ in 0..options.runs.max(1) {
        let start = Instant::now();
        session.run(pixels, false)?;
        totals.push(milliseconds(start.elapsed()));
        profiles.push(by_layer(&session.profile(pixels)?));
        peak = peak.max(measure_peak(engine.kernels()).unwrap_or(0.0));
    }
    let least = totals.iter().copied().fold(f64::MAX, f64::min);
    let median = median(&mut totals);
    let stages = merge(engine.config(), &profiles);
    let macs: u64 = stages.iter().map(|stage| stage.macs).sum();
    let peak_gmacs = Some(peak).filter(|peak| *peak > 0.0);
    let all_threads = session.workers() as f64;
    Ok(BenchReport {
        model: engine.with_vit(|vit| vit.model().name().to_owned())?,
        target: None,
        kernels: engine.kernels().spec.name.into(),
        unit: Unit::Milliseconds,
        threads: session.workers(),
        runs: options.runs,
        median,
        least,
        macs,
        peak_gmacs,
        peak_fraction: peak_gmacs.map(|peak| macs as f64 / (median * 1e6) / (peak * all_threads)),
        model_bytes: engine.run_bytes().len(),
        arena_bytes: session.arena_bytes(),
        stack_bytes: None,
        stages,
    })
}

/// Thousand millions of multiply-accumulates per second in registers, on this thread.
pub fn measure_peak(kernels: &Kernels) -> Option<f64> {
    let Peak { macs, run } = kernels.peak?;
    let iterations = 40_000;
    let start = Instant::now();
    std::hint::black_box(run(iterations));
    Some((macs * iterations) as f64 / start.elapsed().as_secs_f64() / 1e9)
}

/// Name and block of a stage.
fn key(stage: Stage) -> (&'static str, Option<u16>) {
    match stage {
        Stage::Embed => ("embed", None),
        Stage::Norm { layer } => ("norm", Some(layer)),
        Stage::Project { layer, .. } => ("project", Some(layer)),
        Stage::Attention { layer, .. } => ("attention", Some(layer)),
        Stage::Mlp { layer } => ("mlp", Some(layer)),
        Stage::Head => ("head", None),
        // Stages of restorers, which this bench does not run.
        _ => ("other", None),
    }
}

type Profile = Vec<((&'static str, Option<u16>), Duration)>;

/// Adds up the steps of a run by stage and layer, in the order of their first step.
fn by_layer(steps: &[(Stage, Duration)]) -> Profile {
    let mut sums: Profile = Vec::new();
    for &(stage, time) in steps {
        match sums.iter_mut().rev().take(4).find(|(known, _)| *known == key(stage)) {
            Some((_, sum)) => *sum += time,
            None => sums.push((key(stage), time)),
        }
    }
    sums
}

fn merge(config: &VitConfig, profiles: &[Profile]) -> Vec<StageCost> {
    let Some(first) = profiles.first() else { return Vec::new() };
    let stages = first.iter().enumerate().map(|(index, ((stage, layer), _))| {
        let mut times: Vec<f64> =
            profiles.iter().filter_map(|profile| profile.get(index)).map(|(_, t)| milliseconds(*t)).collect();
        let (stage, median) = ((*stage).to_owned(), median(&mut times));
        StageCost { macs: stage_macs(config, &stage), stage, layer: *layer, median }
    });
    stages.collect()
}

/// Multiply-accumulates of a stage of one layer, all heads and tokens.
fn stage_macs(c: &VitConfig, stage: &str) -> u64 {
    let [tokens, dim, hidden, classes] = [c.tokens(), c.dim, c.hidden, c.classes].map(|n| n as u64);
    match stage {
        "embed" => (c.patches() * c.patch_bytes()) as u64 * dim,
        "project" => 2 * tokens * dim * dim,
        "attention" => 2 * tokens * dim * dim + 2 * tokens * tokens * dim,
        "mlp" => 2 * tokens * dim * hidden,
        "head" => dim * classes * if c.head == vitreous::models::vit::Head::Distilled { 2 } else { 1 },
        _ => 0,
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_all_heads_and_tiles_of_a_layer_add_up() {
        let ms = Duration::from_millis;
        let layer = |layer| Stage::Norm { layer };
        let head = |head| Stage::Project { layer: 1, head };
        let steps =
            [(layer(0), ms(1)), (layer(1), ms(2)), (head(0), ms(3)), (head(1), ms(4)), (head(1), ms(5))];
        let sums = by_layer(&steps);
        let want = [(("norm", Some(0)), ms(1)), (("norm", Some(1)), ms(2)), (("project", Some(1)), ms(12))];
        assert_eq!(sums, want);
    }
}
