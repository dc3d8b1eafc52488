//! The parity report as one HTML page.

use maud::{html, Markup};

use super::table::{ACCURACY_COLUMNS, TARGET_COLUMNS};
use super::{ParityReport, StageSqnr};
use crate::page::{page, table, verdict, Name};
use crate::text::counted;

/// The page.
pub fn render_html(report: &ParityReport) -> String {
    let body = html! {
        p {
            (format!(
                "{}, float reference against engine: mean SQNR of the output {:.2} dB, least {:.2} dB.",
                counted(report.images, "image"), report.output_sqnr_db, report.output_min_sqnr_db
            ))
        }
        (table(&["", ""], super::table::circumstances(report)))
        (verdict(&super::table::verdict(report), &report.failures))
        @if let Some(saturation) = &report.saturation { p.fail { (Name(&saturation.to_string())) } }
        h2 { "Signal-to-quantization-noise ratio by stage" }
        p { "On the first " (counted(report.stage_images, "image")) "." }
        (stages(&report.stages))
        (outputs(report))
        @if !report.targets.is_empty() {
            h2 { "Targets" }
            (table(&TARGET_COLUMNS, report.targets.iter().map(super::table::target_cells)))
        }
    };
    page(&format!("Parity of {}", report.model), body)
}

fn stages(stages: &[StageSqnr]) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { th { "stage" } th { "mean dB" } th { "least dB" } th {} } }
                tbody {
                    @for stage in stages {
                        tr {
                            td { (Name(&stage.stage)) }
                            td { (format!("{:.2}", stage.mean_db)) }
                            td { (format!("{:.2}", stage.min_db)) }
                            td.chart {
                                @let width = 4.0 * stage.mean_db.clamp(0.0, 80.0);
                                span.bar style=(format!("width:{width:.0}px")) {}
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the figures of the outputs are, by what the outputs mean.
fn outputs(report: &ParityReport) -> Markup {
    html! {
        @if let Some(words) = super::table::outputs_in_words(report) {
            h2 { "Outputs" }
            p { (words) }
        }
        @if let Some(rows) = super::table::accuracy_rows(report) {
            (table(&ACCURACY_COLUMNS, rows))
        }
    }
}
