//! The inspection as text.

use crate::table::table;
use crate::text::{counted, grouped, printable};

use super::summary::{Architecture, Inspection, IptSummary, VitSummary};

/// Everything, for a terminal.
pub fn render(inspection: &Inspection) -> String {
    let i = inspection;
    let mut text = format!("{} (version {}), ", printable(&i.name), i.model_version);
    text += &match &i.architecture {
        Architecture::Vit(vit) => vit_summary(vit),
        Architecture::Ipt(ipt) => ipt_summary(ipt),
    };
    text += &format!("weights packed {}, source SHA-256 {}\n\n", i.layout, i.source_sha256);
    text += &settings(i);
    text += &layers(i);
    text += &format!(
        "\n\nflash {} bytes, {} parameters, {} MACs per {}\n\n",
        grouped(i.flash_bytes as u64),
        grouped(i.parameters),
        grouped(i.macs),
        i.per
    );
    text += &format!("memory plan, {} per tile (█ alive)\n", counted(i.tile_rows, "row"));
    text += &plan(i);
    text += &match &i.architecture {
        Architecture::Vit(_) => {
            format!("\n\narena {} bytes, input strip included", grouped(i.arena_bytes as u64))
        }
        Architecture::Ipt(_) => format!("\n\narena {} bytes, row bands apart", grouped(i.arena_bytes as u64)),
    };
    text
}

fn vit_summary(vit: &VitSummary) -> String {
    let [height, width, channels] = vit.image;
    format!(
        "ViT: {height}×{width}×{channels} image, {}×{} patches, {} tokens × {}, {} blocks, {} heads, hidden \
         {}, {} classes, {}, pool {}, output {}\ninput: {}\n",
        vit.patch[0],
        vit.patch[1],
        vit.tokens,
        vit.dim,
        vit.depth,
        vit.heads,
        vit.hidden,
        vit.classes,
        vit.activation,
        vit.pool,
        vit.output,
        vit.preprocess
    )
}

fn ipt_summary(ipt: &IptSummary) -> String {
    let mut text = format!(
        "IPT: {} feature maps, {2}×{2} window, {3}×{3} patches, {4} tokens × {5}, {6} + {7} layers, {8} \
         heads, hidden {9}, {1} behind the decoder\n\n",
        ipt.features,
        ipt.head_hidden,
        ipt.window,
        ipt.patch,
        ipt.tokens,
        ipt.dim,
        ipt.layers[0],
        ipt.layers[1],
        ipt.heads,
        ipt.hidden
    );
    let mut tasks =
        table(&["task", "MACs per window", "arena", "row bands, 320 wide", "windows, 320×240"], 1);
    for task in &ipt.tasks {
        tasks.add_row([
            task.task.clone(),
            grouped(task.macs_per_window),
            grouped(task.arena_bytes as u64),
            grouped(task.band_bytes_320 as u64),
            grouped(task.windows_320x240 as u64),
        ]);
    }
    text += &tasks.to_string();
    text += &format!(
        "\nwindows overlap by {} pixels; layers and plan below are those of {}\n",
        ipt.overlap, ipt.task
    );
    text
}

/// What the weights do not say; nothing for a file that keeps nothing of it.
fn settings(inspection: &Inspection) -> String {
    if inspection.settings.iter().next().is_none() {
        return String::new();
    }
    let mut rows = table(&["setting", "value", "said by", "where"], 4);
    for setting in inspection.settings.iter() {
        rows.add_row([&setting.name, &setting.value, setting.origin.name(), &setting.note]);
    }
    format!("{rows}\n\n")
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
    header.extend(inspection.phase_bytes.iter().map(|(name, _)| name.as_str()));
    let mut rows = table(&header, 1);
    let mut regions: Vec<_> = inspection.regions.iter().collect();
    regions.sort_by_key(|r| (r.offset, r.first_phase));
    for region in regions {
        let mut cells =
            vec![region.name.clone(), grouped(region.offset as u64), grouped(region.bytes as u64)];
        cells.extend((0u8..).zip(&inspection.phase_bytes).map(|(phase, (name, _))| {
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
