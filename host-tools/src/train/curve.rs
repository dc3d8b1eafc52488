//! Curves of a run as SVG: two vertical axes over one horizontal one.

use crate::text::printable;
use anyhow::{anyhow, Result};
use plotters::prelude::*;
use std::ops::Range;

/// A vertical axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub description: &'static str,
    /// From the bottom to the top.
    pub range: Range<f64>,
}

/// The axis that a series belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The left one.
    Left,
    /// The right one.
    Right,
}

/// A line through points.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// Its colour.
    pub colour: RGBColor,
    /// Its width in pixels.
    pub width: u32,
    /// Its axis.
    pub side: Side,
    /// (place on the horizontal axis, value).
    pub points: Vec<(f64, f64)>,
}

/// A drawing.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// What the horizontal axis, which begins at 0, counts.
    pub counts: &'static str,
    /// Where it ends.
    pub end: f64,
    /// The left axis.
    pub left: Axis,
    /// The right axis.
    pub right: Axis,
    /// In the order in which they are drawn, one over the other.
    pub series: Vec<Series>,
}

/// Colour `index` of a series of colours that are easily told apart.
pub fn palette(index: usize) -> RGBColor {
    let (red, green, blue) = Palette99::pick(index).rgb();
    RGBColor(red, green, blue)
}

impl Chart {
    /// The drawing as SVG.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|e| anyhow!("curves: {e}"))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(text, self.size).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(printable(&self.title), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .right_y_label_area_size(48)
            .build_cartesian_2d(0.0..self.end, self.left.range.clone())?
            .set_secondary_coord(0.0..self.end, self.right.range.clone());
        let (left, right) = (self.left.description, self.right.description);
        chart.configure_mesh().light_line_style(WHITE).x_desc(self.counts).y_desc(left).draw()?;
        chart.configure_secondary_axes().y_desc(right).draw()?;
        for series in &self.series {
            let style = series.colour.stroke_width(series.width);
            let line = LineSeries::new(series.points.iter().copied(), style);
            let drawn = match series.side {
                Side::Left => chart.draw_series(line)?,
                Side::Right => chart.draw_secondary_series(line)?,
            };
            drawn
                .label(series.label.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
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
}
