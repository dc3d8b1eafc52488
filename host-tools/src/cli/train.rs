use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum TrainCommand {
}

impl TrainCommand {
    pub fn execute(self, _json: bool) -> Result<()> {
        match self {}
    }
}
