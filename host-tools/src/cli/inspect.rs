use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use vitreous::models::vit::DEFAULT_TILE_ROWS;

use crate::engine::Engine;
use crate::inspect::{inspect, render};

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The .vtr file.
    model: PathBuf,
    /// Rows per tile of the memory plan.
    #[arg(long, default_value_t = DEFAULT_TILE_ROWS)]
    tile_rows: usize,
}

impl InspectArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let engine = Engine::load(&self.model)?;
        super::print(json, &inspect(&engine, self.tile_rows)?, render)
    }
}
