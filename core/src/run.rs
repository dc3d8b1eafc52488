//! What the runs of all architectures share. A run can be left and resumed after every tile.

use crate::error::{Error, Fault};
use crate::fork::{ForkJoin, Serial};
use crate::kernels::{default_kernels, Kernels, TableSpec};
use crate::profile::{Progress, Stage};
use crate::tensor::{padded, PanelLayout};

/// The default number of rows per tile: two blocks of the microcontrollers' kernels, which share what a tile
/// costs besides.
pub const DEFAULT_TILE_ROWS: usize = 8;
/// The most rows per tile.
pub const MAX_TILE_ROWS: usize = 256;

/// The most heads at work, that is, heads whose keys and values exist at the same time. Without threads more
/// than one head brings no gain.
pub(crate) const MAX_HEADS_AT_WORK: usize = if cfg!(feature = "parallel") { 16 } else { 1 };

/// One item for each head at work.
pub(crate) type PerHead<T> = heapless::Vec<T, MAX_HEADS_AT_WORK>;

/// Collects one item for each head at work, of which there are at most [`MAX_HEADS_AT_WORK`].
pub(crate) fn per_head<T>(items: impl Iterator<Item = Result<T, Fault>>) -> Result<PerHead<T>, Fault> {
    let mut all = PerHead::new();
    for item in items {
        all.push(item?).map_err(|_| Fault::Shape)?;
    }
    Ok(all)
}

/// The options of a run. None of them changes a bit of the result.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// Rows that go through a linear layer together.
    pub tile_rows: usize,
    /// The kernel table.
    pub kernels: &'static Kernels,
    /// The workers that share the rows of a tile.
    pub pool: &'a dyn ForkJoin,
}

impl Default for RunOptions<'_> {
    /// [`DEFAULT_TILE_ROWS`], the kernels of this build, and one worker.
    fn default() -> Self {
        Self { tile_rows: DEFAULT_TILE_ROWS, kernels: default_kernels(), pool: &Serial }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for RunOptions<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let (kernels, workers) = (self.kernels, self.pool.workers());
        defmt::write!(
            f,
            "RunOptions {{ {}, tile_rows: {=usize}, workers: {=usize} }}",
            kernels,
            self.tile_rows,
            workers
        );
    }
}

/// What a memory plan depends on besides the model.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub table: &'a TableSpec,
    /// Rows per tile.
    pub tile: usize,
    pub workers: usize,
}

impl<'a> Machine<'a> {
    pub fn new(tile: usize, table: &'a TableSpec, workers: usize) -> Result<Self, Error> {
        if tile == 0 || tile > MAX_TILE_ROWS {
            return Err(Error::TileRows { found: tile, limit: MAX_TILE_ROWS });
        }
        // A pool of none works on the caller's thread; without the feature no pool is ever asked.
        let workers = if cfg!(feature = "parallel") { workers.max(1) } else { 1 };
        Ok(Self { table, tile, workers })
    }

    /// Whether the plan may spend memory on speed: on fewer forks, and on cores that do not take each other's
    /// cache lines.
    pub fn has_room(&self) -> bool {
        self.table.has_room && self.workers > 1
    }

    /// Scratch of an int8 linear layer with `inputs` inputs, in i32.
    pub fn linear_scratch(&self, inputs: usize) -> usize {
        (self.table.linear_scratch)(padded(inputs))
    }

    /// How many of `heads` heads have their keys and values at the same time.
    pub fn heads_at_work(&self, heads: usize) -> usize {
        if self.has_room() {
            heads.clamp(1, MAX_HEADS_AT_WORK)
        } else {
            1
        }
    }
}

/// What every tile of a run works with: kernels, workers and memory.
pub(crate) struct Workspace<'r> {
    pub kernels: &'static Kernels,
    pub pool: &'r dyn ForkJoin,
    pub arena: &'r mut [u32],
    /// Rows per tile.
    pub tile: usize,
}

impl<'r> Workspace<'r> {
    /// Checks that the kernels can read weights of `layout`. `arena` is as large as the plan.
    pub fn new(options: RunOptions<'r>, layout: PanelLayout, arena: &'r mut [u32]) -> Result<Self, Error> {
        let RunOptions { tile_rows, kernels, pool } = options;
        if !kernels.spec.reads(layout) {
            return Err(Error::Layout { nr: layout.nr, kr: layout.kr });
        }
        Ok(Self { kernels, pool, arena, tile: tile_rows })
    }

    /// Number of rows of the tile that begins at row `row` of a stage of `rows` rows.
    #[inline(always)]
    pub fn rows(&self, row: usize, rows: usize) -> usize {
        self.tile.min(rows.saturating_sub(row))
    }
}

/// Implements [`defmt::Format`] for a run.
#[cfg(feature = "defmt")]
macro_rules! format_run {
    ($name:ident) => {
        impl defmt::Format for $name<'_, '_> {
            fn format(&self, f: defmt::Formatter<'_>) {
                let (next, arena) = (self.next_stage(), size_of_val(self.workspace.arena));
                defmt::write!(
                    f,
                    "{=str} {{ next: {}, arena_bytes: {=usize} }}",
                    stringify!($name),
                    next,
                    arena
                );
            }
        }
    };
}
#[cfg(feature = "defmt")]
pub(crate) use format_run;

/// Where a run stands: which tile comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The tile of this stage that begins at this row.
    At(Stage, usize),
    /// The output is there.
    Done,
    /// There is no tile to do. Either nothing was begun, or a step failed, and then the contents of the arena
    /// must not be used.
    Idle,
}

impl Position {
    /// Takes the next tile. The run is over unless [`Position::advance`] follows.
    pub fn take(&mut self) -> Result<(Stage, usize), Error> {
        let Position::At(stage, row) = *self else { return Err(Error::Finished) };
        *self = Position::Idle;
        Ok((stage, row))
    }

    /// Moves on after a tile of `stage`. The stage has `rows` rows, and `next` is the first one that is not
    /// done. `after` gives the stage that follows, or `None` after the last one.
    pub fn advance(
        &mut self,
        stage: Stage,
        next: usize,
        rows: usize,
        after: impl FnOnce() -> Option<Stage>,
    ) -> Progress {
        let following = if next < rows { Some((stage, next)) } else { after().map(|stage| (stage, 0)) };
        match following {
            Some((stage, row)) => *self = Position::At(stage, row),
            None => {
                *self = Position::Done;
                return Progress::Done;
            }
        }
        Progress::Running(stage)
    }

    /// The stage whose tile comes next.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Position::At(stage, _) => Some(*stage),
            Position::Done | Position::Idle => None,
        }
    }

    /// Succeeds if the output is there.
    pub fn expect_done(&self) -> Result<(), Error> {
        if *self == Position::Done {
            Ok(())
        } else {
            Err(Error::NotFinished)
        }
    }
}
