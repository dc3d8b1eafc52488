//! Studies that train many models.
//!
//! `data-efficiency` asks how much data a transformer needs beside a convolutional network (figure 6 of arXiv
//! 2012.00364 for restoration, figure 4 of arXiv 2010.11929 for classification): both are trained on growing
//! parts of the same data, for the same number of steps, and scored on the same held-out part.

mod args;
mod classification;
mod report;
mod restoration;

pub use args::StudyCommand;
pub use report::{Point, StudyReport};

use crate::console;
use crate::interrupt;
use crate::train::{is_begun, RunOptions, Start, REPORT_FILE};
use anyhow::{anyhow, ensure, Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One training of a study.
pub struct Job {
    /// The network's name in table and curves.
    pub network: String,
    /// Part of the training data, 0 to 1.
    pub fraction: f64,
    /// Seed of weights and of the choice of data.
    pub seed: u64,
    /// Where the training writes.
    pub out: PathBuf,
}

impl Job {
    /// Whether the training was begun before and can go on.
    pub fn is_begun(&self) -> bool {
        is_begun(&self.out)
    }

    /// How it is to run now.
    pub fn options(&self) -> RunOptions {
        RunOptions {
            name: self.network.clone(),
            out: self.out.clone(),
            start: Start::asked(self.is_begun(), false),
            checkpoint_every: Duration::from_secs(60),
            stop_after: None,
        }
    }

    /// The finished training's report, if there is one.
    pub fn finished(&self) -> Result<Option<Value>> {
        let path = self.out.join(REPORT_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
        let report = serde_json::from_str(&text).with_context(|| {
            format!("{}: damaged report; delete its folder to train this point again", path.display())
        })?;
        Ok(Some(report))
    }

    /// Refuses a finished training with other settings: `settings` under `key` of its report.
    pub fn ensure_same(&self, report: &Value, key: &str, settings: &impl serde::Serialize) -> Result<()> {
        // Numbers compare as what comes back from text.
        let ours: Value = serde_json::from_str(&serde_json::to_string(settings)?)?;
        ensure!(
            report.get(key) == Some(&ours),
            "{}: trained with other settings; give the same options or another --out",
            self.out.display()
        );
        Ok(())
    }
}

/// Why a study has no report when a training has none: a signal.
pub fn stopped() -> anyhow::Error {
    let what = "the same command goes on with the study".to_owned();
    match interrupt::requested() {
        Some(signal) => interrupt::Stopped { signal, what }.into(),
        None => anyhow!("the training stopped early"),
    }
}

/// Every job of a study, network by network, small parts first.
pub fn jobs(out: &Path, networks: &[&str], percents: &[f64], seeds: &[u64]) -> Result<Vec<Job>> {
    ensure!(!percents.is_empty() && !seeds.is_empty(), "--percent and --seeds: expected at least one each");
    for percent in percents {
        ensure!((0.1..=100.0).contains(percent), "--percent {percent}: expected 0.1 to 100");
    }
    let mut jobs = Vec::new();
    for network in networks {
        for percent in percents {
            for seed in seeds {
                let name = format!("{}-{percent}-{seed}", network.to_lowercase());
                jobs.push(Job {
                    network: (*network).to_owned(),
                    fraction: percent / 100.0,
                    seed: *seed,
                    out: out.join(name),
                });
            }
        }
    }
    Ok(jobs)
}

/// Runs every job that `finished` does not know yet, telling how far the study is.
pub fn run_all(jobs: &[Job], quiet: bool, mut run: impl FnMut(&Job) -> Result<Point>) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        if interrupt::requested().is_some() {
            return Err(stopped());
        }
        if !quiet {
            let percent = 100.0 * job.fraction;
            let state = match (job.finished()?.is_some(), job.is_begun()) {
                (true, _) => "done before",
                (_, true) => "goes on",
                _ => "begins",
            };
            console::note(&format!(
                "[{}/{}] {} on {percent} % of the data, seed {}: {state}",
                index + 1,
                jobs.len(),
                job.network,
                job.seed
            ));
        }
        points.push(run(job).with_context(|| job.out.display().to_string())?);
    }
    Ok(points)
}

#[cfg(test)]
mod tests;
