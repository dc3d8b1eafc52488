use std::path::PathBuf;

use anyhow::{bail, Result};
use clap::Args;
use vitreous::models::ipt::Task;

use super::architecture::expect_restorer;
use super::load::IptLoadArgs;
use super::progress::Bars;
use crate::checkpoint::ipt::parse_task;
use crate::console;
use crate::evaluate::{evaluate, find_pairs, render, render_html, EvalOptions};
use crate::output::{self, Kind, Plan};
use crate::saturation::SaturationReport;
use crate::train::with_threads;

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// A .vtr file of a restorer, or its float weights (a .pt or .safetensors file, or a folder).
    model: PathBuf,
    /// Tasks to score, such as denoise50 or x2, separated by commas; all of the model's if not given.
    #[arg(long, value_name = "TASK", value_delimiter = ',', value_parser = parse_task)]
    task: Vec<Task>,
    /// Folder of clean images, also in subfolders.
    #[arg(long, value_name = "FOLDER")]
    clean: PathBuf,
    /// Folder of degraded images with the clean ones' names; else they are made from the clean ones.
    #[arg(long, value_name = "FOLDER")]
    degraded: Option<PathBuf>,
    /// Float weights to score beside the model.
    #[arg(long, value_name = "CHECKPOINT")]
    reference: Option<PathBuf>,
    /// Images at most, evenly spread.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Seed of noise and rain.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Least overlap of neighbouring windows in pixels; a quarter of the window if not given.
    #[arg(long, value_name = "PIXELS")]
    overlap: Option<usize>,
    /// Also measure what the seams between windows cost: the model restores every image on four shifted grids
    /// of windows, which takes four times as long again.
    #[arg(long)]
    seams: bool,
    /// Write degraded, restored and clean images side by side into this folder.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Also write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Fail if the mean PSNR of a task is lower than the reference's by more than this, in dB.
    #[arg(long, value_name = "DB", requires = "reference", value_parser = super::parse_limit)]
    #[arg(allow_negative_numbers = true)]
    max_psnr_drop: Option<f64>,
    #[command(flatten)]
    load: IptLoadArgs,
}

impl EvalArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let plan = Plan::new().reads_weights([&self.model]).reads_weights(&self.reference);
        let plan = plan.reads_data([&self.clean]).reads_data(&self.degraded);
        plan.writes_into(&self.save).writes(&self.html, Kind::Html).check()?;
        with_threads(None, move || self.score(json))
    }

    fn score(self, json: bool) -> Result<()> {
        expect_restorer(&self.model)?;
        let pairs = find_pairs(&self.clean, self.degraded.as_deref(), self.limit)?;
        let reference = self.reference.as_deref().map(|path| self.load.load(path)).transpose()?;
        let model = self.load.load(&self.model)?;
        if reference.is_none() {
            self.load.refuse_on_converted(&self.model, &model)?;
        }
        let tasks = if self.task.is_empty() { model.config().tasks.to_vec() } else { self.task };
        if self.degraded.is_some() && tasks.len() != 1 {
            bail!("--degraded is of one task; name it with --task");
        }
        let options = EvalOptions {
            tasks: &tasks,
            seed: self.seed,
            overlap: self.overlap,
            max_psnr_drop: self.max_psnr_drop,
            save: self.save.as_deref(),
            pictures: self.html.is_some(),
            seams: self.seams,
        };
        let bars = Bars::default();
        let progress = |name: &str, done: usize, all: usize| bars.report(name, done, all);
        let report = evaluate(&model, reference.as_ref(), &pairs, &options, &progress)?;
        if let Some(path) = &self.html {
            output::write(path, render_html(&report))?;
        }
        if let Some(saturation) = SaturationReport::new([("the worst window".into(), &report.saturation)]) {
            console::note(&format!("warning: {saturation}"));
        }
        super::print(json, &report, render)?;
        if !report.failures.is_empty() {
            bail!("evaluation fails: {}", report.failures.join("; "));
        }
        Ok(())
    }
}
