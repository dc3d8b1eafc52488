//! The parity report as text.

use super::{Outputs, ParityReport, TargetParity, ANOTHER_NETWORK_DB};
use crate::table::table;
use crate::text::{counted, grouped, printable};
use crate::verdict::Verdict;

/// Whether the report passes, and what it does not judge.
pub(super) fn verdict(report: &ParityReport) -> Verdict {
    let least = format!("no limit was given; below {ANOTHER_NETWORK_DB} dB it would fail");
    let limits = if report.thresholds.given().next().is_some() { "" } else { &least };
    let saturation = report.saturation.as_ref().map(|_| "values saturate (see the warning)".to_owned());
    Verdict::new(&report.failures, Some(limits), &report.unjudged, saturation.as_slice())
}

/// What was compared, when, and within which limits: rows of two cells.
pub(super) fn circumstances(report: &ParityReport) -> Vec<Vec<String>> {
    let limits: Vec<String> =
        report.thresholds.given().map(|(option, value)| format!("{option} {value}")).collect();
    let limits = if limits.is_empty() { "none given".to_owned() } else { limits.join(", ") };
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let rows = [
        ("model", Some(report.model_file.clone())),
        ("float weights", report.reference_file.clone()),
        ("limits", Some(limits)),
        ("written", Some(now)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?])).collect()
}

/// The report, for a terminal.
pub fn render(report: &ParityReport) -> String {
    let mut text = format!(
        "parity of {} on {}: float reference against engine\n",
        printable(&report.model),
        counted(report.images, "image")
    );
    let mut stages = table(&["stage", "mean SQNR (dB)", "least (dB)"], 1);
    for stage in &report.stages {
        stages.add_row([
            stage.stage.clone(),
            format!("{:.2}", stage.mean_db),
            format!("{:.2}", stage.min_db),
        ]);
    }
    text += &stages.to_string();
    text += &format!(
        "\nstages on the first {}; output over all images: mean {:.2} dB, least {:.2} dB\n",
        counted(report.stage_images, "image"),
        report.output_sqnr_db,
        report.output_min_sqnr_db
    );
    if let Some(words) = outputs_in_words(report) {
        text += &format!("{words}\n");
    }
    if let Some(rows) = accuracy_rows(report) {
        let mut accuracy = table(&ACCURACY_COLUMNS, 1);
        accuracy.add_rows(rows);
        text += &format!("{accuracy}\n");
    }
    if !report.targets.is_empty() {
        let mut targets = table(&TARGET_COLUMNS, 1);
        targets.add_rows(report.targets.iter().map(target_cells));
        text += &format!("{targets}\n");
    }
    if let Some(saturation) = &report.saturation {
        text += &format!("warning: {saturation}\n");
    }
    for failure in &report.failures {
        text += &format!("FAIL: {failure}\n");
    }
    text += &verdict(report).line;
    text
}

/// What reference and engine have in common, in words; nothing of features.
pub(super) fn outputs_in_words(report: &ParityReport) -> Option<String> {
    match &report.outputs {
        Outputs::Classes(a) => Some(format!(
            "same best class {:.2} %, five best in common {:.2} %",
            a.top1_agreement, a.top5_overlap
        )),
        Outputs::Labels(d) => Some(format!(
            "same decision {:.2} % of images and labels, on all labels {:.2} % of images",
            d.same, d.same_images
        )),
        Outputs::Values(d) => {
            Some(format!("values differ by {:.6} at most, by {:.6} in the mean", d.largest, d.mean))
        }
        Outputs::Features => None,
    }
}

pub(super) const ACCURACY_COLUMNS: [&str; 4] = ["accuracy", "float reference", "engine", "difference"];

/// Accuracy on labelled images.
pub(super) fn accuracy_rows(report: &ParityReport) -> Option<[Vec<String>; 2]> {
    let Outputs::Classes(a) = &report.outputs else { return None };
    let row = |name: &str, reference: Option<f64>, engine: Option<f64>| {
        let (r, e) = (reference?, engine?);
        Some(vec![name.into(), format!("{r:.2}"), format!("{e:.2}"), format!("{:+.2}", e - r)])
    };
    Some([row("top-1 %", a.reference_top1, a.engine_top1)?, row("top-5 %", a.reference_top5, a.engine_top5)?])
}

pub(super) const TARGET_COLUMNS: [&str; 7] =
    ["target", "images", "bytes equal host's", "arena", "stack", "arena + stack", "instructions/image"];

/// What a target did.
pub(super) fn target_cells(t: &TargetParity) -> Vec<String> {
    vec![
        t.target.clone(),
        t.images.to_string(),
        format!("{} of {}", t.equal, t.images),
        grouped(t.arena_bytes.into()),
        grouped(t.stack_bytes.into()),
        grouped(u64::from(t.arena_bytes) + u64::from(t.stack_bytes)),
        t.instructions.map_or("-".into(), grouped),
    ]
}
