//! The parity report as one HTML page without scripts or outside resources.

use std::fmt::Write;

use super::ParityReport;
use crate::inspect::grouped;

pub(crate) const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}\
td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}\
.bar{background:#3b7a9e;height:.8rem;display:inline-block}.pass{color:#176b2c}.fail{color:#a11}";

/// The page.
pub fn render_html(report: &ParityReport) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Parity of {name}</title><style>{STYLE}</style>\
         <h1>Parity of {name}</h1><p>{} images, float reference against engine: mean SQNR of the output {:.2} dB, least {:.2} dB.</p>",
        report.images,
        report.output_sqnr_db,
        report.output_min_sqnr_db,
        name = escaped(&report.model),
    );
    verdict(&mut page, report);
    stages(&mut page, report);
    accuracy(&mut page, report);
    targets(&mut page, report);
    page
}

fn verdict(page: &mut String, report: &ParityReport) {
    if report.failures.is_empty() {
        *page += "<p class=\"pass\">All thresholds are met.</p>";
    }
    if report.assumed.iter().next().is_some() {
        let _ = write!(page, "<p class=\"fail\">{}</p>", escaped(&super::table::verdict(report)));
    }
    for failure in &report.failures {
        let _ = write!(page, "<p class=\"fail\">{}</p>", escaped(failure));
    }
}

fn stages(page: &mut String, report: &ParityReport) {
    let _ = write!(
        page,
        "<h2>Signal-to-quantization-noise ratio by stage</h2><p>On the first {} images.</p>\
         <table><tr><th>stage<th>mean dB<th>least dB<th></tr>",
        report.stage_images
    );
    for stage in &report.stages {
        let _ = write!(
            page,
            "<tr><td>{}<td>{:.2}<td>{:.2}<td style=\"text-align:left\"><span class=\"bar\" style=\"width:{:.0}px\"></span></tr>",
            escaped(&stage.stage),
            stage.mean_db,
            stage.min_db,
            4.0 * stage.mean_db.clamp(0.0, 80.0)
        );
    }
    *page += "</table>";
}

fn accuracy(page: &mut String, report: &ParityReport) {
    let Some(a) = &report.agreement else { return };
    let _ = write!(
        page,
        "<h2>Classes</h2><p>Same best class on {:.2} % of the images, five best in common {:.2} %.</p>",
        a.top1_agreement, a.top5_overlap
    );
    let (Some(r1), Some(e1), Some(r5), Some(e5)) =
        (a.reference_top1, a.engine_top1, a.reference_top5, a.engine_top5)
    else {
        return;
    };
    *page += "<table><tr><th>accuracy<th>float reference<th>engine<th>difference</tr>";
    for (name, r, e) in [("top-1 %", r1, e1), ("top-5 %", r5, e5)] {
        let _ = write!(page, "<tr><td>{name}<td>{r:.2}<td>{e:.2}<td>{:+.2}</tr>", e - r);
    }
    *page += "</table>";
}

fn targets(page: &mut String, report: &ParityReport) {
    if report.targets.is_empty() {
        return;
    }
    *page += "<h2>Targets</h2><table><tr><th>target<th>output bytes equal the host's<th>arena<th>stack<th>instructions per image</tr>";
    for t in &report.targets {
        let _ = write!(
            page,
            "<tr><td>{}<td>{} of {}<td>{}<td>{}<td>{}</tr>",
            escaped(&t.target),
            t.equal,
            t.images,
            grouped(t.arena_bytes.into()),
            grouped(t.stack_bytes.into()),
            t.instructions.map_or("-".into(), grouped)
        );
    }
    *page += "</table>";
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
