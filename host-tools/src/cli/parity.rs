use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Result};
use clap::Args;

use super::architecture::expect_classifier;
use super::firmware::FirmwareArgs;
use super::load::LoadArgs;
use super::progress::Bars;
use super::samples;
use crate::engine::Engine;
use crate::output::{self, Kind, Plan};
use crate::parity::{parity, render, render_html, ParityOptions, Thresholds};
use crate::reference::ReferenceVit;
use crate::target::Target;
use crate::text::shown;

#[derive(Args, Debug)]
pub struct ParityArgs {
    /// The .vtr file.
    model: PathBuf,
    /// The float weights that it was made from.
    #[arg(long, value_name = "CHECKPOINT")]
    reference: PathBuf,
    /// Folders of images; for accuracy, labelled ones: with a labels.csv (columns file, class), or one folder
    /// per class.
    #[arg(long, required = true, value_name = "FOLDER")]
    images: Vec<PathBuf>,
    /// Images of each folder at most, evenly spread.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Also run on this emulated target and compare every output byte (may be given several times).
    #[arg(long, value_name = "TARGET")]
    target: Vec<Target>,
    /// Images to run on targets; all if not given.
    #[arg(long, value_name = "N")]
    target_images: Option<usize>,
    /// Longest time for a target, in seconds.
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    #[command(flatten)]
    firmware: FirmwareArgs,
    /// Fail below this mean SQNR of the output, in dB.
    #[arg(long, value_name = "DB", value_parser = super::parse_limit, allow_negative_numbers = true)]
    min_sqnr: Option<f64>,
    /// Fail if top-1 accuracy drops by more than this, in points.
    #[arg(long, value_name = "POINTS", value_parser = super::parse_limit, allow_negative_numbers = true)]
    max_top1_drop: Option<f64>,
    /// Fail if the best class is the same on a smaller share of the images, in percent; of labels that hold
    /// each for itself, if so few decisions at a probability of one half are the same.
    #[arg(long, value_name = "PERCENT", value_parser = super::parse_percent)]
    min_agreement: Option<f64>,
    /// Fail if a value of a regression differs by more than this.
    #[arg(long, value_name = "VALUE", value_parser = super::parse_limit, allow_negative_numbers = true)]
    max_difference: Option<f64>,
    /// Also write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    load: LoadArgs,
}

impl ParityArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let plan = Plan::new().reads([&self.model]).reads_weights([&self.reference]).reads(self.load.files());
        plan.reads_data(&self.images).writes(&self.html, Kind::Html).check()?;
        expect_classifier(&self.model)?;
        let engine = Engine::load(&self.model)?;
        let reference = ReferenceVit::new(&self.load.load(&self.reference)?)?;
        let bars = Bars::default();
        let samples = samples::load_folders((&engine).into(), &self.images, self.limit, &bars)?;
        let options = ParityOptions {
            targets: &self.target,
            target_images: self.target_images,
            firmware: self.firmware.firmware.as_deref(),
            target_timeout: Duration::from_secs(self.timeout),
            thresholds: Thresholds {
                min_sqnr_db: self.min_sqnr,
                max_top1_drop: self.max_top1_drop,
                min_agreement: self.min_agreement,
                strict: self.load.is_strict(),
                max_difference: self.max_difference,
            },
        };
        let progress = |name: &str, done: usize, all: usize| bars.report(name, done, all);
        let read = samples.samples.len();
        if read == 0 {
            samples.all()?;
            bail!("no images to compare");
        }
        let mut report = parity(&engine, &reference, &samples.samples, &options, &progress)?;
        report.failures.extend(samples.failed.message(read + samples.failed.count(), "read"));
        report.failed = samples.failed;
        report.reference_file = Some(shown(&self.reference));
        if let Some(path) = &self.html {
            output::write(path, render_html(&report))?;
        }
        super::print(json, &report, render)?;
        if !report.failures.is_empty() {
            bail!("parity fails: {}", report.failures.join("; "));
        }
        Ok(())
    }
}
