use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use clap::Args;

use super::architecture::is_restorer;
use super::convert::write_whole;
use crate::bench::{bench, bench_on_target, svg, BenchOptions, BenchReport, Unit};
use crate::engine::Engine;
use crate::inspect::{grouped, table};
use crate::target::{RunOptions, Target};

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// The .vtr file.
    model: PathBuf,
    /// Count instructions on this emulated target instead of timing this machine.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["threads", "runs", "warm_up"])]
    target: Option<Target>,
    /// Longest time for a target, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, requires = "target")]
    timeout: u64,
    /// Threads; 0 takes all cores.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Runs to count; times are their medians.
    #[arg(long, default_value_t = 50)]
    runs: usize,
    /// Runs before those.
    #[arg(long, default_value_t = 5)]
    warm_up: usize,
    /// Show every block, not their sums.
    #[arg(long)]
    layers: bool,
    /// Compare with an earlier result, as --output wrote it.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Also write the result as JSON.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also draw the stages as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl BenchArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        ensure!(
            !is_restorer(&self.model)?,
            "{} is a restorer; bench takes classifiers",
            self.model.display()
        );
        let engine = Engine::load(&self.model)?;
        let c = engine.config();
        // Time does not depend on the pixels.
        let pixels: Vec<u8> =
            (0..c.image_height * c.image_width * c.channels).map(|i| (i * 31 % 251) as u8).collect();
        let before = self.compare.as_ref().map(|path| {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
            serde_json::from_str::<BenchReport>(&text?)
                .with_context(|| format!("{} is no result of `vitreous bench`", path.display()))
        });
        let before = before.transpose()?;
        let report = match self.target {
            Some(target) => {
                let timeout = std::time::Duration::from_secs(self.timeout);
                bench_on_target(&engine, target, pixels, RunOptions { timeout, ..RunOptions::default() })?
            }
            None => {
                let (threads, runs, warm_up) = (self.threads, self.runs, self.warm_up);
                bench(&engine, &pixels, BenchOptions { threads, runs, warm_up })?
            }
        };
        if let Some(before) = &before {
            let comparable = (before.unit, &before.target) == (report.unit, &report.target);
            ensure!(comparable, "the earlier result is of another machine: nothing to compare");
        }
        if let Some(path) = &self.output {
            write_whole(path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        }
        if let Some(path) = &self.svg {
            let rows: Vec<_> =
                sums(&report, self.layers).into_iter().map(|(name, sum)| (name, sum.cost)).collect();
            write_whole(path, svg(&title(&report), report.unit, &rows)?.as_bytes())?;
        }
        super::print(json, &report, |report| render(report, before.as_ref(), self.layers))
    }
}

/// Cost and multiply-accumulates of a row of the table.
#[derive(Clone, Copy, Default)]
struct Sum {
    cost: f64,
    macs: u64,
}

/// Rows by name, in the report's order: every block's, or their sums.
fn sums(report: &BenchReport, layers: bool) -> Vec<(String, Sum)> {
    let mut rows: Vec<(String, Sum)> = Vec::new();
    for stage in &report.stages {
        let name = match stage.layer {
            Some(layer) if layers => format!("{layer} {}", stage.stage),
            _ => stage.stage.clone(),
        };
        let at = rows.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            rows.push((name, Sum::default()));
            rows.len() - 1
        });
        rows[at].1.cost += stage.median;
        rows[at].1.macs += stage.macs;
    }
    rows
}

fn render(report: &BenchReport, before: Option<&BenchReport>, layers: bool) -> String {
    let mut header = match report.unit {
        Unit::Milliseconds => vec!["stage", "ms", "share", "MACs", "GMAC/s"],
        Unit::MillionInstructions => vec!["stage", "M instr.", "share", "MACs", "instr./MAC"],
    };
    header.extend(before.map(|_| "before / now"));
    let mut rows = table(&header, 1);
    let old: Vec<_> = before.map(|before| sums(before, layers)).unwrap_or_default();
    let parts = sums(report, layers);
    let all: f64 = parts.iter().map(|(_, sum)| sum.cost).sum();
    for (name, Sum { cost, macs }) in &parts {
        let mut row = vec![
            name.clone(),
            format!("{cost:.3}"),
            format!("{:.1} %", 100.0 * cost / all),
            grouped(*macs),
            if *macs == 0 { String::new() } else { rate(report.unit, *cost, *macs) },
        ];
        if before.is_some() {
            let ratio = old.iter().find(|(known, _)| known == name).map(|(_, sum)| sum.cost / cost);
            row.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        rows.add_row(row);
    }
    format!("{rows}\n{}", summary(report, before))
}

/// GMAC/s, or instructions per multiply-accumulate.
fn rate(unit: Unit, cost: f64, macs: u64) -> String {
    match unit {
        Unit::Milliseconds => format!("{:.1}", macs as f64 / (cost * 1e6)),
        Unit::MillionInstructions => format!("{:.3}", cost * 1e6 / macs as f64),
    }
}

/// Model, machine and cost of a run.
fn title(r: &BenchReport) -> String {
    match r.unit {
        Unit::Milliseconds => format!(
            "{} on {}, {} thread{}: {:.3} ms",
            r.model,
            r.kernels,
            r.threads,
            if r.threads == 1 { "" } else { "s" },
            r.median
        ),
        Unit::MillionInstructions => {
            let target = r.target.as_deref().unwrap_or_default();
            format!("{} on {target}, kernels {}: {:.3} million instructions", r.model, r.kernels, r.median)
        }
    }
}

/// The whole run, and the roofline.
fn summary(r: &BenchReport, before: Option<&BenchReport>) -> String {
    let (macs, rate) = (grouped(r.macs), rate(r.unit, r.median, r.macs));
    let mut text = title(r);
    text += &match r.unit {
        Unit::Milliseconds => {
            format!(" (median of {}; least {:.3}), {macs} MACs, {rate} GMAC/s", r.runs, r.least)
        }
        Unit::MillionInstructions => format!(", {macs} MACs, {rate} per MAC"),
    };
    if let (Some(peak), Some(fraction)) = (r.peak_gmacs, r.peak_fraction) {
        text +=
            &format!("\npeak of a core in registers: {peak:.1} GMAC/s; reached {:.1} %", 100.0 * fraction);
    }
    text += &format!(
        "\nweights {} bytes, arena {} bytes",
        grouped(r.model_bytes as u64),
        grouped(r.arena_bytes as u64)
    );
    if let Some(stack) = r.stack_bytes {
        text += &format!(", stack {} bytes", grouped(stack as u64));
    }
    if let Some(before) = before {
        text += &format!("\nbefore: {}; {:.2} times that speed now", title(before), before.median / r.median);
    }
    text
}
