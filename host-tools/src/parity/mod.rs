//! The proof: the same images through float reference, engine on the host and engine on targets.

mod html;
mod metrics;
mod outputs;
mod table;
mod units;

pub use html::render_html;
pub use metrics::Agreement;
pub use outputs::{Decisions, Differences, Outputs};
pub use table::render;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use vitreous::models::vit::VitConfig;

use crate::engine::{Engine, EngineOutput};
use crate::image_input::Failed;
use crate::metrics::sqnr_db;
use crate::reference::ReferenceVit;
use crate::saturation::SaturationReport;
use crate::target::{run_on_target, RunOptions, Target};
use crate::text::{printable, shown};
use crate::verdict::Unjudged;
use units::{eps_agree, Units};

/// Mean SQNR in dB below which a model does not pass where no limit is given. Networks of 8 bits have 25 and
/// more; two trainings of one network reach 6.
const ANOTHER_NETWORK_DB: f64 = 10.0;

/// Images that the reference computes at a time.
const BATCH: usize = 16;

/// Images whose hidden states are compared: they are large, and their mean settles quickly.
const STAGE_IMAGES: usize = 16;

/// One image as the model takes it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// File name, or a number.
    pub name: String,
    /// `(height, width, channels)`.
    pub pixels: Vec<u8>,
    /// Class, if known.
    pub class: Option<usize>,
}

/// What must hold for the report to pass.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Thresholds {
    /// Least mean SQNR of the output in dB.
    pub min_sqnr_db: Option<f64>,
    /// Most points of top-1 accuracy that the engine may lose.
    pub max_top1_drop: Option<f64>,
    /// Least share of images on which both have the same best class, or of decisions on labels that are the
    /// same, in percent.
    pub min_agreement: Option<f64>,
    /// Nothing may be assumed.
    pub strict: bool,
    /// Most by which a value of a regression may differ.
    pub max_difference: Option<f64>,
}

impl Thresholds {
    /// Limits of figures that were given: option and value.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let limits = [
            ("--min-sqnr", self.min_sqnr_db),
            ("--max-top1-drop", self.max_top1_drop),
            ("--min-agreement", self.min_agreement),
            ("--max-difference", self.max_difference),
        ];
        limits.into_iter().filter_map(|(option, value)| Some((option, value?)))
    }
}

/// Signal-to-quantization-noise ratio after one stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageSqnr {
    /// `embed`, `block 0`, …, `features`, `logits`.
    pub stage: String,
    /// Mean over images, in dB.
    pub mean_db: f64,
    /// Least over images, in dB.
    pub min_db: f64,
}

/// What a target did.
#[derive(Clone, Debug, Serialize)]
pub struct TargetParity {
    /// Name of the target.
    pub target: String,
    /// Images run.
    pub images: usize,
    /// Images on which every output byte equals the host's.
    pub equal: usize,
    /// Bytes of arena.
    pub arena_bytes: u32,
    /// Deepest stack in bytes, over all images.
    pub stack_bytes: u32,
    /// Executed instructions per image.
    pub instructions: Option<u64>,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct ParityReport {
    /// The model's name.
    pub model: String,
    /// Its file.
    pub model_file: String,
    /// Where the float weights are, if they come from a file.
    pub reference_file: Option<String>,
    /// Images compared.
    pub images: usize,
    /// Images that could not be read.
    pub failed: Failed,
    /// Images on which the stages are compared: the first ones.
    pub stage_images: usize,
    /// SQNR stage by stage.
    pub stages: Vec<StageSqnr>,
    /// Mean SQNR of the output over all images, in dB.
    pub output_sqnr_db: f64,
    /// Least SQNR of the output, in dB.
    pub output_min_sqnr_db: f64,
    /// Outputs compared by what they mean.
    pub outputs: Outputs,
    /// Values of the residual stream that f16 could not hold, if there were any.
    pub saturation: Option<SaturationReport>,
    /// Targets compared with the host.
    pub targets: Vec<TargetParity>,
    /// What the comparison can't judge.
    #[serde(flatten)]
    pub unjudged: Unjudged,
    /// Thresholds asked for.
    pub thresholds: Thresholds,
    /// Thresholds not met, in words; empty if the report passes.
    pub failures: Vec<String>,
}

/// What to compare.
pub struct ParityOptions<'a> {
    /// Targets beside the host.
    pub targets: &'a [Target],
    /// Images that run on targets: the first ones; all if `None`.
    pub target_images: Option<usize>,
    /// Firmware of the targets, as [`RunOptions`] has it.
    pub firmware: Option<&'a Path>,
    /// Longest time that a target may take.
    pub target_timeout: Duration,
    /// What must hold.
    pub thresholds: Thresholds,
}

