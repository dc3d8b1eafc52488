//! The proof of a restorer: clean photographs degraded, restored by the float reference and by the model, and
//! scored.

mod html;
mod pairs;
mod seams;
mod sheet;
mod table;

pub use html::render_html;
pub use pairs::{find_pairs, Pair};
pub use seams::{SeamGrids, Seams};
pub use sheet::sheet;
pub use table::render;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use vitreous::models::ipt::{Task, TaskKind};
use vitreous::pipeline::default_overlap;

use crate::degrade::Picture;
use crate::image_input::{resize_bicubic, Failed};
use crate::metrics::Score;
use crate::restorer::RestoreModel;
use crate::saturation::Saturation;
use crate::verdict::Unjudged;

/// Images in memory at a time.
const CHUNK: usize = 8;
/// Pictures on an HTML page per task.
const HTML_PICTURES: usize = 6;

/// What to score.
#[derive(Clone, Debug)]
pub struct EvalOptions<'a> {
    /// Tasks, each a table.
    pub tasks: &'a [Task],
    /// Seed of the degradations; the same images get the same ones whatever else is scored.
    pub seed: u64,
    /// Overlap of windows in pixels; the engine's default if `None`.
    pub overlap: Option<usize>,
    /// Most PSNR in dB that the model may lose against the reference, in the mean of a task.
    pub max_psnr_drop: Option<f64>,
    /// Folder for pictures side by side, one subfolder per task.
    pub save: Option<&'a Path>,
    /// Whether the report keeps pictures for [`render_html`].
    pub pictures: bool,
    /// Whether the model's seams are measured too: every image is restored four more times.
    pub seams: bool,
}

/// One image's scores against the clean one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scores {
    /// The degraded image; of a smaller one, its bicubic enlargement.
    pub degraded: Score,
    /// Restored by the float reference.
    pub reference: Option<Score>,
    /// Restored by the model.
    pub model: Score,
}

/// One image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    /// File name.
    pub image: String,
    /// Of the restored image, in pixels.
    pub width: usize,
    /// Of the restored image, in pixels.
    pub height: usize,
    /// Its scores.
    pub scores: Scores,
    /// What the model's seams cost, if that was asked for and the image has room for shifted windows.
    pub seams: Option<Seams>,
}

/// What seams cost a task, over the images that have room for shifted windows.
#[derive(Clone, Debug, Serialize)]
pub struct SeamReport {
    /// Overlap of windows in pixels of the degraded image.
    pub overlap: usize,
    /// Number of these images.
    pub images: usize,
    /// Mean over them, if there are any.
    #[serde(flatten)]
    pub mean: Option<Seams>,
    /// Greatest cost of one image.
    pub worst_cost_db: Option<f64>,
}

/// One task over all images.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// The task's name.
    pub task: String,
    /// Whether the field judges this task by luma; else by all colours.
    pub by_luma: bool,
    /// Pixels left out on each side.
    pub shave: usize,
    /// Image by image.
    pub images: Vec<ImageReport>,
    /// Mean over the images.
    pub mean: Scores,
    /// Mean PSNR of the model less that of the reference, as the field judges the task, in dB.
    pub psnr_difference_db: Option<f64>,
    /// What the model's seams cost, if that was asked for.
    pub seams: Option<SeamReport>,
    /// Pictures for the HTML page: name and JPEG, those first on which model and reference differ most.
    #[serde(skip)]
    pub pictures: Vec<(String, Vec<u8>)>,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// The model's name.
    pub model: String,
    /// `int8` for a `.vtr`, `float` for float weights.
    pub kind: &'static str,
    /// The reference's name.
    pub reference: Option<String>,
    /// Seed of the degradations; `None` where degraded images were given.
    pub seed: Option<u64>,
    /// Task by task.
    pub tasks: Vec<TaskReport>,
    /// What the comparison can't judge.
    #[serde(flatten)]
    pub unjudged: Unjudged,
    /// Images that could not be scored.
    pub failed: Failed,
    /// Values that f16 could not hold, in the worst of all windows.
    pub saturation: Saturation,
    /// Threshold asked for.
    pub max_psnr_drop_db: Option<f64>,
    /// Thresholds not met, in words; empty if the report passes.
    pub failures: Vec<String>,
}

