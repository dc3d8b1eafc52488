//! What a study found: table, JSON and curves.

use crate::output::{self, Lock, OutputError, Reason};
use crate::table::table;
use crate::text::printable;
use anyhow::{anyhow, Result};
use plotters::prelude::*;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Name of the JSON table.
pub const TABLE_FILE: &str = "study.json";
/// Name of the curves.
pub const CURVES_FILE: &str = "study.svg";
const SIZE: (u32, u32) = (720, 440);

/// Creates and locks a study's folder. A table and curves that no study wrote stay where they are.
///
/// # Errors
/// Another process writes there, or the files in the way.
pub fn take_folder(dir: &Path) -> Result<Lock, OutputError> {
    output::folder(dir)?;
    let lock = Lock::take(dir)?;
    let table = std::fs::read_to_string(dir.join(TABLE_FILE)).unwrap_or_default();
    let is_study = serde_json::from_str::<serde_json::Value>(&table).is_ok_and(|t| t.get("points").is_some());
    let there = |file: &&str| std::fs::symlink_metadata(dir.join(file)).is_ok();
    let found: Vec<&str> = [TABLE_FILE, CURVES_FILE].into_iter().filter(there).collect();
    if is_study || found.is_empty() {
        return Ok(lock);
    }
    let words =
        format!("a study would overwrite {}, which no study wrote; give another folder", found.join(", "));
    Err(OutputError { path: dir.to_owned(), reason: Reason::Foreign(words) })
}

/// One trained network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The network.
    pub network: String,
    /// Part of the training data, 0 to 1.
    pub fraction: f64,
    /// Pictures or images trained on.
    pub samples: usize,
    /// The seed.
    pub seed: u64,
    /// Weights and biases.
    pub parameters: usize,
    /// The score on held-out data, in the study's unit.
    pub score: f64,
}

/// A data-efficiency study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyReport {
    /// `restoration` or `classification`.
    pub kind: String,
    /// What was trained on.
    pub data: String,
    /// What the score is, with its unit.
    pub score: String,
    /// Optimizer steps of every training.
    pub steps: u64,
    /// Every training.
    pub points: Vec<Point>,
}

impl StudyReport {
    fn networks(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for point in &self.points {
            if !names.contains(&point.network.as_str()) {
                names.push(&point.network);
            }
        }
        names
    }

    /// (fraction, mean, least, greatest score over seeds) of a network, by rising fraction.
    fn curve(&self, network: &str) -> Vec<(f64, f64, f64, f64)> {
        let of: Vec<&Point> = self.points.iter().filter(|p| p.network == network).collect();
        let mut fractions: Vec<f64> = of.iter().map(|p| p.fraction).collect();
        fractions.sort_by(f64::total_cmp);
        fractions.dedup();
        let summary = |fraction: f64| {
            let scores = || of.iter().filter(|p| p.fraction == fraction).map(|p| p.score);
            let mean = scores().sum::<f64>() / scores().count().max(1) as f64;
            (
                fraction,
                mean,
                scores().fold(f64::INFINITY, f64::min),
                scores().fold(f64::NEG_INFINITY, f64::max),
            )
        };
        fractions.into_iter().map(summary).collect()
    }

    /// Writes table and curves to `dir`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        output::write(&dir.join(TABLE_FILE), text)?;
        Ok(output::write(&dir.join(CURVES_FILE), self.svg()?)?)
    }

    /// Score over part of the data, a curve per network through the means of the seeds, with bars from the
    /// least to the greatest.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|e| anyhow!("curves: {e}"))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let scores = || self.points.iter().map(|p| p.score);
        let (low, high) =
            (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = ((high - low) * 0.1).max(0.05);
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                printable(&format!("{}: {}, {} steps", self.kind, self.data, self.steps)),
                ("sans-serif", 18),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..105.0, low - margin..high + margin)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("part of the training data, %")
            .y_desc(&self.score)
            .draw()?;
        for (index, network) in self.networks().into_iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let curve = self.curve(network);
            let means = curve.iter().map(|&(fraction, mean, ..)| (100.0 * fraction, mean));
            chart
                .draw_series(LineSeries::new(means, colour.stroke_width(2)).point_size(3))?
                .label(network)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            let bars = curve.iter().map(|&(fraction, _, least, greatest)| {
                PathElement::new([(100.0 * fraction, least), (100.0 * fraction, greatest)], colour)
            });
            chart.draw_series(bars)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

impl fmt::Display for StudyReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{} on {}, {} steps each; {}", self.kind, printable(&self.data), self.steps, self.score)?;
        let mut rows = table(&["network", "parameters", "data", "samples", "mean", "least", "greatest"], 1);
        for network in self.networks() {
            for (fraction, mean, least, greatest) in self.curve(network) {
                let find = |p: &&Point| p.network == network && p.fraction == fraction;
                let Some(point) = self.points.iter().find(find) else { continue };
                rows.add_row([
                    network.to_owned(),
                    point.parameters.to_string(),
                    format!("{:.0} %", 100.0 * fraction),
                    point.samples.to_string(),
                    format!("{mean:.2}"),
                    format!("{least:.2}"),
                    format!("{greatest:.2}"),
                ]);
            }
        }
        write!(f, "{rows}")
    }
}
