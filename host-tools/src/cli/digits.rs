use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::text::{serialize_path, shown};
use crate::train::data::write_digits_test;

#[derive(Args, Debug)]
pub struct DigitsArgs {
    /// Folder to write to: one folder per class, 8×8 grey PNG files.
    #[arg(short, long, alias = "output", value_name = "FOLDER")]
    out: PathBuf,
    /// Images per class at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Written {
    #[serde(serialize_with = "serialize_path")]
    out: PathBuf,
    images: usize,
}

impl DigitsArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let images = write_digits_test(&self.out, self.limit)
            .with_context(|| format!("cannot write the digits to {}", self.out.display()))?;
        super::print(json, &Written { out: self.out, images }, |w| {
            format!("{} held-out digits in {}", w.images, shown(&w.out))
        })
    }
}