/// Called with a part's name, images done and images in all.
pub type ProgressFn<'a> = dyn Fn(&str, usize, usize) + Sync + 'a;

/// Whether the field judges a task by luma: denoising of colour photographs is judged by all colours, the
/// others by luma (as in Chen et al., arXiv 2012.00364, §4).
fn by_luma(task: &Task) -> bool {
    task.kind != TaskKind::Denoise
}

impl Score {
    /// PSNR as the field judges a task.
    fn judged(&self, by_luma: bool) -> f64 {
        if by_luma {
            self.psnr_luma
        } else {
            self.psnr_rgb
        }
    }
}

/// Scores `model`, and `reference` beside it, on pairs of images.
///
/// # Errors
/// A file that cannot be read, with its name; images that are no pair; a model without the task; a folder
/// that cannot be written.
pub fn evaluate(
    model: &RestoreModel,
    reference: Option<&RestoreModel>,
    pairs: &[Pair],
    options: &EvalOptions,
    progress: &ProgressFn,
) -> Result<EvalReport> {
    anyhow::ensure!(!pairs.is_empty(), "no images to score");
    if let Some(reference) = reference {
        check_reference(model, reference)?;
    }
    for task in options.tasks {
        model.check_task(task)?;
        reference.map_or(Ok(()), |reference| reference.check_task(task))?;
    }
    let given = pairs.iter().any(|pair| pair.degraded.is_some());
    let mut report = EvalReport {
        model: model.name()?,
        kind: if matches!(model, RestoreModel::Engine(_)) { "int8" } else { "float" },
        reference: reference.map(RestoreModel::name).transpose()?,
        seed: (!given).then_some(options.seed),
        tasks: Vec::new(),
        unjudged: match reference {
            Some(reference) => Unjudged::new(
                (&model.settings()?, model.source_sha256()?),
                (&reference.settings()?, reference.source_sha256()?),
            ),
            None => Unjudged::default(),
        },
        failed: Failed::default(),
        saturation: Saturation::default(),
        max_psnr_drop_db: options.max_psnr_drop,
        failures: Vec::new(),
    };
    for (index, task) in options.tasks.iter().enumerate() {
        // What is to be known of a file is said once.
        let run = TaskRun { model, reference, task, options, kind: report.kind, warn: index == 0 };
        report.tasks.push(run.all(pairs, &mut report.failed, progress)?);
    }
    report.saturation = model.take_saturation();
    report.failures = failures(&report);
    report.failures.extend(report.failed.message(pairs.len(), "scored"));
    Ok(report)
}

/// Settings that a model and its float weights must share. The others a conversion may change: the tasks, the
/// size of the window.
const SHARED: [&str; 3] = ["heads", "norm-eps", "weights"];

fn check_reference(model: &RestoreModel, reference: &RestoreModel) -> Result<()> {
    let RestoreModel::Float(float) = reference else {
        anyhow::bail!("--reference is a converted model: give the float weights that it was made from");
    };
    if let Some(differences) = model.settings()?.differences(float.settings(), &SHARED) {
        anyhow::bail!(
            "the reference has other settings than the model: {differences}; give the options of convert"
        );
    }
    Ok(())
}

/// PSNR in dB by which a model and its float weights can't differ: these are two networks.
const ANOTHER_NETWORK_DB: f64 = 3.0;

/// One task of an evaluation.
struct TaskRun<'a> {
    model: &'a RestoreModel,
    reference: Option<&'a RestoreModel>,
    task: &'a Task,
    options: &'a EvalOptions<'a>,
    kind: &'static str,
    /// Whether warnings about files are printed.
    warn: bool,
}

