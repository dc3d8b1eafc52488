//! A report as text.

use super::report::{BenchReport, Row, Unit};
use crate::table::table;
use crate::text::{grouped, printable};

/// A run that takes so much more than its stages was interrupted.
const DISTURBED: f64 = 1.15;

/// The stages of every layer, or their sums, beside those of an earlier report; and the whole run with the
/// roofline.
pub fn render(report: &BenchReport, before: Option<&BenchReport>, layers: bool) -> String {
    let mut header = match report.unit {
        Unit::Milliseconds => vec!["stage", "ms", "share", "MACs", "bytes", "GMAC/s"],
        Unit::MillionInstructions => vec!["stage", "M instr.", "share", "MACs", "bytes", "instr./MAC"],
    };
    header.extend(before.map(|_| "before / now"));
    let mut lines = table(&header, 1);
    let old = before.map(|before| before.rows(layers)).unwrap_or_default();
    let rows = report.rows(layers);
    let all: f64 = rows.iter().map(|row| row.cost).sum();
    for Row { name, cost, macs, bytes } in &rows {
        let mut line = vec![
            name.clone(),
            format!("{cost:.3}"),
            format!("{:.1} %", 100.0 * cost / all),
            grouped(*macs),
            grouped(*bytes as u64),
            if *macs == 0 { String::new() } else { rate(report.unit, *cost, *macs) },
        ];
        if before.is_some() {
            let ratio = old.iter().find(|row| row.name == *name).map(|row| row.cost / cost);
            line.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        lines.add_row(line);
    }
    format!("{lines}\n{}", summary(report, before))
}

/// Model, machine and cost of a run, in one line.
pub fn title(report: &BenchReport) -> String {
    let BenchReport { kernels, threads, median, .. } = report;
    let model = printable(&report.model);
    let task = report.window.as_ref().map_or(String::new(), |window| format!(", {},", window.task));
    match report.unit {
        Unit::Milliseconds => {
            let plural = if *threads == 1 { "" } else { "s" };
            format!("{model}{task} on {kernels}, {threads} thread{plural}: {median:.3} ms")
        }
        Unit::MillionInstructions => {
            let target = report.target.as_deref().unwrap_or_default();
            format!("{model}{task} on {target}, kernels {kernels}: {median:.3} million instructions")
        }
    }
}

/// GMAC/s, or instructions per multiply-accumulate.
fn rate(unit: Unit, cost: f64, macs: u64) -> String {
    match unit {
        Unit::Milliseconds => format!("{:.1}", macs as f64 / (cost * 1e6)),
        Unit::MillionInstructions => format!("{:.3}", cost * 1e6 / macs as f64),
    }
}

fn summary(r: &BenchReport, before: Option<&BenchReport>) -> String {
    let (macs, rate) = (grouped(r.macs), rate(r.unit, r.median, r.macs));
    let mut text = title(r);
    text += &match r.unit {
        Unit::Milliseconds => {
            format!(" (median of {}; least {:.3}), {macs} MACs, {rate} GMAC/s", r.runs, r.least)
        }
        Unit::MillionInstructions => format!(", {macs} MACs, {rate} per MAC"),
    };
    if let Some(window) = &r.window {
        text += &format!(
            "\na run is one window of {0}×{0} pixels; an image of 320×240 takes {1} windows",
            window.side, window.windows_320x240
        );
    }
    let stages: f64 = r.stages.iter().map(|stage| stage.median).sum();
    if r.unit == Unit::Milliseconds && r.median > DISTURBED * stages {
        text += &format!(
            "\nthe stages' medians add up to {stages:.3} ms: the machine was not idle, which whole runs \
             feel most"
        );
    }
    text += &roofline(r);
    text += &format!(
        "\nmodel {} bytes, arena of this run {} bytes",
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

/// Both sides of the roofline: what the integer units could do, and what memory has to give.
fn roofline(r: &BenchReport) -> String {
    let mut text = String::new();
    if let (Some(peak), Some(fraction)) = (r.peak_gmacs, r.peak_fraction) {
        text +=
            &format!("\npeak of a core in registers: {peak:.1} GMAC/s; reached {:.1} %", 100.0 * fraction);
    }
    let intensity = r.macs as f64 / r.weight_bytes.max(1) as f64;
    text += &format!(
        "\na run needs {} bytes of weights: {intensity:.1} MACs per byte",
        grouped(r.weight_bytes as u64)
    );
    if r.unit == Unit::Milliseconds {
        let rate = r.weight_bytes as f64 / (r.median * 1e6);
        text += &format!(", {rate:.2} GB/s if memory gives each once a run");
    }
    text
}
