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
pub use host::{bench, measure_peak, BenchOptions};
pub use report::{BenchReport, Row, StageCost, Unit, WindowRun};
pub use subject::Subject;
pub use table::{render, title};
pub use target::bench_on_target;
