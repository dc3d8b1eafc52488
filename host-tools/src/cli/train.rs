use anyhow::Result;
use clap::Subcommand;

use crate::text::serialize_path;
use crate::train::restoration::dncnn::TrainDnCnnArgs;
use crate::train::restoration::ipt::TrainIptArgs;
use crate::train::{TrainVitArgs, CHECKPOINT_FILE};
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::interrupt;

#[derive(Subcommand, Debug)]
pub enum TrainCommand {
    /// Train a Vision Transformer for image classification.
    Vit(Box<TrainVitArgs>),
    /// Train an Image Processing Transformer for image restoration.
    Ipt(Box<TrainIptArgs>),
    /// Train a DnCNN, a convolutional network to compare the transformer with.
    Dncnn(Box<TrainDnCnnArgs>),
}

impl TrainCommand {
    pub fn execute(self, json: bool) -> Result<()> {
        match self {
            TrainCommand::Vit(args) => report(json, args.run()?, &args.run.out),
            TrainCommand::Ipt(args) => report(json, args.run()?, &args.restorer.run.out),
            TrainCommand::Dncnn(args) => report(json, args.run()?, &args.restorer.run.out),
        }
    }
}

/// What a training that was asked to stop before its end leaves.
#[derive(Serialize)]
struct Stopped {
    stopped: bool,
    #[serde(serialize_with = "serialize_path")]
    checkpoint: PathBuf,
}

fn report<R: Serialize + Display>(json: bool, report: Option<R>, out: &Path) -> Result<()> {
    match report {
        Some(report) => super::print(json, &report, ToString::to_string),
        None => {
            if let Some(signal) = interrupt::requested() {
                let what =
                    format!("the checkpoint is in {}; the same command with --resume goes on", out.display());
                return Err(interrupt::Stopped { signal, what }.into());
            }
            let stopped = Stopped { stopped: true, checkpoint: out.join(CHECKPOINT_FILE) };
            if json {
                return super::print(json, &stopped, |_| String::new());
            }
            crate::console::note("stopped as asked; go on with --resume");
            Ok(())
        }
    }
}
