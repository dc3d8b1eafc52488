//! The stages' costs as SVG: a bar each.

use anyhow::{anyhow, Result};
use plotters::prelude::*;

use crate::text::printable;

use super::report::{Row, Unit};

const WIDTH: u32 = 760;
const ROW: u32 = 26;
const LEFT: i32 = 150;
const TOP: i32 = 46;
const BAR: RGBColor = RGBColor(31, 119, 180);

/// Draws a bar for each row, longest to the right edge.
///
/// # Errors
/// Those of drawing.
pub fn svg(title: &str, unit: Unit, rows: &[Row]) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, title, unit, rows).map_err(|e| anyhow!("chart of costs: {e}"))?;
    Ok(text)
}

fn draw(text: &mut String, title: &str, unit: Unit, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let unit = match unit {
        Unit::Milliseconds => "ms",
        Unit::MillionInstructions => "million instructions",
    };
    let root =
        SVGBackend::with_string(text, (WIDTH, TOP as u32 + ROW * rows.len() as u32 + 14)).into_drawing_area();
    root.fill(&WHITE)?;
    let (heading, label) = (("sans-serif", 17).into_font(), ("sans-serif", 14).into_font());
    root.draw(&Text::new(printable(title).into_owned(), (12, 14), heading))?;
    let longest = rows.iter().map(|row| row.cost).fold(f64::MIN_POSITIVE, f64::max);
    let all: f64 = rows.iter().map(|row| row.cost).sum::<f64>().max(f64::MIN_POSITIVE);
    // Room for the figures behind the longest bar.
    let room = f64::from(WIDTH as i32 - LEFT - 230);
    for (i, Row { name, cost, .. }) in rows.iter().enumerate() {
        let top = TOP + ROW as i32 * i as i32;
        let right = LEFT + (cost / longest * room) as i32;
        root.draw(&Rectangle::new([(LEFT, top), (right, top + ROW as i32 - 8)], BAR.filled()))?;
        root.draw(&Text::new(name.clone(), (12, top + 2), label.clone()))?;
        let figures = format!("{cost:.3} {unit}, {:.1} %", 100.0 * cost / all);
        root.draw(&Text::new(figures, (right + 8, top + 2), label.clone()))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_drawn_also_without_any_cost() {
        let row = |name: &str, cost| Row { name: name.to_owned(), cost, macs: 0, bytes: 0 };
        let rows = [row("embed", 1.5), row("mlp", 0.0)];
        let text = svg("digits", Unit::Milliseconds, &rows).unwrap();
        assert!(text.contains("embed") && text.contains("mlp") && text.contains("1.500 ms, 100.0 %"));
        assert!(svg("nothing", Unit::Milliseconds, &[]).unwrap().starts_with("<svg"));
    }
}
