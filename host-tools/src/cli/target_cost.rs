//! What a run on a target cost, as text.

use crate::table::table;
use crate::target::TargetCost;
use crate::text::grouped;

/// Memory and instructions of one image; `seconds` is the emulation's time.
pub fn render_cost(target: &str, arena_bytes: u32, seconds: f64, cost: &TargetCost) -> String {
    let mut text = format!(
        "{target}: arena {} bytes, stack {} bytes ({} of them the engine's run), {} s of emulation\n",
        grouped(arena_bytes.into()),
        grouped(cost.total_stack_bytes.into()),
        grouped(cost.stack_bytes.into()),
        seconds.round()
    );
    let Some(all) = cost.instructions else { return text };
    let mut rows = table(&["stage", "layer", "tiles", "instructions", "share"], 1);
    for stage in &cost.stages {
        let count = stage.instructions.unwrap_or(0);
        rows.add_row([
            format!("{:?}", stage.kind),
            stage.layer.to_string(),
            stage.tiles.to_string(),
            grouped(count),
            format!("{:.1} %", 100.0 * count as f64 / all.max(1) as f64),
        ]);
    }
    rows.add_row(["all".into(), String::new(), String::new(), grouped(all), "100.0 %".into()]);
    text += &rows.to_string();
    text
}
