use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;
use serde::Serialize;
use vitreous::models::ipt::Task;

use super::architecture::expect_restorer;
use super::firmware::FirmwareArgs;
use super::load::IptLoadArgs;
use super::progress::Bars;
use super::samples;
use super::target_cost::render_cost;
use crate::checkpoint::ipt::parse_task;
use crate::console;
use crate::degrade::Picture;
use crate::image_input::{print_warnings, Failed, FoundImage};
use crate::output::{self, Kind, Plan};
use crate::restorer::{chosen_task, RestoreModel, RestoredFile, RestorerInput};
use crate::saturation::{Saturation, SaturationReport};
use crate::target::{restore_on_target, RunOptions, Target, TargetRestored, TargetRun};
use crate::text::{grouped, serialize_path, shown};
use crate::train::with_threads;

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// A .vtr file of a restorer, or its float weights (a .pt or .safetensors file, or a folder).
    model: PathBuf,
    /// Images of any common format and size, or folders of them. Alpha and colour profile are kept; grey
    /// becomes RGB, 16 bits become 8.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// What to repair, such as denoise50 or x2; needed if the model has several tasks.
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
    /// Folder for the restored images, PNG files of the images' names, in subfolders like theirs.
    #[arg(short, long, alias = "output", value_name = "FOLDER")]
    out: PathBuf,
    /// Write grey images as grey, not as RGB.
    #[arg(long)]
    keep_grey: bool,
    /// Least overlap of neighbouring windows in pixels; a quarter of the window if not given.
    #[arg(long, value_name = "PIXELS")]
    overlap: Option<usize>,
    /// Threads, which share the windows of an image; 0 takes all cores.
    #[arg(long, default_value_t = 0, conflicts_with = "target", value_parser = super::parse_threads)]
    threads: usize,
    /// Restore on this emulated target instead of this machine: qemu-m4, qemu-m7, qemu-m33, qemu-m55,
    /// qemu-riscv32, qemu-cortex-a, qemu-m0, qemu-m4-softfp.
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
    /// Images that are not restored.
    failed: Failed,
    /// What the files hold that their restorations do not.
    not_kept: Vec<String>,
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
    /// What is to be known of the file, such as damage.
    warnings: Vec<String>,
    /// Unknown on a target.
    milliseconds: Option<f64>,
    /// Values that f16 could not hold, in the worst window; not known of a target.
    saturation: Saturation,
}

/// An image and the file that it is restored to.
struct Job {
    image: PathBuf,
    output: PathBuf,
}

