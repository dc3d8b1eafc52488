use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use vitreous::models::ipt::Task;
use vitreous::models::vit::DEFAULT_TILE_ROWS;

use crate::checkpoint::ipt::parse_task;
use crate::converted::ConvertedModel;
use crate::inspect::{inspect, render};
use crate::kernels;
use crate::table::table;

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The .vtr file.
    #[arg(required_unless_present = "cpu")]
    model: Option<PathBuf>,
    /// Rows per tile of the memory plan.
    #[arg(long, default_value_t = DEFAULT_TILE_ROWS)]
    tile_rows: usize,
    /// Task of a restorer whose layers and plan are shown, if not the one that needs the most arena.
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
    /// List the kernels of this processor instead.
    #[arg(long, conflicts_with = "model")]
    cpu: bool,
}

/// A kernel table as seen from this processor.
#[derive(Serialize)]
struct KernelReport {
    name: &'static str,
    supported: bool,
    in_use: bool,
    /// Weight layout that they want, as columns × inputs; `convert --for` writes it.
    layout: Option<String>,
}

impl InspectArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let Some(model) = self.model else {
            return super::print(json, &list_kernels()?, |reports| render_kernels(reports));
        };
        let inspection = inspect(&ConvertedModel::load(&model)?, self.task.as_ref(), self.tile_rows)?;
        super::print(json, &inspection, render)
    }
}

fn list_kernels() -> Result<Vec<KernelReport>> {
    let chosen = kernels::chosen()?.spec.name;
    let reports = vitreous::kernels::kernel_names().map(|name| {
        let table = kernels::find(name).ok();
        KernelReport {
            name,
            supported: table.is_some(),
            in_use: name == chosen,
            layout: table.map(|table| format!("{}x{}", table.spec.layout.nr, table.spec.layout.kr)),
        }
    });
    Ok(reports.collect())
}

fn render_kernels(reports: &[KernelReport]) -> String {
    let mut rows = table(&["kernels", "this processor", "weights"], 2);
    for report in reports {
        let state = match (report.supported, report.in_use) {
            (_, true) => "in use",
            (true, false) => "supported",
            (false, false) => "lacks the instructions",
        };
        rows.add_row([report.name, state, report.layout.as_deref().unwrap_or("")]);
    }
    rows.to_string()
}
