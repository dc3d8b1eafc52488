//! Data efficiency of classification: ViT beside a small CNN.

use super::{jobs, run_all, stopped, Job, Point, StudyReport};
use crate::train::data::Dataset;
use crate::train::progress::on_terminal;
use crate::train::{train, ClassifierTraining, CnnShape, Recipe};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;

/// Settings of the study.
pub struct Settings {
    /// Where everything goes.
    pub out: PathBuf,
    /// Parts of the data in percent.
    pub percents: Vec<f64>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Training with all of the data; less data is gone through more often, for the same number of steps.
    pub recipe: Recipe,
    /// The convolutional network.
    pub cnn: CnnShape,
    /// No progress output.
    pub quiet: bool,
}

/// Trains both networks on every part of `data`.
pub fn run(data: &Dataset, s: &Settings) -> Result<StudyReport> {
    let jobs = jobs(&s.out, &["ViT", "CNN"], &s.percents, &s.seeds)?;
    let steps = s.recipe.epochs * data.train.len().div_ceil(s.recipe.batch) as u64;
    let points = run_all(&jobs, s.quiet, |job| {
        let part = data.part(job.fraction, job.seed);
        let per_epoch = part.train.len().div_ceil(s.recipe.batch) as u64;
        let epochs = (steps as f64 / per_epoch as f64).round().max(1.0) as u64;
        let recipe = Recipe {
            epochs,
            // The same part of the run, whatever an epoch is.
            warmup_epochs: s.recipe.warmup_epochs * epochs as f64 / s.recipe.epochs as f64,
            seed: job.seed,
            cnn: (job.network == "CNN").then_some(s.cnn),
            ..s.recipe.clone()
        };
        point(job, &part, recipe, s.quiet)
    })?;
    let score = "held-out accuracy, %".to_owned();
    Ok(StudyReport { kind: "classification".to_owned(), data: data.name.clone(), score, steps, points })
}

fn point(job: &Job, data: &Dataset, recipe: Recipe, quiet: bool) -> Result<Point> {
    let number = |report: &Value, key: &str| {
        let value = report.get(key).and_then(Value::as_u64).map(|v| v as usize);
        value
            .with_context(|| format!("the report of the finished training has no `{key}`; delete its folder"))
    };
    let report = match job.finished()? {
        Some(report) => {
            job.ensure_same(&report, "recipe", &recipe)?;
            report
        }
        None => {
            let mut trainee = ClassifierTraining::new(data, &recipe)?;
            let report = train(&mut trainee, &job.options(), &mut *on_terminal(quiet))?;
            serde_json::to_value(report.ok_or_else(stopped)?)?
        }
    };
    Ok(Point {
        network: job.network.clone(),
        fraction: job.fraction,
        samples: data.train.len(),
        seed: job.seed,
        parameters: number(&report, "parameters")?,
        score: 100.0 * number(&report, "test_correct")? as f64
            / number(&report, "test_images")?.max(1) as f64,
    })
}
