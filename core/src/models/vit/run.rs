//! A forward pass that can be left and resumed after every tile.

use half::f16;

use super::plan::{heads_together, region, DEFAULT_TILE_ROWS, MAX_HEADS_TOGETHER};
use super::weights::{HeadWeights, Vit};
use crate::arena::{cast, Plan};
use crate::error::Error;
use crate::fork::{ForkJoin, Serial};
use crate::kernels::{default_kernels, Kernels};
use crate::profile::{Progress, Stage};
use crate::source::PixelSource;

/// Which tile comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    /// A tile of `Stage`, from this row on (a patch for [`Stage::Embed`], a token otherwise).
    At(Stage, usize),
    Done,
    /// A step failed: what the arena holds is not to be used.
    Failed,
}

/// One image on its way through a ViT. Holds the arena; nothing else is written to.
pub struct Run<'r, 'm> {
    pub(super) vit: &'r Vit<'m>,
    pub(super) kernels: &'static Kernels,
    pub(super) pool: &'r dyn ForkJoin,
    pub(super) plan: Plan,
    pub(super) arena: &'r mut [u8],
    pub(super) tile: usize,
    /// Heads that are done together.
    together: usize,
    /// Largest scale of the values of each head at work.
    pub(super) value_scales: [f32; MAX_HEADS_TOGETHER],
    /// Weights of the heads at work, which every tile of them reads.
    pub(super) heads: HeadCache<'m>,
    cursor: Cursor,
}

/// Weights of some heads, found once for all of their tiles.
pub(super) struct HeadCache<'m> {
    /// Layer and first head.
    of: Option<(usize, usize)>,
    weights: Together<HeadWeights<'m>>,
}

/// Something of each head at work.
pub(super) type Together<T> = heapless::Vec<T, MAX_HEADS_TOGETHER>;

impl<'m> HeadCache<'m> {
    pub(super) fn get(
        &mut self,
        vit: &Vit<'m>,
        layer: usize,
        heads: core::ops::Range<usize>,
    ) -> Result<&[HeadWeights<'m>], Error> {
        let of = Some((layer, heads.start));
        if self.of != of {
            // In place: they are kilobytes.
            self.of = None;
            self.weights.clear();
            for head in heads {
                self.weights.push(vit.head(layer, head)?).map_err(|_| Error::Internal(58))?;
            }
            self.of = of;
        }
        Ok(&self.weights)
    }
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

#[cfg(feature = "defmt")]
impl defmt::Format for Run<'_, '_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Run {{ next: {:?}, arena_bytes: {=usize} }}", self.next_stage(), self.arena.len());
    }
}

impl<'m> Vit<'m> {
    /// Begins a run on the kernels of this build.
    ///
    /// # Errors
    /// [`Error::ArenaTooSmall`], [`Error::ArenaMisaligned`]; [`Error::Layout`] if the kernels can't read the
    /// weights.
    pub fn begin<'r>(&'r self, arena: &'r mut [u8]) -> Result<Run<'r, 'm>, Error> {
        self.begin_with(arena, DEFAULT_TILE_ROWS, default_kernels())
    }

    /// Begins a run with a tile height and kernels of one's own choice.
    ///
    /// # Errors
    /// As [`Vit::begin`], and those of [`Vit::plan_for`].
    pub fn begin_with<'r>(
        &'r self,
        arena: &'r mut [u8],
        tile_rows: usize,
        kernels: &'static Kernels,
    ) -> Result<Run<'r, 'm>, Error> {
        self.begin_on(arena, RunOptions { tile_rows, kernels, pool: &Serial })
    }

    /// Begins a run with a tile height, kernels and workers of one's own choice.
    ///
    /// # Errors
    /// As [`Vit::begin_with`].
    pub fn begin_on<'r>(
        &'r self,
        arena: &'r mut [u8],
        options: RunOptions<'r>,
    ) -> Result<Run<'r, 'm>, Error> {
        let RunOptions { tile_rows, kernels, pool } = options;
        let layout = self.model().layout();
        if !kernels.spec.reads(layout) {
            return Err(Error::Layout { nr: layout.nr, kr: layout.kr });
        }
        let plan = self.plan_for(tile_rows, kernels.spec, pool.workers())?;
        let arena = plan.check(arena)?;
        let cursor = Cursor::At(Stage::Embed, 0);
        Ok(Run {
            vit: self,
            kernels,
            pool,
            plan,
            arena,
            tile: tile_rows,
            together: heads_together(self.config().heads, kernels.spec, pool.workers()),
            value_scales: [0.0; MAX_HEADS_TOGETHER],
            heads: HeadCache { of: None, weights: Together::new() },
            cursor,
        })
    }
}

