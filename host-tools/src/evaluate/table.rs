//! The report as text.

use super::{EvalReport, ImageReport, Scores, SeamReport, Seams, TaskReport};
use crate::metrics::Score;
use crate::table::table;
use crate::text::{counted, printable};
use crate::verdict::Verdict;

/// Whether the model loses no more than it may, where a limit was given.
pub(super) fn verdict(report: &EvalReport) -> Verdict {
    Verdict::new(&report.failures, report.max_psnr_drop_db.map(|_| ""), &report.unjudged, &[])
}

/// The report, for a terminal.
pub fn render(report: &EvalReport) -> String {
    let mut text = report.tasks.iter().map(|task| render_task(report, task)).collect::<Vec<_>>().join("\n");
    for failure in &report.failures {
        text += &format!("FAIL: {failure}\n");
    }
    text += &verdict(report).line;
    text.truncate(text.trim_end().len());
    text
}

fn render_task(report: &EvalReport, task: &TaskReport) -> String {
    let mut text = format!(
        "{} by {} on {}; {}\n",
        task.task,
        printable(&report.model),
        counted(task.images.len(), "image"),
        convention(report, task)
    );
    let mut header = vec!["image".to_owned()];
    header.extend(columns(report, task));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut rows = table(&header, 1);
    for image in &task.images {
        rows.add_row(std::iter::once(printable(&image.image).into_owned()).chain(image_cells(image, task)));
    }
    let seams = task.seams.as_ref().map(|seams| optional_db(seams.mean));
    rows.add_row(std::iter::once("mean".to_owned()).chain(cells(&task.mean, task.by_luma)).chain(seams));
    text += &format!("{rows}\n");
    let mut figures = table(&["mean", "PSNR colour (dB)", "PSNR luma (dB)", "SSIM colour", "SSIM luma"], 1);
    for (name, score) in means(report, task) {
        figures.add_row(std::iter::once(name.to_owned()).chain(score));
    }
    text += &format!("{figures}\n");
    if let Some(seams) = &task.seams {
        text += &format!("{}\n", seam_words(seams));
        if let Some(cells) = seam_cells(seams) {
            let mut seams = table(&SEAM_COLUMNS, 0);
            seams.add_row(cells);
            text += &format!("{seams}\n");
        }
    }
    text
}

/// Headings of [`seam_cells`].
pub(super) const SEAM_COLUMNS: [&str; 4] = ["whole image", "worst image", "near seams", "steps across seams"];

/// What is compared at seams, in words.
pub(super) fn seam_words(seams: &SeamReport) -> String {
    let overlap = seams.overlap;
    match seams.images {
        0 => format!(
            "No image has room for two windows, overlapping by {overlap} pixels, and half a step: no seams \
             measured"
        ),
        images => format!(
            "Seams of windows that overlap by {overlap} pixels, on {images} images: squared error over that \
             of the same pixels in the middle of windows, dB"
        ),
    }
}

/// What seams cost in the mean.
pub(super) fn seam_cells(seams: &SeamReport) -> Option<[String; 4]> {
    let mean = seams.mean?;
    Some([mean.cost_db, seams.worst_cost_db?, mean.near_db, mean.step_db].map(signed))
}

fn optional_db(seams: Option<Seams>) -> String {
    seams.map_or("-".into(), |seams| signed(seams.cost_db))
}

fn signed(db: f64) -> String {
    format!("{db:+.3}")
}

/// An image's [`cells`], and what its seams cost.
pub(super) fn image_cells(image: &ImageReport, task: &TaskReport) -> Vec<String> {
    let mut cells = cells(&image.scores, task.by_luma);
    if task.seams.is_some() {
        cells.push(optional_db(image.seams));
    }
    cells
}

/// How the PSNR of a task is taken, in words.
pub(super) fn convention(report: &EvalReport, task: &TaskReport) -> String {
    let judged = if task.by_luma { "luma" } else { "all colours" };
    let shave = match task.shave {
        0 => String::new(),
        shave => format!(", {shave} pixels shaved on each side"),
    };
    let source = match report.seed {
        Some(seed) => format!("degraded to 8 bits with seed {seed}"),
        None => "degraded images given".into(),
    };
    format!("PSNR in dB of {judged}{shave}; {source}")
}

/// Headings of the columns of [`image_cells`].
pub(super) fn columns(report: &EvalReport, task: &TaskReport) -> Vec<String> {
    let mut columns = vec!["degraded".to_owned()];
    if report.reference.is_some() {
        columns.push("reference".into());
    }
    columns.push(report.kind.into());
    if report.reference.is_some() {
        columns.push("difference".into());
    }
    columns.push("SSIM".into());
    columns.extend(task.seams.as_ref().map(|_| "seams".to_owned()));
    columns
}

/// PSNR as the field judges the task, and the model's SSIM in the same way.
fn cells(scores: &Scores, by_luma: bool) -> Vec<String> {
    let mut cells = vec![format!("{:.2}", scores.degraded.judged(by_luma))];
    cells.extend(scores.reference.map(|score| format!("{:.2}", score.judged(by_luma))));
    cells.push(format!("{:.2}", scores.model.judged(by_luma)));
    cells.extend(super::difference(scores, by_luma).map(signed));
    cells.push(optional(if by_luma { scores.model.ssim_luma } else { scores.model.ssim_rgb }));
    cells
}

/// Name and all four mean figures of each kind of image.
pub(super) fn means<'a>(report: &'a EvalReport, task: &TaskReport) -> Vec<(&'a str, [String; 4])> {
    let figures = |score: &Score| {
        let [colour, luma] = [score.psnr_rgb, score.psnr_luma].map(|db| format!("{db:.3}"));
        [colour, luma, optional(score.ssim_rgb), optional(score.ssim_luma)]
    };
    let mut means = vec![("degraded", figures(&task.mean.degraded))];
    means.extend(task.mean.reference.as_ref().map(|score| ("reference", figures(score))));
    means.push((report.kind, figures(&task.mean.model)));
    means
}

fn optional(figure: Option<f64>) -> String {
    figure.map_or("-".into(), |figure| format!("{figure:.4}"))
}