/// Called with a stage's name, images done and images in all.
pub type ProgressFn<'a> = dyn Fn(&str, usize, usize) + Sync + 'a;

/// Runs the comparison.
///
/// # Errors
/// Reference, engine or a target fails on an image; different shapes of reference and model.
pub fn parity(
    engine: &Engine,
    reference: &ReferenceVit,
    samples: &[Sample],
    options: &ParityOptions,
    progress: &ProgressFn,
) -> Result<ParityReport> {
    anyhow::ensure!(!samples.is_empty(), "no images to compare");
    check_same_model(engine, reference)?;
    outputs::check_thresholds(engine.config(), &options.thresholds)?;
    let pixels: Vec<&[u8]> = samples.iter().map(|s| s.pixels.as_slice()).collect();
    let reference_outputs = run_reference(reference, &pixels, progress)?;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let outputs = engine.run_all(&pixels, false, || {
        let done = 1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        progress("engine", done, pixels.len());
    })?;
    let sqnr: Vec<f64> =
        reference_outputs.iter().zip(&outputs).map(|(r, o)| sqnr_db(r, o.output())).collect();
    let mut report = ParityReport {
        model: engine.with_vit(|vit| vit.model().name().to_owned())?,
        model_file: shown(engine.file().path()),
        reference_file: None,
        images: samples.len(),
        failed: Failed::default(),
        stage_images: pixels.len().min(STAGE_IMAGES),
        stages: compare_stages(engine, reference, &pixels[..pixels.len().min(STAGE_IMAGES)])?,
        output_sqnr_db: metrics::mean(&sqnr),
        output_min_sqnr_db: metrics::min(&sqnr),
        outputs: Outputs::new(engine.config(), samples, &reference_outputs, &outputs),
        saturation: SaturationReport::new(
            samples.iter().zip(&outputs).map(|(sample, output)| (sample.name.clone(), &output.saturation)),
        ),
        targets: Vec::new(),
        unjudged: Unjudged::new(
            (&engine.file().settings()?, engine.file().source_sha256()?),
            (reference.settings(), reference.source_sha256()),
        ),
        thresholds: options.thresholds,
        failures: Vec::new(),
    };
    let count = options.target_images.unwrap_or(samples.len()).min(samples.len());
    let images: Vec<Vec<u8>> = samples[..count].iter().map(|s| s.pixels.clone()).collect();
    for target in options.targets {
        report.targets.push(compare_target(
            *target,
            engine.file().path(),
            &images,
            &outputs,
            options,
            progress,
        )?);
    }
    report.failures = failures(&report);
    Ok(report)
}

fn check_same_model(engine: &Engine, reference: &ReferenceVit) -> Result<()> {
    let (ours, theirs) = (engine.config(), reference.config());
    // The converter may have scaled the residual stream, and ε with it.
    let same_eps = eps_agree(ours.norm_eps, theirs.norm_eps);
    let in_their_units =
        VitConfig { norm_eps: if same_eps { theirs.norm_eps } else { ours.norm_eps }, ..*ours };
    let (input, expected) = (engine.preprocess(), reference.preprocess());
    let path = shown(engine.file().path());
    let shapes = shape_differences(&in_their_units, theirs);
    anyhow::ensure!(shapes.is_empty(), "the reference is another network than {path}: {}", shapes.join(", "));
    if let Some(differences) = engine.file().settings()?.differences(reference.settings(), &[]) {
        anyhow::bail!(
            "the reference has other settings than {path}: {differences}; give parity the options of convert"
        );
    }
    let (labels, other) = (engine.labels(), reference.labels());
    if !labels.is_empty() && !other.is_empty() {
        let differ = labels.iter().zip(other).enumerate().find(|(_, (ours, theirs))| ours != theirs);
        if let Some((class, (ours, theirs))) = differ {
            let (ours, theirs) = (printable(ours), printable(theirs));
            anyhow::bail!(
                "class {class} of {path} is `{ours}`, and of the reference `{theirs}`: give --labels"
            );
        }
    }
    if (&in_their_units, input) == (theirs, expected) {
        return Ok(());
    }
    anyhow::ensure!(
        in_their_units == *theirs,
        "the reference is another network than {path}: pooling, norms, classifier, activation or epsilon \
         differ"
    );
    anyhow::bail!(
        "the reference has another preprocessing than {path}: the model has {input:?}, the reference \
         {expected:?}"
    )
}