impl TaskRun<'_> {
    fn all(&self, pairs: &[Pair], failed: &mut Failed, progress: &ProgressFn) -> Result<TaskReport> {
        let shave = if self.task.scale > 1 { self.task.scale } else { 0 };
        let mut images = Vec::new();
        // Likeliest to be looked at, with how much model and reference differ.
        let mut pictures: Vec<(f64, String, Vec<u8>)> = Vec::new();
        for chunk in pairs.chunks(CHUNK) {
            let load = |pair: &Pair| pair.load(self.task, self.options.seed, self.warn);
            let taken = chunk.iter().filter_map(|pair| Some((pair, failed.keep(&pair.clean, load(pair))?)));
            let (chunk, loaded): (Vec<&Pair>, Vec<(Picture, Picture)>) = taken.unzip();
            let degraded: Vec<Picture> = loaded.iter().map(|(degraded, _)| degraded.clone()).collect();
            let restore = |model: &RestoreModel, name: &str| {
                let name = format!("{} {name}", self.task);
                let before = images.len();
                let report = |done: usize, all: usize| {
                    progress(&name, before + done * chunk.len() / all.max(1), pairs.len())
                };
                model.restore_all(self.task, &degraded, self.options.overlap, &report)
            };
            let reference = self.reference.map(|reference| restore(reference, "reference")).transpose()?;
            let restored = restore(self.model, self.kind)?;
            let seams = self.seams(&loaded, &|done, all| {
                let name = format!("{} seams", self.task);
                progress(&name, images.len() + done * chunk.len() / all.max(1), pairs.len());
            })?;
            for (index, (pair, (degraded, clean))) in chunk.iter().zip(&loaded).enumerate() {
                let input = enlarged(degraded, self.task.scale);
                let reference = reference.as_ref().map(|all| &all[index]);
                let model = &restored[index];
                let score = |image: &Picture| Score::new(image, clean, shave);
                let scores =
                    Scores { degraded: score(&input), reference: reference.map(score), model: score(model) };
                self.keep_picture(
                    &mut pictures,
                    pair,
                    &scores,
                    [Some(&input), reference, Some(model), Some(clean)],
                )?;
                let (image, width, height) = (pair.name.clone(), clean.width, clean.height);
                images.push(ImageReport { image, width, height, scores, seams: seams[index] });
            }
        }
        let mean = mean(&images).with_context(|| {
            failed.message(pairs.len(), "scored").unwrap_or_else(|| "no images to score".into())
        })?;
        let by_luma = by_luma(self.task);
        Ok(TaskReport {
            task: self.task.to_string(),
            by_luma,
            shave,
            seams: self.seam_report(&images),
            images,
            mean,
            psnr_difference_db: difference(&mean, by_luma),
            pictures: pictures.into_iter().map(|(_, name, jpeg)| (name, jpeg)).collect(),
        })
    }

    /// What the model's seams cost each image, where that was asked for and is possible.
    fn seams(
        &self,
        loaded: &[(Picture, Picture)],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Option<Seams>>> {
        if !self.options.seams {
            return Ok(vec![None; loaded.len()]);
        }
        let grids = loaded.iter().map(|(degraded, _)| {
            let size = (degraded.width, degraded.height);
            SeamGrids::new(size, self.model.config().window, self.overlap(), self.task.scale)
        });
        let grids: Vec<Option<SeamGrids>> = grids.collect();
        let crops: Vec<Picture> = grids
            .iter()
            .zip(loaded)
            .filter_map(|(grids, (degraded, _))| Some(grids.as_ref()?.crops(degraded)))
            .flatten()
            .collect();
        let restored = self.model.restore_all(self.task, &crops, self.options.overlap, progress)?;
        let mut restored = restored.chunks_exact(seams::GRIDS);
        let measure = |(grids, (_, clean)): (&Option<SeamGrids>, &(Picture, Picture))| {
            Some(grids.as_ref()?.measure(restored.next()?, clean, by_luma(self.task)))
        };
        Ok(grids.iter().zip(loaded).map(measure).collect())
    }

    fn overlap(&self) -> usize {
        self.options.overlap.unwrap_or(default_overlap(self.model.config().window))
    }

    fn seam_report(&self, images: &[ImageReport]) -> Option<SeamReport> {
        let all: Vec<Seams> = images.iter().filter_map(|image| image.seams).collect();
        self.options.seams.then(|| SeamReport {
            overlap: self.overlap(),
            images: all.len(),
            mean: Seams::mean(&all),
            worst_cost_db: all.iter().map(|seams| seams.cost_db).reduce(f64::max),
        })
    }

    /// Saves the images side by side, and keeps them for the HTML page if they belong to those that differ
    /// most.
    fn keep_picture(
        &self,
        kept: &mut Vec<(f64, String, Vec<u8>)>,
        pair: &Pair,
        scores: &Scores,
        images: [Option<&Picture>; 4],
    ) -> Result<()> {
        if self.options.save.is_none() && !self.options.pictures {
            return Ok(());
        }
        let by_luma = by_luma(self.task);
        let label = |name: &str, score: Option<&Score>| match score {
            Some(score) => format!("{name} {:.2} dB", score.judged(by_luma)),
            None => name.to_owned(),
        };
        let labels = [
            label("degraded", Some(&scores.degraded)),
            label("reference", scores.reference.as_ref()),
            label(self.kind, Some(&scores.model)),
            label("clean", None),
        ];
        let parts: Vec<(&Picture, &str)> = images
            .iter()
            .zip(&labels)
            .filter_map(|(image, label)| Some(((*image)?, label.as_str())))
            .collect();
        let picture = sheet(&parts);
        if let Some(folder) = self.options.save {
            let folder = folder.join(self.task.to_string());
            crate::output::folder(&folder)?;
            picture.save_png(&folder.join(format!("{}.png", pair.stem())))?;
        }
        let difference = difference(scores, by_luma).unwrap_or(0.0).abs();
        let place = kept.iter().position(|(kept, ..)| *kept < difference).unwrap_or(kept.len());
        if self.options.pictures && place < HTML_PICTURES {
            kept.insert(place, (difference, pair.name.clone(), sheet::jpeg(&picture)?));
            kept.truncate(HTML_PICTURES);
        }
        Ok(())
    }
}

