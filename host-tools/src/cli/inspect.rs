use std::path::PathBuf;

use anyhow::{ensure, Result};
use clap::Args;
use vitreous::models::ipt::Task;
use vitreous::models::vit::DEFAULT_TILE_ROWS;

use super::architecture::is_restorer;
use crate::checkpoint::ipt::parse_task;
use crate::engine::Engine;
use crate::inspect::{inspect, inspect_restorer, render};
use crate::restorer::Restorer;

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The .vtr file.
    model: PathBuf,
    /// Rows per tile of the memory plan.
    #[arg(long, default_value_t = DEFAULT_TILE_ROWS)]
    tile_rows: usize,
    /// Task of a restorer whose layers and plan are shown, if not the one that needs the most arena.
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
}

impl InspectArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let inspection = if is_restorer(&self.model)? {
            inspect_restorer(&Restorer::load(&self.model)?, self.task.as_ref(), self.tile_rows)?
        } else {
            ensure!(self.task.is_none(), "{} is a classifier: --task is for restorers", self.model.display());
            inspect(&Engine::load(&self.model)?, self.tile_rows)?
        };
        super::print(json, &inspection, render)
    }
}
