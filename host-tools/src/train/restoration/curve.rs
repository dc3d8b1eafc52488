//! The curves of a run as SVG: PSNR of every task, and training loss.

use super::history::Record;
use crate::text::printable;
use anyhow::{anyhow, Result};
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 420);

/// PSNR per task on held-out windows (left axis) and training loss (right axis, grey) over steps.
pub fn svg(history: &[Record], tasks: &[String], title: &str) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, history, tasks, title).map_err(|e| anyhow!("curves: {e}"))?;
    Ok(text)
}

fn draw(
    text: &mut String,
    history: &[Record],
    tasks: &[String],
    title: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let steps = history.last().map_or(1, |r| r.step).max(1) as f64;
    let scores = || history.iter().flat_map(|r| r.psnr.iter().copied());
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(0.0, f64::max));
    let low = if low.is_finite() { low } else { 0.0 };
    let highest_loss = history.iter().map(|r| r.loss).fold(1e-3, f64::max) * 1.05;
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(printable(title), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .right_y_label_area_size(48)
        .build_cartesian_2d(0.0..steps, low - 0.5..high + 0.5)?
        .set_secondary_coord(0.0..steps, 0.0..highest_loss);
    chart.configure_mesh().light_line_style(WHITE).x_desc("step").y_desc("held-out PSNR, dB").draw()?;
    chart.configure_secondary_axes().y_desc("training loss").draw()?;
    let grey = RGBColor(150, 150, 150);
    // The first record is from before the first step.
    let loss = history.iter().skip(1).map(|r| (r.step as f64, r.loss));
    chart
        .draw_secondary_series(LineSeries::new(loss, grey.stroke_width(1)))?
        .label("training loss")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], grey.stroke_width(1)));
    for (index, task) in tasks.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let curve = history.iter().map(|r| (r.step as f64, r.psnr[index]));
        chart
            .draw_series(LineSeries::new(curve, colour.stroke_width(2)))?
            .label(task.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curves_are_svg_and_also_drawn_for_one_record() {
        let record = Record { step: 0, loss: 0.0, gradient_norm: 0.0, lr: 0.0, psnr: vec![28.0, 24.0] };
        let text = svg(&[record], &["denoise10".to_owned(), "x2".to_owned()], "restorer").unwrap();
        assert!(text.starts_with("<svg") && text.contains("denoise10") && text.contains("x2"));
    }
}
