//! The inspection as text.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::{Inspection, PHASES};

/// A table with right-aligned columns after the first `left` ones.
pub(crate) fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
    for index in left..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Everything, for a terminal.
pub fn render(inspection: &Inspection) -> String {
    let i = inspection;
    let [height, width, channels] = i.image;
    let mut text = format!(
        "{} (version {}), ViT: {height}×{width}×{channels} image, {}×{} patches, {} tokens × {}, {} blocks, {} heads, hidden {}, {} classes, {}, pool {}\n",
        i.name, i.model_version, i.patch[0], i.patch[1], i.tokens, i.dim, i.depth, i.heads, i.hidden, i.classes, i.activation, i.pool,
    );
    text += &format!(
        "input: {}\nweights packed {}, source SHA-256 {}\n\n",
        i.preprocess, i.layout, i.source_sha256
    );
    text += &layers(i);
    text += &format!(
        "\n\nflash {} bytes, {} parameters, {} MACs per image\n\n",
        grouped(i.flash_bytes as u64),
        grouped(i.parameters),
        grouped(i.macs)
    );
    text += &format!("memory plan, {} rows per tile (█ alive)\n", i.tile_rows);
    text += &plan(i);
    text += &format!("\n\narena {} bytes, input strip included", grouped(i.arena_bytes as u64));
    text
}

fn layers(inspection: &Inspection) -> String {
    let mut rows = table(&["layer", "shape", "weights", "parameters", "MACs", "share", "bytes"], 3);
    for layer in &inspection.layers {
        rows.add_row([
            layer.name.clone(),
            layer.shape.clone(),
            layer.precision.into(),
            grouped(layer.parameters),
            grouped(layer.macs),
            format!("{:.1} %", 100.0 * layer.macs as f64 / inspection.macs.max(1) as f64),
            grouped(layer.bytes as u64),
        ]);
    }
    rows.to_string()
}

/// Regions in the order of their addresses, with a bar over the phases in which they live.
fn plan(inspection: &Inspection) -> String {
    let mut header = vec!["region", "offset", "bytes"];
    header.extend(PHASES);
    let mut rows = table(&header, 1);
    let mut regions: Vec<_> = inspection.regions.iter().collect();
    regions.sort_by_key(|r| (r.offset, r.first_phase));
    for region in regions {
        let mut cells =
            vec![region.name.clone(), grouped(region.offset as u64), grouped(region.bytes as u64)];
        cells.extend((0u8..).zip(PHASES).map(|(phase, name)| {
            let alive = region.first_phase <= phase && phase <= region.last_phase;
            if alive { "█" } else { "·" }.repeat(name.len())
        }));
        rows.add_row(cells);
    }
    let mut total = vec!["in use".into(), String::new(), grouped(inspection.arena_bytes as u64)];
    total.extend(inspection.phase_bytes.iter().map(|(_, bytes)| grouped(*bytes as u64)));
    rows.add_row(total);
    rows.to_string()
}
