use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{bail, Context, Result};
use clap::Args;
use serde::Serialize;
use vitreous::models::ipt::Task;

use super::load::IptLoadArgs;
use super::progress::Bars;
use crate::checkpoint::ipt::parse_task;
use crate::degrade::Picture;
use crate::image_input::images_below;
use crate::restorer::RestoreModel;
use crate::train::threads::with_threads;

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
    #[command(flatten)]
    load: IptLoadArgs,
}

#[derive(Serialize)]
struct RestoreReport {
    model: String,
    task: String,
    images: Vec<Restored>,
}

#[derive(Serialize)]
struct Restored {
    image: PathBuf,
    output: PathBuf,
    width: usize,
    height: usize,
    milliseconds: f64,
}

impl RestoreArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        with_threads(None, move || self.restore_files(json))
    }

    fn restore_files(self, json: bool) -> Result<()> {
        let outputs = outputs(&self.images, &self.out)?;
        let model = self.load.load(&self.model)?;
        let task = self.task(&model)?;
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))?;
        let bars = Bars::default();
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for (output, image) in &outputs {
            match self.restore(&model, &task, image, output, &bars) {
                Ok(restored) => images.push(restored),
                // One bad file among many does not cost the others.
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        let report = RestoreReport { model: model.name()?, task: task.to_string(), images };
        super::print(json, &report, render)?;
        if !failures.is_empty() {
            bail!("{} of {} images are not restored: {}", failures.len(), outputs.len(), failures.join("; "));
        }
        Ok(())
    }

    fn task(&self, model: &RestoreModel) -> Result<Task> {
        let tasks = &model.config().tasks;
        let task = match (self.task, tasks.as_slice()) {
            (Some(task), _) => task,
            (None, [task]) => *task,
            (None, tasks) => {
                let names: Vec<String> = tasks.iter().map(Task::to_string).collect();
                bail!("the model has several tasks; pass --task with one of {}", names.join(", "))
            }
        };
        model.check_task(&task)?;
        Ok(task)
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
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let [restored] = &restored[..] else { bail!("{}: not restored", image.display()) };
        restored.save_png(output)?;
        let (width, height) = (restored.width, restored.height);
        Ok(Restored { image: image.to_owned(), output: output.to_owned(), width, height, milliseconds })
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
        let (image, output) = (r.image.display(), r.output.display());
        format!("{image} → {output}: {}×{} pixels, {:.0} ms", r.width, r.height, r.milliseconds)
    };
    let mut lines = vec![format!("{} by {}", report.task, report.model)];
    lines.extend(report.images.iter().map(line));
    lines.join("\n")
}
