use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::Args;
use vitreous::models::ipt::Task;

use super::firmware::FirmwareArgs;
use crate::bench::{bench, bench_on_target, render, svg, title, BenchOptions, BenchReport, Subject};
use crate::checkpoint::ipt::parse_task;
use crate::converted::{refuse_task, ConvertedModel};
use crate::output::{self, Kind, Plan};
use crate::restorer::chosen_task;
use crate::target::{RunOptions, Target};

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// The .vtr file: a run is one image of a classifier, or one window of a restorer.
    model: PathBuf,
    /// What a restorer is to repair, such as denoise50 or x2; needed if the model has several tasks.
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
    /// Count instructions on this emulated target instead of timing this machine.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["threads", "runs", "warm_up"])]
    target: Option<Target>,
    /// Longest time for a target, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, requires = "target")]
    timeout: u64,
    #[command(flatten)]
    firmware: FirmwareArgs,
    /// Threads, which share the rows of a tile; 0 takes all cores.
    #[arg(long, default_value_t = 1, value_parser = super::parse_threads)]
    threads: usize,
    /// Runs to count; times are their medians.
    #[arg(long, default_value_t = 50, value_parser = super::parse_count)]
    runs: usize,
    /// Runs before those; more, if these take less than 0.3 seconds; 0 leaves them out.
    #[arg(long, default_value_t = 5)]
    warm_up: usize,
    /// Show every layer, not their sums.
    #[arg(long)]
    layers: bool,
    /// Compare with an earlier result, as --output wrote it.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Also write the result as JSON.
    #[arg(short, long, alias = "out", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also draw the stages as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl BenchArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let plan = Plan::new().reads([&self.model]).reads(&self.compare);
        plan.writes(&self.output, Kind::Bench).writes(&self.svg, Kind::Svg).check()?;
        let before = self.compare.as_deref().map(earlier).transpose()?;
        let report = self.bench()?;
        if let Some(before) = &before {
            ensure!(
                report.is_comparable(before),
                "the earlier result is of another machine or another model: nothing to compare"
            );
        }
        if let Some(path) = &self.output {
            output::write(path, serde_json::to_string_pretty(&report)?)?;
        }
        if let Some(path) = &self.svg {
            let rows = report.rows(self.layers);
            output::write(path, svg(&title(&report), report.unit, &rows)?)?;
        }
        super::print(json, &report, |report| render(report, before.as_ref(), self.layers))
    }

    fn bench(&self) -> Result<BenchReport> {
        match ConvertedModel::load(&self.model)? {
            ConvertedModel::Classifier(engine) => {
                refuse_task(&engine, self.task.as_ref())?;
                self.run(Subject::Image(&engine))
            }
            ConvertedModel::Restorer(restorer) => {
                let task = restorer.task_index(&chosen_task(self.task, &restorer.config().tasks)?)?;
                self.run(Subject::Window(&restorer, task))
            }
        }
    }

    fn run(&self, subject: Subject) -> Result<BenchReport> {
        match self.target {
            Some(target) => bench_on_target(subject, target, self.run_options()),
            None => bench(subject, self.bench_options()),
        }
    }

    fn run_options(&self) -> RunOptions<'static> {
        RunOptions {
            timeout: Duration::from_secs(self.timeout),
            firmware: self.firmware.firmware.clone(),
            ..RunOptions::default()
        }
    }

    fn bench_options(&self) -> BenchOptions {
        BenchOptions { threads: self.threads, runs: self.runs, warm_up: self.warm_up }
    }
}

fn earlier(path: &Path) -> Result<BenchReport> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no result of `vitreous bench`", path.display()))
}