/// What a viewer would do with a smaller image: bicubic enlargement.
fn enlarged(degraded: &Picture, scale: usize) -> Picture {
    if scale == 1 {
        return degraded.clone();
    }
    let (width, height) = (degraded.width * scale, degraded.height * scale);
    let data = resize_bicubic(&degraded.data, 3, [degraded.width, degraded.height], [width, height]);
    Picture { width, height, data }
}

fn mean(images: &[ImageReport]) -> Option<Scores> {
    let scores = images.iter().map(|image| &image.scores);
    Some(Scores {
        degraded: Score::mean(scores.clone().map(|s| &s.degraded))?,
        reference: Score::mean(scores.clone().filter_map(|s| s.reference.as_ref())),
        model: Score::mean(scores.map(|s| &s.model))?,
    })
}

/// PSNR of the model less that of the reference.
fn difference(scores: &Scores, by_luma: bool) -> Option<f64> {
    Some(scores.model.judged(by_luma) - scores.reference?.judged(by_luma))
}

fn failures(report: &EvalReport) -> Vec<String> {
    let lost = |task: &TaskReport| {
        let (drop, name) = (-task.psnr_difference_db?, &task.task);
        if drop.abs() > ANOTHER_NETWORK_DB {
            return Some(format!(
                "{name}: PSNR differs from that of the float weights by {:+.3} dB: these are two networks",
                -drop
            ));
        }
        let most = report.max_psnr_drop_db.filter(|most| drop > *most)?;
        Some(format!("{name}: PSNR drops by {drop:.3} dB, more than {most} dB"))
    };
    report.tasks.iter().filter_map(lost).collect()
}

#[cfg(test)]
mod tests;
