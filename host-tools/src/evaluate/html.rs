//! The report as one HTML page without scripts or outside resources; pictures lie within it.

use std::fmt::Write;

use base64::prelude::{Engine, BASE64_STANDARD};

use super::table::{columns, convention, image_cells, means, seam_cells, seam_words, SEAM_COLUMNS};
use super::{EvalReport, TaskReport};
use crate::parity::{escaped, STYLE};

/// The page.
pub fn render_html(report: &EvalReport) -> String {
    let name = escaped(&report.model);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Restoration by {name}</title>\
         <style>{STYLE}img{{max-width:100%}}</style><h1>Restoration by {name}</h1>"
    );
    if report.failures.is_empty() && report.max_psnr_drop_db.is_some() {
        page += "<p class=\"pass\">All thresholds are met.</p>";
    }
    for failure in &report.failures {
        let _ = write!(page, "<p class=\"fail\">{}</p>", escaped(failure));
    }
    for task in &report.tasks {
        render_task(&mut page, report, task);
    }
    page
}

fn render_task(page: &mut String, report: &EvalReport, task: &TaskReport) {
    let _ = write!(
        page,
        "<h2>{} on {} images</h2><p>{}.</p><table><tr><th>mean<th>PSNR colour<th>PSNR luma<th>SSIM colour<th>SSIM luma</tr>",
        task.task,
        task.images.len(),
        escaped(&convention(report, task))
    );
    for (name, figures) in means(report, task) {
        let _ = write!(page, "<tr><td>{name}<td>{}</tr>", figures.join("<td>"));
    }
    *page += "</table>";
    if let Some(seams) = &task.seams {
        let _ = write!(page, "<p>{}.</p>", escaped(&seam_words(seams)));
        if let Some(cells) = seam_cells(seams) {
            let (header, cells) = (SEAM_COLUMNS.join("<th>"), cells.join("<td>"));
            let _ = write!(page, "<table><tr><th>{header}</tr><tr><td>{cells}</tr></table>");
        }
    }
    for (name, jpeg) in &task.pictures {
        let _ = write!(
            page,
            "<p>{0}<br><img alt=\"{0}: degraded, restored and clean\" src=\"data:image/jpeg;base64,{1}\"></p>",
            escaped(name),
            BASE64_STANDARD.encode(jpeg)
        );
    }
    let _ = write!(page, "<table><tr><th>image<th>{}</tr>", columns(report, task).join("<th>"));
    for image in &task.images {
        let cells = image_cells(image, task).join("<td>");
        let _ = write!(page, "<tr><td>{}<td>{cells}</tr>", escaped(&image.image));
    }
    *page += "</table>";
}