impl<'m> Run<'_, 'm> {
    /// Does one tile and returns, so that a watchdog can be fed or another task can run.
    ///
    /// # Errors
    /// [`Error::Source`] if the pixels can't be had, [`Error::Finished`] after the last step. After an error
    /// the run is over.
    pub fn step<S: PixelSource + ?Sized>(&mut self, source: &mut S) -> Result<Progress, Error> {
        let Cursor::At(stage, row) = self.cursor else { return Err(Error::Finished) };
        self.cursor = Cursor::Failed;
        let next_row = match stage {
            Stage::Embed => self.embed_tile(row, source)?,
            Stage::Norm { layer } => self.norm_tile(layer as usize, row)?,
            Stage::Project { layer, head } => self.project_tile(layer as usize, head as usize, row)?,
            Stage::Attention { layer, head } => self.attention_tile(layer as usize, head as usize, row)?,
            Stage::Mlp { layer } => self.mlp_tile(layer as usize, row)?,
            Stage::Head => {
                self.head()?;
                self.cursor = Cursor::Done;
                return Ok(Progress::Done);
            }
            _ => return Err(Error::Internal(32)),
        };
        let c = self.vit.config();
        let rows = if stage == Stage::Embed { c.patches() } else { c.tokens() };
        self.cursor =
            if next_row < rows { Cursor::At(stage, next_row) } else { Cursor::At(self.after(stage), 0) };
        Ok(Progress::Running(stage))
    }

    /// Steps until the output is there.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn finish<S: PixelSource + ?Sized>(&mut self, source: &mut S) -> Result<(), Error> {
        while self.step(source)? != Progress::Done {}
        Ok(())
    }

    /// The heads that are done with one.
    pub(super) fn heads_from(&self, head: usize) -> core::ops::Range<usize> {
        head..(head + self.together).min(self.vit.config().heads)
    }

    /// The stage that follows a completed one.
    fn after(&self, stage: Stage) -> Stage {
        let c = self.vit.config();
        let block = |layer: u16| if (layer as usize) < c.depth { Stage::Norm { layer } } else { Stage::Head };
        match stage {
            Stage::Embed => block(0),
            Stage::Norm { layer } => Stage::Project { layer, head: 0 },
            Stage::Project { layer, head } => Stage::Attention { layer, head },
            Stage::Attention { layer, head } if (head as usize) + self.together < c.heads => {
                Stage::Project { layer, head: head.saturating_add(self.together as u16) }
            }
            Stage::Attention { layer, .. } => Stage::Mlp { layer },
            Stage::Mlp { layer } => block(layer.saturating_add(1)),
            _ => Stage::Head,
        }
    }

    /// The stage whose tile the next step does, or `None` when there is none.
    pub fn next_stage(&self) -> Option<Stage> {
        match self.cursor {
            Cursor::At(stage, _) => Some(stage),
            Cursor::Done | Cursor::Failed => None,
        }
    }

    /// The residual stream as it is now, `(tokens, dim)`: after the embedding, between blocks, and during
    /// them.
    ///
    /// # Errors
    /// None on a run that [`Vit::begin`] made.
    pub fn tokens(&self) -> Result<&[f16], Error> {
        let c = self.vit.config();
        let tokens = cast::<f16>(self.plan.view(self.arena, region::TOKENS)?)?;
        tokens.get(..c.tokens() * c.dim).ok_or(Error::Internal(30))
    }

    /// Logits `(classes)`; empty for a model without head.
    ///
    /// # Errors
    /// [`Error::NotFinished`] before the last step.
    pub fn logits(&self) -> Result<&[f32], Error> {
        self.output(region::LOGITS, self.vit.config().classes)
    }

    /// Pooled features after the final norm `(dim)`: what the classifier sees (of two classifiers, the class
    /// token's). The converter balances channels between both; a model without classifier has the network's
    /// own features.
    ///
    /// # Errors
    /// [`Error::NotFinished`] before the last step.
    pub fn features(&self) -> Result<&[f32], Error> {
        self.output(region::FEATURES, self.vit.config().dim)
    }

    fn output(&self, id: usize, count: usize) -> Result<&[f32], Error> {
        if self.cursor != Cursor::Done {
            return Err(Error::NotFinished);
        }
        cast::<f32>(self.plan.view(self.arena, id)?)?.get(..count).ok_or(Error::Internal(31))
    }

    /// The plan that this run follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
