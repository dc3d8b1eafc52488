//! What each stage of a model costs: time on this machine, against what its integer units could do, or
//! instructions on a target. A run is one image of a classifier, or one window of a restorer's task.

mod chart;
mod host;
mod report;
mod stages;
mod subject;
mod table;
mod target;

pub use chart::svg;
pub use host::{bench, bench_restorer, measure_peak, BenchOptions};
pub use report::{BenchReport, Row, StageCost, Unit, WindowRun};
pub use table::{render, title};
pub use target::{bench_on_target, bench_restorer_on_target};

/// Pixels of a run: time and instructions hardly depend on them.
fn pixels(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 % 251) as u8).collect()
}
