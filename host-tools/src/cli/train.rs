use anyhow::Result;
use clap::Subcommand;

use crate::train::TrainVitArgs;

#[derive(Subcommand, Debug)]
pub enum TrainCommand {
    /// Train a Vision Transformer for image classification.
    Vit(Box<TrainVitArgs>),
}

impl TrainCommand {
    pub fn execute(self, json: bool) -> Result<()> {
        let TrainCommand::Vit(args) = self;
        match args.run()? {
            Some(report) => super::print(json, &report, ToString::to_string),
            None => {
                eprintln!("stopped as asked; go on with --resume");
                Ok(())
            }
        }
    }
}
