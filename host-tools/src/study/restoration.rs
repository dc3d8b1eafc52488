//! Data efficiency of restoration: IPT beside DnCNN.

use super::{jobs, run_all, stopped, Job, Point, StudyReport};
use crate::checkpoint::ipt::parse_task;
use crate::train::progress::on_terminal;
use crate::train::restoration::dncnn::{DnCnn, DnCnnConfig};
use crate::train::restoration::ipt::{Ipt, IptRecipe};
use crate::train::restoration::{Network, Pictures, RestorerTraining, Training};
use crate::train::train;
use anyhow::{anyhow, Context, Result};
use serde_json::Value;
use std::path::PathBuf;

/// Settings of the study.
pub struct Settings {
    /// Folder of photographs.
    pub data: PathBuf,
    /// Where everything goes.
    pub out: PathBuf,
    /// Parts of the data in percent.
    pub percents: Vec<f64>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// What is repaired.
    pub task: String,
    /// The transformer; its tasks do not count.
    pub ipt: IptRecipe,
    /// Convolutions and feature maps of the DnCNN.
    pub dncnn: (usize, usize),
    /// Training of the transformer; seed and fraction do not count.
    pub training: Training,
    /// Peak learning rate of the DnCNN.
    pub dncnn_lr: f64,
    /// Steps between scores.
    pub validate_every: u64,
    /// No progress output.
    pub quiet: bool,
}

/// Trains both networks on every part of the data.
pub fn run(s: &Settings) -> Result<StudyReport> {
    let task = parse_task(&s.task).map_err(|e| anyhow!("--task: {e}"))?;
    let ipt = Ipt::new(IptRecipe { tasks: vec![s.task.clone()], ..s.ipt.clone() }.config()?);
    let (depth, width) = s.dncnn;
    let dncnn = DnCnn::new(DnCnnConfig { depth, width, window: s.ipt.window, task })?;
    let jobs = jobs(&s.out, &["IPT", "DnCNN"], &s.percents, &s.seeds)?;
    let mut data = String::new();
    let points = run_all(&jobs, s.quiet, |job| {
        let (network, lr): (&dyn Network, f64) =
            if job.network == "IPT" { (&ipt, s.training.lr) } else { (&dncnn, s.dncnn_lr) };
        let training = Training { lr, seed: job.seed, fraction: job.fraction, ..s.training.clone() };
        let mut pictures = Pictures::load(&s.data, training.held_out, training.fraction, training.seed)?;
        data.clone_from(&pictures.name);
        point(s, job, network, training, &mut pictures)
    })?;
    let score = format!("held-out PSNR at {}, dB", s.task);
    Ok(StudyReport { kind: "restoration".to_owned(), data, score, steps: s.training.steps, points })
}

fn point(
    s: &Settings,
    job: &Job,
    network: &dyn Network,
    training: Training,
    pictures: &mut Pictures,
) -> Result<Point> {
    let score = match job.finished()? {
        Some(report) => {
            job.ensure_same(&report, "training", &training)?;
            job.ensure_same(&report, "network", &network.describe())?;
            let last = report.get("history").and_then(Value::as_array).and_then(|h| h.last());
            let psnr = last.and_then(|record| record.pointer("/psnr/0")).and_then(Value::as_f64);
            psnr.context("the report of the finished training has no score; delete its folder")?
        }
        None => {
            let mut trainee = RestorerTraining::new(network, None, pictures, &training, s.validate_every)?;
            let report = train(&mut trainee, &job.options(), &mut *on_terminal(s.quiet))?;
            let report = report.ok_or_else(stopped)?;
            report.history.last().context("the training was not scored")?.psnr[0]
        }
    };
    Ok(Point {
        network: job.network.clone(),
        fraction: job.fraction,
        samples: pictures.train.len(),
        seed: job.seed,
        parameters: network.parameters().iter().map(|p| p.spec.elements()).sum(),
        score,
    })
}
