use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::architecture::expect_classifier;
use super::firmware::FirmwareArgs;
use super::predictions::{Predictions, MAX_TOP};
use super::progress::Bars;
use super::samples;
use super::target_cost::render_cost;
use crate::console;
use crate::engine::Engine;
use crate::image_input::{Failed, FoundImage};
use crate::pool::Pool;
use crate::saturation::{Saturation, SaturationReport};
use crate::target::{run_on_target, RunOptions, Target, TargetResult, TargetRun};
use crate::text::{serialize_path, shown};

#[derive(Args, Debug)]
pub struct RunArgs {
    /// The .vtr file.
    model: PathBuf,
    /// Image files of any common format and size, or folders of them.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Classes to list, 5 if not given; of labels that hold each for itself, all that do if they are more;
    /// all values of a regression.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=MAX_TOP as i64))]
    top: Option<u8>,
    /// Threads on this machine; 0 takes all cores.
    #[arg(long, default_value_t = 0, value_parser = super::parse_threads)]
    threads: usize,
    /// Run on this emulated target instead of this machine: qemu-m4, qemu-m7, qemu-m33, qemu-m55,
    /// qemu-riscv32, qemu-cortex-a, qemu-m0, qemu-m4-softfp.
    #[arg(long)]
    target: Option<Target>,
    /// Longest time for the target, in seconds.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    #[command(flatten)]
    firmware: FirmwareArgs,
}

#[derive(Serialize)]
struct RunReport {
    #[serde(serialize_with = "serialize_path")]
    model: PathBuf,
    machine: String,
    images: Vec<ImageReport>,
    /// Images that could not be read.
    failed: Failed,
    /// What the target needed, if it was one.
    target: Option<TargetRun>,
}

#[derive(Serialize)]
struct ImageReport {
    #[serde(serialize_with = "serialize_path")]
    image: PathBuf,
    /// What is to be known of the file, such as damage.
    warnings: Vec<String>,
    milliseconds: Option<f64>,
    #[serde(flatten)]
    predictions: Option<Predictions>,
    /// Output of a model without head.
    features: Option<Vec<f32>>,
    /// Values of the residual stream that f16 could not hold; not known of a target.
    saturation: Option<Saturation>,
}

impl RunArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        expect_classifier(&self.model)?;
        let engine = Engine::load(&self.model)?;
        let found = samples::find(&self.images)?;
        let report = match self.target {
            Some(target) => self.on_target(&engine, target, &found)?,
            None => self.on_host(&engine, &found)?,
        };
        if json || !report.images.is_empty() {
            super::print(json, &report, render)?;
        }
        report.failed.check(found.len(), "read")
    }

    fn on_host(&self, engine: &Engine, found: &[FoundImage]) -> Result<RunReport> {
        let (mut images, mut failed) = (Vec::new(), Failed::default());
        let pool = Pool::new(self.threads)?;
        let mut session = engine.session_on(Some(&pool))?;
        for FoundImage { path, .. } in found {
            let Some(loaded) = failed.keep(path, samples::load(engine.into(), path)) else { continue };
            let start = Instant::now();
            let output = session.run(&loaded.value, false)?;
            let milliseconds = start.elapsed().as_secs_f64() * 1e3;
            let mut image = self.image(engine, path, &output.logits, &output.features, Some(milliseconds));
            image.warnings = loaded.warnings;
            image.saturation = Some(output.saturation);
            images.push(image);
        }
        let saturations = images
            .iter()
            .filter_map(|image| image.saturation.as_ref().map(|cut| (shown(&image.image).to_string(), cut)));
        if let Some(report) = SaturationReport::new(saturations) {
            console::note(&format!("warning: {report}"));
        }
        let (model, machine) = (self.model.clone(), "this machine".into());
        Ok(RunReport { model, machine, images, failed, target: None })
    }

    fn on_target(&self, engine: &Engine, target: Target, found: &[FoundImage]) -> Result<RunReport> {
        let (mut files, mut pixels, mut failed) = (Vec::new(), Vec::new(), Failed::default());
        for FoundImage { path, .. } in found {
            if let Some(loaded) = failed.keep(path, samples::load(engine.into(), path)) {
                files.push((path, loaded.warnings));
                pixels.push(loaded.value);
            }
        }
        let (model, machine) = (self.model.clone(), target.to_string());
        if files.is_empty() {
            return Ok(RunReport { model, machine, images: Vec::new(), failed, target: None });
        }
        let bars = Bars::default();
        let mut progress = |done, all| bars.report(target.name(), done, all);
        let options = RunOptions {
            features: engine.config().classes == 0,
            timeout: Duration::from_secs(self.timeout),
            firmware: self.firmware.firmware.clone(),
            progress: Some(&mut progress),
            ..RunOptions::default()
        };
        let run = run_on_target(target, &self.model, &pixels, options)
            .with_context(|| format!("cannot run {} on {target}", self.model.display()))?;
        let results = files.into_iter().zip(&run.results);
        let image = |((path, warnings), r): ((&PathBuf, _), &TargetResult)| ImageReport {
            warnings,
            ..self.image(engine, path, &r.logits, &r.features, None)
        };
        let images = results.map(image).collect();
        Ok(RunReport { model, machine, images, failed, target: Some(run) })
    }

    fn image(
        &self,
        engine: &Engine,
        path: &std::path::Path,
        logits: &[f32],
        features: &[f32],
        milliseconds: Option<f64>,
    ) -> ImageReport {
        let top = self.top.map(usize::from);
        ImageReport {
            image: path.to_owned(),
            warnings: Vec::new(),
            milliseconds,
            predictions: (!logits.is_empty()).then(|| Predictions::new(engine, logits, top)),
            features: logits.is_empty().then(|| features.to_vec()),
            saturation: None,
        }
    }
}

fn render(report: &RunReport) -> String {
    let mut text = String::new();
    for image in &report.images {
        let time = image.milliseconds.map_or(String::new(), |ms| format!(", {ms:.1} ms"));
        text += &format!("{} on {}{time}\n", shown(&image.image), report.machine);
        if let Some(features) = &image.features {
            text += &format!("features ({}): {features:?}\n", features.len());
        }
        if let Some(predictions) = &image.predictions {
            text += &format!("{}\n", predictions.render());
        }
    }
    if let Some(run) = &report.target {
        if let Some(last) = run.results.last() {
            text += &render_cost(&run.target.to_string(), run.arena_bytes, run.seconds, &last.cost);
        }
    }
    text.trim_end().to_owned()
}
