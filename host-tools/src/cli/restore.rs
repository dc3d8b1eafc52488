use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;
use serde::Serialize;
use vitreous::models::ipt::Task;

use super::firmware::FirmwareArgs;
use super::load::{chosen_task, IptLoadArgs};
use super::progress::Bars;
use super::target_cost::render_cost;
use crate::checkpoint::ipt::parse_task;
use crate::degrade::Picture;
use crate::image_input::images_below;
use crate::inspect::grouped;
use crate::output::{self, Kind, Plan};
use crate::restorer::RestoreModel;
use crate::target::{restore_on_target, RunOptions, Target, TargetRestored, TargetRun};
use crate::text::{serialize_path, shown};
use crate::train::with_threads;

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// A .vtr file of a restorer, or its float weights (a .pt or .safetensors file, or a folder).
    model: PathBuf,
    /// Images of any common format and size, or folders of them. Grey becomes RGB, 16 bits become 8, alpha is left out.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// What to repair, such as denoise50 or x2; needed if the model has several tasks.
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
    /// Folder for the restored images, PNG files of the images' names.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Least overlap of neighbouring windows in pixels; a quarter of the window if not given.
    #[arg(long, value_name = "PIXELS")]
    overlap: Option<usize>,
    /// Threads, which share the windows of an image; 0 takes all cores.
    #[arg(long, default_value_t = 0, conflicts_with = "target", value_parser = super::parse_threads)]
    threads: usize,
    /// Restore on this emulated target instead of this machine: qemu-m4, qemu-m7, qemu-m33, qemu-m55, qemu-riscv32,
    /// qemu-cortex-a, qemu-m0.
    #[arg(long)]
    target: Option<Target>,
    /// Longest time for the target, in seconds.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    #[command(flatten)]
    firmware: FirmwareArgs,
    #[command(flatten)]
    load: IptLoadArgs,
}

#[derive(Serialize)]
struct RestoreReport {
    model: String,
    task: String,
    machine: String,
    images: Vec<Restored>,
    /// What the target needed, if it was one.
    target: Option<TargetRun<TargetRestored>>,
}

#[derive(Serialize)]
struct Restored {
    #[serde(serialize_with = "serialize_path")]
    image: PathBuf,
    #[serde(serialize_with = "serialize_path")]
    output: PathBuf,
    width: usize,
    height: usize,
    /// Unknown on a target.
    milliseconds: Option<f64>,
}

