//! Single windows, one after the other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{ensure, Result};
use vitreous::kernels::TableSpec;
use vitreous::models::ipt::{Ipt, IptRun, COLOURS};
use vitreous::{Error, Progress, Stage};

use super::{Restorer, HOST_TILE_ROWS};
use crate::pool::Pool;
use crate::saturation::Saturation;
use crate::workspace::{install, time_steps, Workspace};

/// A task of a model ready to restore windows on this thread: the model's tables read once, one arena.
#[derive(Debug)]
pub struct WindowSession<'e> {
    ipt: Ipt<'e>,
    task: usize,
    workspace: Workspace<'e>,
    saturation: &'e Mutex<Saturation>,
}

impl Restorer {
    /// Prepares windows of a task.
    ///
    /// # Errors
    /// No such task; a plan beyond the address space.
    pub fn session(&self, task: usize) -> Result<WindowSession<'_>> {
        self.session_on(task, None)
    }

    /// The same on the threads of a pool, which share the rows of each tile.
    ///
    /// # Errors
    /// As [`Restorer::session`].
    pub fn session_on<'e>(&'e self, task: usize, pool: Option<&'e Pool>) -> Result<WindowSession<'e>> {
        self.session_of(Ipt::new(&self.file.run_model()?)?, task, pool)
    }

    /// The same on a model that was read.
    pub(super) fn session_of<'e>(
        &'e self,
        ipt: Ipt<'e>,
        task: usize,
        pool: Option<&'e Pool>,
    ) -> Result<WindowSession<'e>> {
        let plan = |kernels: &TableSpec, workers| ipt.plan_for(task, HOST_TILE_ROWS, kernels, workers);
        let workspace = Workspace::new(self.file.kernels(), HOST_TILE_ROWS, pool, plan)?;
        Ok(WindowSession { ipt, task, workspace, saturation: &self.saturation })
    }

    /// The output of one window `(window, window, 3)`: `(window·scale, window·scale, 3)`, grey levels not
    /// rounded or clipped.
    ///
    /// # Errors
    /// No such task; a window of another size.
    pub fn restore_window(&self, task: usize, pixels: &[u8]) -> Result<Vec<f32>> {
        self.session(task)?.run(pixels)
    }
}

impl<'e> WindowSession<'e> {
    /// The output of one window `(window, window, 3)`: `(window·scale, window·scale, 3)`, grey levels not
    /// rounded or clipped.
    ///
    /// # Errors
    /// A window of another size.
    pub fn run(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.check(pixels)?;
        install(self.workspace.pool(), || self.run_filled(copied(pixels)))
    }

    /// The output of the window that `fill` writes.
    pub(super) fn run_filled(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Vec<f32>> {
        let log = self.saturation;
        let mut run = self.begin(fill)?;
        let mut rows = Vec::new();
        let mut saturation = Saturation::default();
        loop {
            let progress = run.step()?;
            match progress {
                Progress::Running(stage @ (Stage::Conv { .. } | Stage::Decode)) => {
                    saturation.watch(stage, run.next_stage(), || run.feature_maps())?;
                }
                Progress::Running(stage) => saturation.watch(stage, run.next_stage(), || run.tokens())?,
                Progress::Done => {}
            }
            if matches!(progress, Progress::Running(Stage::Tail) | Progress::Done) {
                rows.extend_from_slice(run.row()?);
            }
            if progress == Progress::Done {
                if !saturation.is_empty() {
                    log.lock().unwrap_or_else(PoisonError::into_inner).raise(saturation);
                }
                return Ok(rows);
            }
        }
    }

    /// Restores one window and returns how long each step took.
    ///
    /// # Errors
    /// A window of another size.
    pub fn profile(&mut self, pixels: &[u8]) -> Result<Vec<(Stage, Duration)>> {
        self.check(pixels)?;
        install(self.workspace.pool(), || {
            let mut run = self.begin(copied(pixels))?;
            Ok(time_steps(&mut run, IptRun::next_stage, |run| run.step().map(drop))?)
        })
    }

    /// Arena, kernels and threads of its runs.
    pub fn workspace(&self) -> &Workspace<'e> {
        &self.workspace
    }

    fn check(&self, pixels: &[u8]) -> Result<()> {
        let window = self.ipt.config().window;
        let (expected, found) = (window * window * COLOURS, pixels.len());
        ensure!(found == expected, "a window of {found} bytes where the model takes {expected}");
        Ok(())
    }

    fn begin(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), Error>) -> Result<IptRun<'_, 'e>> {
        let (arena, options) = self.workspace.for_run();
        let mut run = self.ipt.begin_with(self.task, arena, options)?;
        run.begin_window(fill)?;
        Ok(run)
    }
}

fn copied(pixels: &[u8]) -> impl FnOnce(&mut [u8]) -> Result<(), Error> + '_ {
    |to| {
        to.copy_from_slice(pixels);
        Ok(())
    }
}
