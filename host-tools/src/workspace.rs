//! What runs of a model on this machine need beside the model.

use std::time::{Duration, Instant};

use vitreous::kernels::{Kernels, TableSpec};
use vitreous::{ForkJoin, Plan, RunOptions, Serial, Stage};

use crate::pool::Pool;
use crate::vtr::AlignedBytes;

/// An arena with the kernels and threads that it was planned for.
#[derive(Debug)]
pub struct Workspace<'e> {
    arena: AlignedBytes,
    kernels: &'static Kernels,
    tile_rows: usize,
    /// Who shares the rows of a tile; this thread alone, if nobody.
    pool: Option<&'e Pool>,
}

impl<'e> Workspace<'e> {
    /// `plan` makes the memory plan for kernels and a number of workers.
    ///
    /// # Errors
    /// Those of `plan`.
    pub(crate) fn new<E>(
        kernels: &'static Kernels,
        tile_rows: usize,
        pool: Option<&'e Pool>,
        plan: impl FnOnce(&TableSpec, usize) -> Result<Plan, E>,
    ) -> Result<Self, E> {
        let plan = plan(kernels.spec, pool.map_or(1, Pool::workers))?;
        Ok(Self { arena: AlignedBytes::zeroed(plan.arena_bytes()), kernels, tile_rows, pool })
    }

    /// Threads that share the work.
    pub fn workers(&self) -> usize {
        self.pool.map_or(1, Pool::workers)
    }

    /// Bytes of arena with these kernels and threads.
    pub fn arena_bytes(&self) -> usize {
        self.arena.as_slice().len()
    }

    pub(crate) fn pool(&self) -> Option<&'e Pool> {
        self.pool
    }

    /// The arena, and how a run uses it.
    pub(crate) fn for_run(&mut self) -> (&mut [u8], RunOptions<'e>) {
        let pool: &dyn ForkJoin = self.pool.map_or(&Serial, |pool| pool);
        let options = RunOptions { tile_rows: self.tile_rows, kernels: self.kernels, pool };
        (self.arena.as_mut_slice(), options)
    }
}

/// Calls `f` on a thread of the pool, if there is one.
pub(crate) fn install<T: Send>(pool: Option<&Pool>, f: impl FnOnce() -> T + Send) -> T {
    match pool {
        Some(pool) => pool.install(f),
        None => f(),
    }
}

/// Runs `run` to its end and times each step; `next` is the stage of the next one, if there is one.
///
/// # Errors
/// Those of `step`.
pub(crate) fn time_steps<R, E>(
    run: &mut R,
    next: impl Fn(&R) -> Option<Stage>,
    mut step: impl FnMut(&mut R) -> Result<(), E>,
) -> Result<Vec<(Stage, Duration)>, E> {
    let mut steps = Vec::new();
    let mut last = Instant::now();
    while let Some(stage) = next(run) {
        step(run)?;
        let now = Instant::now();
        steps.push((stage, now - last));
        last = now;
    }
    Ok(steps)
}