impl RestoreArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        with_threads(Some(self.threads).filter(|threads| *threads > 0), move || self.restore_files(json))
    }

    fn restore_files(self, json: bool) -> Result<()> {
        let jobs = jobs(&samples::find(&self.images)?, &self.out)?;
        let plan = Plan::new().reads_weights([&self.model]).reads(jobs.iter().map(|job| &job.image));
        let plan = plan.reads_data(&self.images);
        plan.writes_into([&self.out]).writes(jobs.iter().map(|job| &job.output), Kind::Png).check()?;
        expect_restorer(&self.model)?;
        let model = self.load.load(&self.model)?;
        self.load.refuse_on_converted(&self.model, &model)?;
        let task = chosen_task(self.task, &model.config().tasks)?;
        model.check_task(&task)?;
        output::folder(&self.out)?;
        let report = match self.target {
            Some(target) => self.on_target(target, &model, task, &jobs)?,
            None => self.on_host(&model, task, &jobs)?,
        };
        report.not_kept.iter().for_each(|note| console::note(&format!("note: {note}")));
        super::print(json, &report, render)?;
        report.failed.check(jobs.len(), "restored")
    }

    fn on_host(&self, model: &RestoreModel, task: Task, jobs: &[Job]) -> Result<RestoreReport> {
        let bars = Bars::default();
        let (mut images, mut failed, mut left_out) = (Vec::new(), Failed::default(), LeftOut::default());
        for job in jobs {
            let restored = self.restore(model, &task, job, &mut left_out, &bars);
            images.extend(failed.keep(&job.image, restored));
        }
        let (model, task, machine) = (model.name()?, task.to_string(), "this machine".into());
        Ok(RestoreReport { model, task, machine, images, failed, not_kept: left_out.notes(), target: None })
    }

    fn restore(
        &self,
        model: &RestoreModel,
        task: &Task,
        job: &Job,
        left_out: &mut LeftOut,
        bars: &Bars,
    ) -> Result<Restored> {
        let input = load(&job.image)?;
        let start = Instant::now();
        let name = job.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let progress = |done: usize, all: usize| bars.report(&name, done, all);
        let restored = model.restore_all(task, std::slice::from_ref(&input.picture), self.overlap, &progress);
        let restored = restored.with_context(|| job.image.display().to_string())?;
        let milliseconds = Some(start.elapsed().as_secs_f64() * 1e3);
        let [restored] = &restored[..] else { bail!("{}: not restored", job.image.display()) };
        let saturation = model.take_saturation();
        if let Some(report) = SaturationReport::new([(shown(&job.image).to_string(), &saturation)]) {
            console::note(&format!("warning: {report}"));
        }
        let written = self.write(job, &input, restored, left_out, milliseconds)?;
        Ok(Restored { saturation, ..written })
    }

    /// Restores all images in one start of the target.
    fn on_target(
        &self,
        target: Target,
        model: &RestoreModel,
        task: Task,
        jobs: &[Job],
    ) -> Result<RestoreReport> {
        let RestoreModel::Engine(engine) = model else {
            bail!("{} holds float weights; convert them to a .vtr file for a target", self.model.display())
        };
        let (mut images, mut failed, mut left_out) = (Vec::new(), Failed::default(), LeftOut::default());
        let (mut taken, mut inputs, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            if let Some(mut input) = failed.keep(&job.image, load(&job.image)) {
                let size = [input.picture.width, input.picture.height];
                let picture = std::mem::replace(
                    &mut input.picture,
                    Picture { width: size[0], height: size[1], data: vec![] },
                );
                taken.push(job);
                pictures.push(picture);
                inputs.push(input);
            }
        }
        let (name, task_name, machine) = (model.name()?, task.to_string(), target.to_string());
        let mut run = None;
        if !pictures.is_empty() {
            let bars = Bars::default();
            let mut progress = |done, all| bars.report(target.name(), done, all);
            let options = RunOptions {
                timeout: Duration::from_secs(self.timeout),
                firmware: self.firmware.firmware.clone(),
                progress: Some(&mut progress),
                ..RunOptions::default()
            };
            let index = engine.task_index(&task)?;
            let results = restore_on_target(target, &self.model, index, &pictures, self.overlap, options)
                .with_context(|| format!("cannot run {} on {target}", self.model.display()))?;
            for ((job, input), result) in taken.iter().zip(&inputs).zip(&results.results) {
                let written = self.write(job, input, &result.image, &mut left_out, None);
                images.extend(failed.keep(&job.image, written));
            }
            run = Some(results);
        }
        let not_kept = left_out.notes();
        Ok(RestoreReport { model: name, task: task_name, machine, images, failed, not_kept, target: run })
    }

    /// Writes a restored image.
    fn write(
        &self,
        job: &Job,
        input: &RestorerInput,
        restored: &Picture,
        left_out: &mut LeftOut,
        milliseconds: Option<f64>,
    ) -> Result<Restored> {
        let file = input.finish(restored, self.keep_grey);
        output::folder(job.output.parent().unwrap_or(&self.out))?;
        let png = file.to_png().with_context(|| format!("cannot encode {}", shown(&job.output)))?;
        output::write(&job.output, png)?;
        left_out.add(input, &file);
        Ok(Restored {
            image: job.image.clone(),
            output: job.output.clone(),
            width: file.width,
            height: file.height,
            warnings: input.warnings.clone(),
            milliseconds,
            saturation: Saturation::default(),
        })
    }
}

/// Loads an image and prints its warnings.
fn load(path: &Path) -> Result<RestorerInput> {
    let input = RestorerInput::load(path)?;
    print_warnings(path, &input.warnings);
    Ok(input)
}

/// Numbers of images of which something is not kept; said once, at the end.
#[derive(Default)]
struct LeftOut {
    metadata: usize,
    depth: usize,
    profile: usize,
}

impl LeftOut {
    fn add(&mut self, input: &RestorerInput, file: &RestoredFile) {
        self.metadata += usize::from(input.has_metadata);
        self.depth += usize::from(input.is_deep);
        self.profile += usize::from(file.lost_profile);
    }

    fn notes(&self) -> Vec<String> {
        let images = |count: usize| match count {
            1 => "1 image".to_owned(),
            _ => format!("{count} images"),
        };
        let notes = [
            (self.metadata, "EXIF and XMP data are not kept (pictures are turned upright)"),
            (self.depth, "more than 8 bits per channel become 8"),
            (self.profile, "the colour profile is not kept: it is of other colours than the output's"),
        ];
        let met = notes.iter().filter(|(count, _)| *count > 0);
        met.map(|(count, what)| format!("{}: {what}", images(*count))).collect()
    }
}

/// The images with the files that they are restored to: below `out` as they are below the folders given.
///
/// # Errors
/// Two images of one output.
fn jobs(found: &[FoundImage], out: &Path) -> Result<Vec<Job>> {
    let mut taken: HashMap<String, &Path> = HashMap::new();
    let job = |image: &'_ FoundImage| Job {
        image: image.path.clone(),
        output: out.join(&image.below).with_extension("png"),
    };
    let mut jobs = Vec::new();
    for image in found {
        let job = job(image);
        if let Some(other) = taken.insert(one_case(&job.output), &image.path) {
            let (other, image, output) = (shown(other), shown(&job.image), shown(&job.output));
            bail!("{other} and {image} would both become {output}; restore them apart");
        }
        jobs.push(job);
    }
    Ok(jobs)
}

/// What names a file, on systems whose names do not differ in case alone.
fn one_case(path: &Path) -> String {
    let name = path.to_string_lossy();
    if cfg!(any(windows, target_os = "macos")) {
        name.to_lowercase()
    } else {
        name.into_owned()
    }
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
