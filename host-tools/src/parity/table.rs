//! The parity report as text.

use super::ParityReport;
use crate::inspect::{grouped, table};

/// One line: a pass says what it does not judge.
pub(super) fn verdict(report: &ParityReport) -> String {
    let word = if report.failures.is_empty() { "PASS" } else { "FAIL" };
    match report.assumed.assumed_in_words() {
        Some(assumed) => {
            format!("{word}, where {assumed} are assumed by both sides: a wrong value would not show")
        }
        None => word.to_owned(),
    }
}

/// The report, for a terminal.
pub fn render(report: &ParityReport) -> String {
    let mut text =
        format!("parity of {} on {} images: float reference against engine\n", report.model, report.images);
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
        "\nstages on the first {} images; output over all images: mean {:.2} dB, least {:.2} dB\n",
        report.stage_images, report.output_sqnr_db, report.output_min_sqnr_db
    );
    if let Some(a) = &report.agreement {
        text += &format!(
            "same best class {:.2} %, five best in common {:.2} %\n",
            a.top1_agreement, a.top5_overlap
        );
        if let (Some(r1), Some(e1), Some(r5), Some(e5)) =
            (a.reference_top1, a.engine_top1, a.reference_top5, a.engine_top5)
        {
            let mut accuracy = table(&["accuracy", "float reference", "engine", "difference"], 1);
            for (name, r, e) in [("top-1 %", r1, e1), ("top-5 %", r5, e5)] {
                accuracy.add_row([
                    name.into(),
                    format!("{r:.2}"),
                    format!("{e:.2}"),
                    format!("{:+.2}", e - r),
                ]);
            }
            text += &format!("{accuracy}\n");
        }
    }
    if !report.targets.is_empty() {
        let header = [
            "target",
            "images",
            "bytes equal host's",
            "arena",
            "stack",
            "arena + stack",
            "instructions/image",
        ];
        let mut targets = table(&header, 1);
        for t in &report.targets {
            targets.add_row([
                t.target.clone(),
                t.images.to_string(),
                format!("{} of {}", t.equal, t.images),
                grouped(t.arena_bytes.into()),
                grouped(t.stack_bytes.into()),
                grouped(u64::from(t.arena_bytes) + u64::from(t.stack_bytes)),
                t.instructions.map_or("-".into(), grouped),
            ]);
        }
        text += &format!("{targets}\n");
    }
    for failure in &report.failures {
        text += &format!("FAIL: {failure}\n");
    }
    text += &verdict(report);
    text
}
