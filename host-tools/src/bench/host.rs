//! Time on this machine, beside the peak of its integer units in the same minutes.

use std::time::{Duration, Instant};

use anyhow::Result;
use vitreous::kernels::{Kernels, Peak};

use super::report::{BenchReport, Unit};
use super::stages::{by_layer, median, medians, milliseconds, Profile};
use super::subject::{RunWork, Subject, Timed};
use crate::pool::Pool;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Threads.
    pub threads: usize,
    /// Runs that are counted.
    pub runs: usize,
    /// Runs before them; more, if these take less than 0.3 s. None with 0.
    pub warm_up: usize,
}

/// Times runs on this machine.
///
/// # Errors
/// No threads to be had; no such task.
pub fn bench(subject: Subject, options: BenchOptions) -> Result<BenchReport> {
    let (file, pixels) = (subject.file(), subject.pixels());
    let pool = Pool::new(options.threads)?;
    let mut session = subject.session(Some(&pool).filter(|_| options.threads != 1))?;
    let timing = pool.install(|| measure(&mut *session, &pixels, file.kernels(), options))?;
    let workspace = session.workspace();
    let bytes = [file.run_bytes().len(), workspace.arena_bytes()];
    Ok(timing.report(&subject.work(&file.run_model()?)?, file.kernels(), workspace.workers(), bytes))
}

/// Thousand millions of multiply-accumulates per second in registers, on this thread; none for a table
/// without vector instructions of its own.
pub fn measure_peak(kernels: &Kernels) -> Option<f64> {
    let Peak { macs, run } = kernels.peak?;
    let iterations = 40_000;
    let start = Instant::now();
    std::hint::black_box(run(iterations));
    Some((macs * iterations) as f64 / start.elapsed().as_secs_f64() / 1e9)
}

/// What the runs took.
struct Timing {
    /// Milliseconds of each.
    totals: Vec<f64>,
    profiles: Vec<Profile>,
    /// Best of the peaks measured between them, in thousand millions per second.
    peak: Option<f64>,
}

/// How long runs are repeated before any is counted, at least: new threads may have to share a core until the
/// operating system has moved them.
const WARM_UP: Duration = Duration::from_millis(300);

/// Runs in a row, as a camera's images come: what is warm stays warm, threads are awake.
const ROW: usize = 10;

/// Rows of whole runs, rows of runs by steps and the peak take turns, so that all see the machine in the same
/// state.
fn measure(
    session: &mut dyn Timed,
    pixels: &[u8],
    kernels: &Kernels,
    options: BenchOptions,
) -> Result<Timing> {
    let (start, mut warm) = (Instant::now(), 0);
    while warm < options.warm_up || (options.warm_up > 0 && start.elapsed() < WARM_UP) {
        session.run(pixels)?;
        warm += 1;
    }
    let mut timing = Timing { totals: Vec::new(), profiles: Vec::new(), peak: None };
    let runs = options.runs.max(1);
    for first in (0..runs).step_by(ROW) {
        let row = ROW.min(runs - first);
        for _ in 0..row {
            let start = Instant::now();
            session.run(pixels)?;
            timing.totals.push(milliseconds(start.elapsed()));
        }
        for _ in 0..row {
            timing.profiles.push(by_layer(&session.profile(pixels)?));
        }
        let peak = measure_peak(kernels);
        timing.peak = timing.peak.into_iter().chain(peak).reduce(f64::max);
    }
    Ok(timing)
}

impl Timing {
    fn report(
        mut self,
        work: &RunWork,
        kernels: &Kernels,
        threads: usize,
        [model_bytes, arena_bytes]: [usize; 2],
    ) -> BenchReport {
        let (macs, median) = (work.macs(), median(&mut self.totals));
        BenchReport {
            model: work.name.clone(),
            window: work.window.clone(),
            target: None,
            kernels: kernels.spec.name.into(),
            unit: Unit::Milliseconds,
            threads,
            runs: self.totals.len(),
            median,
            // They are in order now.
            least: self.totals.first().copied().unwrap_or(0.0),
            macs,
            peak_gmacs: self.peak,
            peak_fraction: self.peak.map(|peak| macs as f64 / (median * 1e6) / (peak * threads as f64)),
            model_bytes,
            weight_bytes: work.weight_bytes(),
            arena_bytes,
            stack_bytes: None,
            stages: work.costs(medians(&self.profiles)),
        }
    }
}
