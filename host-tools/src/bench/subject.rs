//! The model of a bench, of either architecture.

use vitreous::models::ipt::Ipt;
use vitreous::models::vit::Vit;
use vitreous::Stage;

use super::report::{StageCost, WindowRun};
use super::stages;
use crate::inspect::{example_windows, layers, restorer_layers, work, Layer};

/// What a run goes through.
pub(super) struct Subject {
    pub name: String,
    pub window: Option<WindowRun>,
    layers: Vec<Layer>,
    /// Of a restorer.
    encoder_layers: u16,
}

impl Subject {
    pub fn classifier(vit: &Vit) -> Self {
        Self { name: vit.model().name().to_owned(), window: None, layers: layers(vit), encoder_layers: 0 }
    }

    /// `task` is an index into the model's tasks.
    pub fn restorer(ipt: &Ipt, task: usize) -> Self {
        let side = ipt.config().window;
        let window = ipt.config().tasks.get(task).map(|task| WindowRun {
            task: task.to_string(),
            side,
            windows_320x240: example_windows(side),
        });
        Self {
            name: ipt.model().name().to_owned(),
            window,
            layers: restorer_layers(ipt, task),
            encoder_layers: ipt.config().encoder_layers as u16,
        }
    }

    /// Multiply-accumulates of a run.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(|layer| layer.macs).sum()
    }

    /// Bytes of weights that a run needs.
    pub fn weight_bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Stages and their medians with what their work is, as a run meets them.
    pub fn costs(&self, mut stages: Vec<(Stage, f64)>) -> Vec<StageCost> {
        stages.sort_by_key(|(stage, _)| stages::order(*stage, self.encoder_layers));
        let cost = |(stage, median)| {
            let work = work(&self.layers, stage);
            let (name, layer) = stages::name(stage);
            StageCost { stage: name.to_owned(), layer, median, macs: work.macs, bytes: work.bytes }
        };
        stages.into_iter().map(cost).collect()
    }
}
