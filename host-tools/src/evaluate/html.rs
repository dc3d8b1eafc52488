//! The report as one HTML page; pictures lie within it.

use base64::prelude::{Engine, BASE64_STANDARD};
use maud::{html, Markup};

use super::table::{columns, convention, image_cells, means, seam_cells, seam_words, SEAM_COLUMNS};
use super::{EvalReport, TaskReport};
use crate::page::{page, table, verdict, Name};
use crate::text::counted;

/// The page.
pub fn render_html(report: &EvalReport) -> String {
    let body = html! {
        (verdict(&super::table::verdict(report), &report.failures))
        @for task in &report.tasks { (render_task(report, task)) }
    };
    page(&format!("Restoration by {}", report.model), body)
}

fn render_task(report: &EvalReport, task: &TaskReport) -> Markup {
    let named = |name: &str, cells: Vec<String>| [vec![name.to_owned()], cells].concat();
    let columns = columns(report, task);
    let header: Vec<&str> = std::iter::once("image").chain(columns.iter().map(String::as_str)).collect();
    html! {
        h2 { (task.task) " on " (counted(task.images.len(), "image")) }
        p { (Name(&convention(report, task))) "." }
        (table(
            &["mean", "PSNR colour", "PSNR luma", "SSIM colour", "SSIM luma"],
            means(report, task).into_iter().map(|(name, figures)| named(name, figures.to_vec())),
        ))
        @if let Some(seams) = &task.seams {
            p { (Name(&seam_words(seams))) "." }
            @if let Some(cells) = seam_cells(seams) { (table(&SEAM_COLUMNS, [cells.to_vec()])) }
        }
        @for (name, jpeg) in &task.pictures {
            figure {
                figcaption { (Name(name)) }
                img alt={ (Name(name)) ": degraded, restored and clean" }
                    src={ "data:image/jpeg;base64," (BASE64_STANDARD.encode(jpeg)) };
            }
        }
        (table(&header, task.images.iter().map(|image| named(&image.image, image_cells(image, task)))))
    }
}
