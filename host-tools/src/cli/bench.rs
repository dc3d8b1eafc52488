use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use clap::Args;

use super::architecture::is_restorer;
use super::convert::write_whole;
use crate::bench::{bench, BenchOptions, BenchReport};
use crate::engine::Engine;
use crate::inspect::{grouped, table};

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// The .vtr file.
    model: PathBuf,
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
        let options = BenchOptions { threads: self.threads, runs: self.runs, warm_up: self.warm_up };
        let before = self.compare.as_ref().map(|path| {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
            serde_json::from_str::<BenchReport>(&text?)
                .with_context(|| format!("{} is no result of `vitreous bench`", path.display()))
        });
        let before = before.transpose()?;
        let report = bench(&engine, &pixels, options)?;
        if let Some(path) = &self.output {
            write_whole(path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        }
        super::print(json, &report, |report| render(report, before.as_ref(), self.layers))
    }
}

/// Time and multiply-accumulates of a row of the table.
#[derive(Clone, Copy, Default)]
struct Sum {
    ms: f64,
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
        rows[at].1.ms += stage.median_ms;
        rows[at].1.macs += stage.macs;
    }
    rows
}

fn render(report: &BenchReport, before: Option<&BenchReport>, layers: bool) -> String {
    let mut header = vec!["stage", "ms", "share", "MACs", "GMAC/s"];
    header.extend(before.map(|_| "before / now"));
    let mut rows = table(&header, 1);
    let old: Vec<_> = before.map(|before| sums(before, layers)).unwrap_or_default();
    let parts = sums(report, layers);
    let all: f64 = parts.iter().map(|(_, sum)| sum.ms).sum();
    for (name, Sum { ms, macs }) in &parts {
        let rate = if *macs == 0 { String::new() } else { format!("{:.1}", *macs as f64 / (ms * 1e6)) };
        let mut row = vec![
            name.clone(),
            format!("{ms:.3}"),
            format!("{:.1} %", 100.0 * ms / all),
            grouped(*macs),
            rate,
        ];
        if before.is_some() {
            let ratio = old.iter().find(|(known, _)| known == name).map(|(_, sum)| sum.ms / ms);
            row.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        rows.add_row(row);
    }
    format!("{rows}\n{}", summary(report, before))
}

/// The whole run, and the roofline.
fn summary(r: &BenchReport, before: Option<&BenchReport>) -> String {
    let rate = r.macs as f64 / (r.median_ms * 1e6);
    let mut text = format!(
        "{} on {}, {} thread{}: {:.3} ms (median of {}; least {:.3}), {} MACs, {rate:.1} GMAC/s",
        r.model,
        r.kernels,
        r.threads,
        if r.threads == 1 { "" } else { "s" },
        r.median_ms,
        r.runs,
        r.min_ms,
        grouped(r.macs)
    );
    if let (Some(peak), Some(fraction)) = (r.peak_gmacs, r.peak_fraction) {
        text +=
            &format!("\npeak of a core in registers: {peak:.1} GMAC/s; reached {:.1} %", 100.0 * fraction);
    }
    text += &format!(
        "\nweights {} bytes, arena {} bytes",
        grouped(r.model_bytes as u64),
        grouped(r.arena_bytes as u64)
    );
    if let Some(before) = before {
        text += &format!(
            "\nbefore: {:.3} ms on {}, {} threads; {:.2} times that speed now",
            before.median_ms,
            before.kernels,
            before.threads,
            before.median_ms / r.median_ms
        );
    }
    text
}
