//! What a bench runs: the one place that knows the architectures.

use std::time::Duration;

use anyhow::{Context, Result};
use vitreous::models::ipt::{Ipt, COLOURS};
use vitreous::models::vit::Vit;
use vitreous::{Model, Stage};

use super::report::{StageCost, WindowRun};
use super::stages;
use crate::degrade::Picture;
use crate::engine::{Engine, Session};
use crate::inspect::{classifier_layers, example_windows, restorer_layers, work, Layer};
use crate::model_file::ModelFile;
use crate::pool::Pool;
use crate::restorer::{Restorer, WindowSession};
use crate::target::{restore_on_target, run_on_target, RunOptions, Target, TargetCost};
use crate::workspace::Workspace;

/// What a run is.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'m> {
    /// One image of a classifier.
    Image(&'m Engine),
    /// One window of a restorer; of its task with this index.
    Window(&'m Restorer, usize),
}

/// A model that is ready to run on this machine.
pub(super) trait Timed: Send {
    fn run(&mut self, pixels: &[u8]) -> Result<()>;
    /// How long each step takes.
    fn profile(&mut self, pixels: &[u8]) -> Result<Vec<(Stage, Duration)>>;
    fn workspace(&self) -> &Workspace<'_>;
}

impl Timed for Session<'_> {
    fn run(&mut self, pixels: &[u8]) -> Result<()> {
        self.run(pixels, false).map(drop)
    }

    fn profile(&mut self, pixels: &[u8]) -> Result<Vec<(Stage, Duration)>> {
        self.profile(pixels)
    }

    fn workspace(&self) -> &Workspace<'_> {
        self.workspace()
    }
}

impl Timed for WindowSession<'_> {
    fn run(&mut self, pixels: &[u8]) -> Result<()> {
        self.run(pixels).map(drop)
    }

    fn profile(&mut self, pixels: &[u8]) -> Result<Vec<(Stage, Duration)>> {
        self.profile(pixels)
    }

    fn workspace(&self) -> &Workspace<'_> {
        self.workspace()
    }
}

impl<'m> Subject<'m> {
    pub(super) fn file(self) -> &'m ModelFile {
        match self {
            Self::Image(engine) => engine.file(),
            Self::Window(restorer, _) => restorer.file(),
        }
    }

    /// Pixels of a run: time and instructions hardly depend on them.
    pub(super) fn pixels(self) -> Vec<u8> {
        let count = match self {
            Self::Image(engine) => {
                let c = engine.config();
                c.image_height * c.image_width * c.channels
            }
            Self::Window(restorer, _) => restorer.config().window.pow(2) * COLOURS,
        };
        (0..count).map(|i| (i * 31 % 251) as u8).collect()
    }

    /// Prepares runs on this machine.
    pub(super) fn session(self, pool: Option<&'m Pool>) -> Result<Box<dyn Timed + 'm>> {
        Ok(match self {
            Self::Image(engine) => Box::new(engine.session_on(pool)?),
            Self::Window(restorer, task) => Box::new(restorer.session_on(task, pool)?),
        })
    }

    /// Runs once on a target; what it costs, and the bytes of arena.
    pub(super) fn run_on(self, target: Target, options: RunOptions) -> Result<(TargetCost, usize)> {
        const NONE: &str = "the target gave no result";
        let (path, pixels) = (self.file().path(), self.pixels());
        Ok(match self {
            Self::Image(_) => {
                let run = run_on_target(target, path, &[pixels], options)?;
                (run.results.into_iter().next().context(NONE)?.cost, run.arena_bytes as usize)
            }
            Self::Window(restorer, task) => {
                let side = restorer.config().window;
                let window = Picture { width: side, height: side, data: pixels };
                let run = restore_on_target(target, path, task, &[window], None, options)?;
                (run.results.into_iter().next().context(NONE)?.cost, run.arena_bytes as usize)
            }
        })
    }

    /// What a run goes through on the weights of `model`, which is the subject's for some kernels.
    pub(super) fn work(self, model: &Model) -> Result<RunWork> {
        let name = model.name().to_owned();
        Ok(match self {
            Self::Image(_) => {
                let layers = classifier_layers(&Vit::new(model)?);
                RunWork { name, window: None, layers, encoder_layers: 0 }
            }
            Self::Window(_, task) => {
                let ipt = Ipt::new(model)?;
                let side = ipt.config().window;
                let window = ipt.config().tasks.get(task).map(|task| WindowRun {
                    task: task.to_string(),
                    side,
                    windows_320x240: example_windows(side),
                });
                let encoder_layers = ipt.config().encoder_layers as u16;
                RunWork { name, window, layers: restorer_layers(&ipt, task), encoder_layers }
            }
        })
    }
}

/// What a run goes through.
pub(super) struct RunWork {
    /// The model's name.
    pub name: String,
    /// Of a restorer.
    pub window: Option<WindowRun>,
    layers: Vec<Layer>,
    /// Of a restorer.
    encoder_layers: u16,
}

impl RunWork {
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
