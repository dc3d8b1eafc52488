//! The curve of loss and held-out accuracy as SVG.

use super::history::EpochRecord;
use crate::text::printable;
use anyhow::{anyhow, Result};
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 400);
const LOSS: RGBColor = RGBColor(31, 119, 180);
const ACCURACY: RGBColor = RGBColor(214, 39, 40);

/// Draws training loss (left axis) and held-out accuracy in percent (right axis) over epochs.
pub fn svg(history: &[EpochRecord], title: &str) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, history, title).map_err(|e| anyhow!("loss curve: {e}"))?;
    Ok(text)
}

fn draw(text: &mut String, history: &[EpochRecord], title: &str) -> Result<(), Box<dyn std::error::Error>> {
    let epochs = history.last().map_or(1, |r| r.epoch).max(1) as f64;
    let highest = history.iter().map(|r| r.loss).fold(1e-3, f64::max) * 1.05;
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(printable(title), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .right_y_label_area_size(48)
        .build_cartesian_2d(0.0..epochs, 0.0..highest)?
        .set_secondary_coord(0.0..epochs, 0.0..100.0);
    chart.configure_mesh().light_line_style(WHITE).x_desc("epoch").y_desc("training loss").draw()?;
    chart.configure_secondary_axes().y_desc("held-out accuracy, %").draw()?;
    let loss = history.iter().map(|r| (r.epoch as f64, r.loss));
    chart
        .draw_series(LineSeries::new(loss, LOSS.stroke_width(2)))?
        .label("training loss")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], LOSS.stroke_width(2)));
    let accuracy = history.iter().map(|r| (r.epoch as f64, 100.0 * r.test_accuracy));
    chart
        .draw_secondary_series(LineSeries::new(accuracy, ACCURACY.stroke_width(2)))?
        .label("held-out accuracy")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], ACCURACY.stroke_width(2)));
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
    fn the_curve_is_svg_and_also_drawn_for_one_epoch() {
        let record = EpochRecord { epoch: 1, loss: 2.0, gradient_norm: 1.0, lr: 1e-3, test_accuracy: 0.5 };
        let text = svg(&[record], "digits").unwrap();
        assert!(text.starts_with("<svg") && text.contains("training loss"));
    }
}