impl RestoreArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        with_threads(Some(self.threads).filter(|threads| *threads > 0), move || self.restore_files(json))
    }

    fn restore_files(self, json: bool) -> Result<()> {
        let outputs = outputs(&self.images, &self.out)?;
        let plan = Plan::new().reads_weights([&self.model]).reads(outputs.values());
        plan.writes_into([&self.out]).writes(outputs.keys(), Kind::Png).check()?;
        let model = self.load.load(&self.model)?;
        let task = chosen_task(self.task, &model.config().tasks)?;
        model.check_task(&task)?;
        output::folder(&self.out)?;
        if let Some(target) = self.target {
            let report = self.on_target(target, &model, task, &outputs)?;
            return super::print(json, &report, render);
        }
        let bars = Bars::default();
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for (output, image) in &outputs {
            match self.restore(&model, &task, image, output, &bars) {
                Ok(restored) => images.push(restored),
                // One bad file among many does not cost the others.
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        let report = RestoreReport {
            model: model.name()?,
            task: task.to_string(),
            machine: "this machine".into(),
            images,
            target: None,
        };
        super::print(json, &report, render)?;
        if !failures.is_empty() {
            bail!("{} of {} images are not restored: {}", failures.len(), outputs.len(), failures.join("; "));
        }
        Ok(())
    }

    fn restore(
        &self,
        model: &RestoreModel,
        task: &Task,
        image: &Path,
        output: &Path,
        bars: &Bars,
    ) -> Result<Restored> {
        let picture = Picture::load(image)?;
        let start = Instant::now();
        let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let progress = |done: usize, all: usize| bars.report(&name, done, all);
        let restored = model.restore_all(task, std::slice::from_ref(&picture), self.overlap, &progress);
        let restored = restored.with_context(|| image.display().to_string())?;
        let milliseconds = Some(start.elapsed().as_secs_f64() * 1e3);
        let [restored] = &restored[..] else { bail!("{}: not restored", image.display()) };
        restored.save_png(output)?;
        let (width, height) = (restored.width, restored.height);
        Ok(Restored { image: image.to_owned(), output: output.to_owned(), width, height, milliseconds })
    }
}

impl RestoreArgs {
    /// Restores all images in one start of the target.
    fn on_target(
        &self,
        target: Target,
        model: &RestoreModel,
        task: Task,
        outputs: &BTreeMap<PathBuf, PathBuf>,
    ) -> Result<RestoreReport> {
        let RestoreModel::Engine(engine) = model else {
            bail!("{} holds float weights; convert them to a .vtr file for a target", self.model.display())
        };
        let pictures: Result<Vec<Picture>> =
            outputs.values().map(|image| Ok(Picture::load(image)?)).collect();
        let (pictures, bars) = (pictures?, Bars::default());
        let mut progress = |done, all| bars.report(target.name(), done, all);
        let options = RunOptions {
            timeout: Duration::from_secs(self.timeout),
            firmware: self.firmware.firmware.clone(),
            progress: Some(&mut progress),
            ..RunOptions::default()
        };
        let index = engine.task_index(&task)?;
        let run = restore_on_target(target, &self.model, index, &pictures, self.overlap, options)
            .with_context(|| format!("cannot run {} on {target}", self.model.display()))?;
        let mut images = Vec::new();
        for ((output, image), restored) in outputs.iter().zip(&run.results) {
            restored.image.save_png(output)?;
            let (width, height) = (restored.image.width, restored.image.height);
            let (image, output) = (image.clone(), output.clone());
            images.push(Restored { image, output, width, height, milliseconds: None });
        }
        let (model, task) = (model.name()?, task.to_string());
        Ok(RestoreReport { model, task, machine: target.to_string(), images, target: Some(run) })
    }
}

/// The images by the file that each is restored to.
fn outputs(images: &[PathBuf], out: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut outputs: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for given in images {
        for image in images_below(given)? {
            let mut name = image.file_stem().unwrap_or_default().to_owned();
            name.push(".png");
            let output = out.join(name);
            if let (Ok(a), Ok(b)) = (std::fs::canonicalize(&output), std::fs::canonicalize(&image)) {
                if a == b {
                    bail!("{} would be overwritten by its restoration; pass another --out", image.display());
                }
            }
            if let Some(other) = outputs.insert(output.clone(), image.clone()) {
                let output = output.display();
                bail!(
                    "{} and {} would both become {output}; restore them apart",
                    other.display(),
                    image.display()
                );
            }
        }
    }
    Ok(outputs)
}

fn render(report: &RestoreReport) -> String {
    let line = |r: &Restored| {
        let (image, output) = (shown(&r.image), shown(&r.output));
        let time = r.milliseconds.map_or(String::new(), |ms| format!(", {ms:.0} ms"));
        format!("{image} → {output}: {}×{} pixels{time}", r.width, r.height)
    };
    let mut lines = vec![format!("{} by {} on {}", report.task, report.model, report.machine)];
    lines.extend(report.images.iter().map(line));
    if let Some(run) = &report.target {
        if let Some(last) = run.results.last() {
            lines.push(format!("row bands {} bytes beside the arena", grouped(last.band.band_bytes.into())));
            lines.push(render_cost(&run.target.to_string(), run.arena_bytes, run.seconds, &last.cost));
        }
    }
    lines.join("\n")
}
