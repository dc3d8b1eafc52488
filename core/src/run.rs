//! A forward pass that can be left and resumed after every tile: written once, for every architecture.

use crate::error::{Error, Fault};
use crate::fork::{ForkJoin, Serial};
use crate::kernels::{default_kernels, Kernels, TableSpec};
use crate::profile::{Progress, Stage};
use crate::tensor::{padded, PanelLayout};

/// Rows per tile where nothing else is said: two blocks of the microcontrollers' kernels, so that what a tile
/// takes besides is shared by both.
pub const DEFAULT_TILE_ROWS: usize = 8;
/// Most rows per tile.
pub const MAX_TILE_ROWS: usize = 256;

/// Most heads whose keys and values exist at a time. Without threads there is no use for more than one.
pub(crate) const MAX_HEADS_AT_WORK: usize = if cfg!(feature = "parallel") { 16 } else { 1 };

/// Something of each head at work.
pub(crate) type PerHead<T> = heapless::Vec<T, MAX_HEADS_AT_WORK>;

/// Something of each head; at most so many are at work.
pub(crate) fn per_head<T>(items: impl Iterator<Item = Result<T, Fault>>) -> Result<PerHead<T>, Fault> {
    let mut all = PerHead::new();
    for item in items {
        all.push(item?).map_err(|_| Fault::Shape)?;
    }
    Ok(all)
}

/// What a run computes with. None of it changes a bit of the result.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// Rows that go through a linear layer together.
    pub tile_rows: usize,
    /// The kernel table.
    pub kernels: &'static Kernels,
    /// Who shares the rows of a tile.
    pub pool: &'a dyn ForkJoin,
}

impl Default for RunOptions<'_> {
    /// [`DEFAULT_TILE_ROWS`], the kernels of this build, one worker.
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

/// What a memory plan depends on beside the model.
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
        Ok(Self { table, tile, workers })
    }

    /// Whether memory may be spent on fewer forks, and on cores that don't take each other's cache lines.
    pub fn has_room(&self) -> bool {
        self.table.has_room && self.workers > 1
    }

    /// i32 that an int8 linear layer of so many inputs works in.
    pub fn linear_scratch(&self, inputs: usize) -> usize {
        (self.table.linear_scratch)(padded(inputs))
    }

    /// Heads whose keys and values exist at a time.
    pub fn heads_at_work(&self, heads: usize) -> usize {
        if self.has_room() {
            heads.clamp(1, MAX_HEADS_AT_WORK)
        } else {
            1
        }
    }
}

/// What the tiles of a run compute with and in.
pub(crate) struct Workspace<'r> {
    pub kernels: &'static Kernels,
    pub pool: &'r dyn ForkJoin,
    pub arena: &'r mut [u32],
    /// Rows per tile.
    pub tile: usize,
}

impl<'r> Workspace<'r> {
    /// For weights of a layout; `arena` is as large as the plan.
    pub fn new(options: RunOptions<'r>, layout: PanelLayout, arena: &'r mut [u32]) -> Result<Self, Error> {
        let RunOptions { tile_rows, kernels, pool } = options;
        if !kernels.spec.reads(layout) {
            return Err(Error::Layout { nr: layout.nr, kr: layout.kr });
        }
        Ok(Self { kernels, pool, arena, tile: tile_rows })
    }

    /// Rows of the tile that begins at `row` of `rows`.
    #[inline(always)]
    pub fn rows(&self, row: usize, rows: usize) -> usize {
        self.tile.min(rows.saturating_sub(row))
    }
}

/// [`defmt::Format`] of a run.
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

/// Which tile comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// A tile of a stage, from this row of it on.
    At(Stage, usize),
    /// The output is there.
    Done,
    /// There is nothing to do: a step failed, and what the arena holds is not to be used, or nothing was
    /// begun.
    Idle,
}

impl Position {
    /// Takes the tile that is to be done. Unless [`Position::advance`] follows, the run is over.
    pub fn take(&mut self) -> Result<(Stage, usize), Error> {
        let Position::At(stage, row) = *self else { return Err(Error::Finished) };
        *self = Position::Idle;
        Ok((stage, row))
    }

    /// A tile of `stage`, which has `rows` rows, is done: `next` is the first row that is not. `after` is the
    /// stage that follows, if there is one.
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

    /// Succeeds where the output is there.
    pub fn expect_done(&self) -> Result<(), Error> {
        if *self == Position::Done {
            Ok(())
        } else {
            Err(Error::NotFinished)
        }
    }
}