/// The sizes in which two networks differ, each as `ours against theirs`.
fn shape_differences(ours: &VitConfig, theirs: &VitConfig) -> Vec<String> {
    let sizes = |c: &VitConfig| {
        [
            ("image height", c.image_height),
            ("image width", c.image_width),
            ("channels", c.channels),
            ("patch height", c.patch_height),
            ("patch width", c.patch_width),
            ("width", c.dim),
            ("blocks", c.depth),
            ("hidden width", c.hidden),
            ("classes", c.classes),
            ("tokens before the patches", c.prefix_tokens()),
        ]
    };
    let pairs = sizes(ours).into_iter().zip(sizes(theirs));
    let differ = pairs.filter(|((_, ours), (_, theirs))| ours != theirs);
    differ.map(|((name, ours), (_, theirs))| format!("{name} {ours} against {theirs}")).collect()
}

fn run_reference(reference: &ReferenceVit, pixels: &[&[u8]], progress: &ProgressFn) -> Result<Vec<Vec<f32>>> {
    let mut outputs = Vec::with_capacity(pixels.len());
    for batch in pixels.chunks(BATCH) {
        if reference.config().classes > 0 {
            outputs.extend(reference.logits_batch(batch)?);
        } else {
            for image in batch {
                outputs.push(reference.forward(image)?.features);
            }
        }
        progress("float reference", outputs.len(), pixels.len());
    }
    Ok(outputs)
}

/// SQNR of the residual stream after the embedding and each block, of the features and of the logits.
fn compare_stages(engine: &Engine, reference: &ReferenceVit, pixels: &[&[u8]]) -> Result<Vec<StageSqnr>> {
    let depth = engine.config().depth;
    let mut names = vec!["embed".to_owned()];
    names.extend((0..depth).map(|block| format!("block {block}")));
    names.push("features".into());
    if engine.config().classes > 0 {
        names.push("logits".into());
    }
    let mut values = vec![Vec::new(); names.len()];
    for image in pixels {
        let (want, got) = (reference.forward(image)?, engine.run(image, true)?);
        let units = Units::new(engine, reference, &want.hidden[0], &got.hidden[0])?;
        let mut ours: Vec<Vec<f32>> = got.hidden.iter().map(|stream| units.stream(stream)).collect();
        ours.push(units.features(&want.features, &got.features));
        ours.push(got.logits);
        let theirs = want.hidden.iter().chain([&want.features, &want.logits]);
        for (values, (want, got)) in values.iter_mut().zip(theirs.zip(&ours)) {
            values.push(sqnr_db(want, got));
        }
    }
    let stages = names.into_iter().zip(&values);
    Ok(stages
        .map(|(stage, db)| StageSqnr { stage, mean_db: metrics::mean(db), min_db: metrics::min(db) })
        .collect())
}

fn compare_target(
    target: Target,
    model: &Path,
    images: &[Vec<u8>],
    host: &[EngineOutput],
    options: &ParityOptions,
    progress: &ProgressFn,
) -> Result<TargetParity> {
    let name = target.to_string();
    let mut report = |done, all| progress(&name, done, all);
    let options = RunOptions {
        features: true,
        timeout: options.target_timeout,
        firmware: options.firmware.map(Path::to_path_buf),
        progress: Some(&mut report),
        ..RunOptions::default()
    };
    let run =
        run_on_target(target, model, images, options).with_context(|| format!("cannot run on {target}"))?;
    let same =
        |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    let equal = run
        .results
        .iter()
        .zip(host)
        .filter(|(t, h)| same(&t.logits, &h.logits) && same(&t.features, &h.features));
    Ok(TargetParity {
        target: name.clone(),
        images: run.results.len(),
        equal: equal.count(),
        arena_bytes: run.arena_bytes,
        stack_bytes: run.results.iter().map(|r| r.cost.total_stack_bytes).max().unwrap_or(0),
        instructions: run.results.iter().filter_map(|r| r.cost.instructions).max(),
    })
}

fn failures(report: &ParityReport) -> Vec<String> {
    let mut failures = Vec::new();
    let thresholds = &report.thresholds;
    if thresholds.strict {
        failures.extend(report.unjudged.strict_failures());
    } else if thresholds.given().next().is_none() {
        failures.extend(report.unjudged.without_limits());
    }
    if thresholds.min_sqnr_db.is_none() && report.output_sqnr_db < ANOTHER_NETWORK_DB {
        failures.push(format!(
            "mean SQNR of the output is {:.2} dB: these are two networks, or quantization breaks this one \
             (--min-sqnr sets another limit)",
            report.output_sqnr_db
        ));
    }
    if let Some(least) = thresholds.min_sqnr_db.filter(|least| report.output_sqnr_db < *least) {
        failures
            .push(format!("mean SQNR of the output is {:.2} dB, below {least} dB", report.output_sqnr_db));
    }
    failures.extend(report.outputs.failures(thresholds));
    for target in report.targets.iter().filter(|t| t.equal != t.images) {
        let different = target.images - target.equal;
        failures.push(format!(
            "{}: {different} of {} outputs differ from the host's",
            target.target, target.images
        ));
    }
    failures
}
