//! What a bench gives, and how it is kept as JSON.

use serde::{Deserialize, Serialize};

/// What a run's cost is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds of this machine's time.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Millions of executed instructions.
    #[serde(rename = "million instructions")]
    MillionInstructions,
}

/// A model on a kernel table of a machine. What was added later has a default, so that results of earlier
/// versions can be compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchReport {
    /// The model's name.
    pub model: String,
    /// What a run is, of a restorer; of a classifier it is one image.
    #[serde(default)]
    pub window: Option<WindowRun>,
    /// The emulated board; none for this machine.
    pub target: Option<String>,
    /// Kernel table.
    pub kernels: String,
    /// What costs are counted in.
    pub unit: Unit,
    /// Threads.
    pub threads: usize,
    /// Runs counted.
    pub runs: usize,
    /// Median cost of a run.
    pub median: f64,
    /// Least cost of a run.
    pub least: f64,
    /// Multiply-accumulates of a run.
    pub macs: u64,
    /// Most int8 multiply-accumulates per second that one core does in registers, in thousand millions,
    /// measured between the runs; none for tables without vector instructions of their own.
    pub peak_gmacs: Option<f64>,
    /// Part of that peak, over all threads, that the median run reaches.
    pub peak_fraction: Option<f64>,
    /// Bytes of the model as runs read it.
    pub model_bytes: usize,
    /// Bytes of weights among them that a run needs, each counted once.
    #[serde(default)]
    pub weight_bytes: usize,
    /// Bytes of arena with these kernels and threads; a restorer's row bands are apart.
    pub arena_bytes: usize,
    /// Bytes of stack, where it was measured.
    pub stack_bytes: Option<usize>,
    /// Median cost of each stage of each layer, heads added up.
    pub stages: Vec<StageCost>,
}

/// A window of a restorer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRun {
    /// Task, as `vitreous restore` names it.
    pub task: String,
    /// Side of the window in pixels.
    pub side: usize,
    /// Windows that an image of 320×240 pixels takes.
    pub windows_320x240: usize,
}

/// A stage of a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageCost {
    /// Of a classifier `embed`, `norm`, `project`, `attention`, `mlp` or `head`. A restorer has `conv`,
    /// `encode`, `memory`, `cross norm`, `cross project`, `cross attention`, `decode` and `tail` instead of
    /// the first and the last.
    pub stage: String,
    /// Block or layer, a decoder's counted on from the encoder's; the part of a restorer's head for `conv`;
    /// none elsewhere.
    pub layer: Option<u16>,
    /// Median cost.
    pub median: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights that it reads, as they stand in the file of a run; those that several stages read
    /// count for the first.
    #[serde(default)]
    pub bytes: usize,
}

/// A row of a table or chart: a stage of one layer, or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Stage, with its layer if that is shown.
    pub name: String,
    /// Cost.
    pub cost: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights.
    pub bytes: usize,
}

impl BenchReport {
    /// Rows in the order in which a run first meets them: every layer's, or their sums.
    pub fn rows(&self, layers: bool) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for StageCost { stage, layer, median, macs, bytes } in &self.stages {
            let name = match layer {
                Some(layer) if layers => format!("{layer} {stage}"),
                _ => stage.clone(),
            };
            match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => {
                    row.cost += median;
                    row.macs += macs;
                    row.bytes += bytes;
                }
                None => rows.push(Row { name, cost: *median, macs: *macs, bytes: *bytes }),
            }
        }
        rows
    }

    /// Whether costs of this and another report are of the same machine, the same kind of run, and a model of
    /// the same size. Windows of two tasks are comparable: both tasks are named beside their costs.
    pub fn is_comparable(&self, other: &BenchReport) -> bool {
        let kind = |report: &BenchReport| (report.unit, report.target.clone(), report.window.is_some());
        let task = |report: &BenchReport| report.window.as_ref().map(|window| window.task.clone());
        kind(self) == kind(other) && (task(self) != task(other) || self.macs == other.macs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version wrote it.
    const OLD: &str = r#"{"model": "digits", "target": null, "kernels": "avx2", "unit": "ms", "threads": 1,
        "runs": 50, "median": 0.5, "least": 0.4, "macs": 30, "peak_gmacs": 200.0, "peak_fraction": 0.3,
        "model_bytes": 27000, "arena_bytes": 5000, "stack_bytes": null, "stages": [
        {"stage": "mlp", "layer": 0, "median": 0.25, "macs": 10},
        {"stage": "mlp", "layer": 1, "median": 0.5, "macs": 20}]}"#;

    #[test]
    fn results_without_bytes_and_windows_still_load() {
        let old: BenchReport = serde_json::from_str(OLD).unwrap();
        assert_eq!((old.weight_bytes, &old.window, old.stages[1].bytes), (0, &None, 0));
        let text = serde_json::to_string(&old).unwrap();
        let again: BenchReport = serde_json::from_str(&text).unwrap();
        assert!(again.is_comparable(&old));
        let window = WindowRun { task: "x2".into(), side: 48, windows_320x240: 63 };
        assert!(!BenchReport { window: Some(window), ..again }.is_comparable(&old));
    }

    #[test]
    fn rows_are_of_every_layer_or_their_sums() {
        let report: BenchReport = serde_json::from_str(OLD).unwrap();
        assert_eq!(report.rows(false), [Row { name: "mlp".into(), cost: 0.75, macs: 30, bytes: 0 }]);
        let names: Vec<String> = report.rows(true).into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["0 mlp", "1 mlp"]);
    }
}
