//! A window's way through an IPT, that can be left and resumed after every tile.

use half::f16;

use super::plan::{region, DEFAULT_TILE_ROWS};
use super::weights::{AttentionKind, Ipt};
use crate::arena::{cast, Plan};
use crate::error::Error;
use crate::kernels::{default_kernels, Kernels};
use crate::models::ipt::{Task, COLOURS, HEAD_BLOCKS};
use crate::profile::{Progress, Stage};

/// Which tile comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    /// A tile of `Stage`, from this row on: a row of pixels in [`Stage::Conv`] and [`Stage::Tail`], a token
    /// otherwise.
    At(Stage, usize),
    Done,
    /// A step failed: what the arena holds is not to be used.
    Failed,
}

/// One window after the other through an IPT (example: [`crate::models::ipt`]). Holds the arena; nothing else
/// is written to.
///
/// Begun by [`Ipt::begin`]; each window then by [`IptRun::begin_window`], which also gives up one that is on
/// its way.
pub struct IptRun<'r, 'm> {
    pub(super) ipt: &'r Ipt<'m>,
    pub(super) kernels: &'static Kernels,
    pub(super) plan: Plan,
    pub(super) arena: &'r mut [u8],
    pub(super) tile: usize,
    pub(super) task: usize,
    pub(super) scale: usize,
    /// Largest scale of the values of the head at work.
    pub(super) value_scale: f32,
    /// Rows that each step of the upsampler has made.
    pub(super) upsampled: [usize; 2],
    /// Rows that the first convolution of the residual block at work has made.
    pub(super) hidden_rows: usize,
    cursor: Cursor,
}

#[cfg(feature = "defmt")]
impl defmt::Format for IptRun<'_, '_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "IptRun {{ next: {:?}, arena_bytes: {=usize} }}",
            self.next_stage(),
            self.arena.len()
        );
    }
}

impl<'m> Ipt<'m> {
    /// Begins windows of a task on the kernels of this build.
    ///
    /// # Errors
    /// [`Error::Task`], [`Error::ArenaTooSmall`], [`Error::ArenaMisaligned`]; [`Error::Layout`] if the
    /// kernels can't read the weights.
    pub fn begin<'r>(&'r self, task: usize, arena: &'r mut [u8]) -> Result<IptRun<'r, 'm>, Error> {
        self.begin_with(task, arena, DEFAULT_TILE_ROWS, default_kernels())
    }

    /// Begins with a tile height and kernels of one's own choice; neither changes a bit of the result.
    ///
    /// # Errors
    /// As [`Ipt::begin`], and those of [`Ipt::plan_for`].
    pub fn begin_with<'r>(
        &'r self,
        task: usize,
        arena: &'r mut [u8],
        tile_rows: usize,
        kernels: &'static Kernels,
    ) -> Result<IptRun<'r, 'm>, Error> {
        let layout = self.model().layout();
        if !kernels.spec.reads(layout) {
            return Err(Error::Layout { nr: layout.nr, kr: layout.kr });
        }
        let plan = self.plan_for(task, tile_rows, kernels.spec)?;
        let scale = self.config().tasks.get(task).map_or(1, |task| task.scale);
        Ok(IptRun {
            ipt: self,
            kernels,
            arena: plan.check(arena)?,
            plan,
            tile: tile_rows,
            task,
            scale,
            value_scale: 0.0,
            upsampled: [0; 2],
            hidden_rows: 0,
            cursor: Cursor::Done,
        })
    }
}

impl IptRun<'_, '_> {
    /// Begins a window: `fill` writes its pixels, `(window, window, 3)`, 8 bits each, red first.
    ///
    /// # Errors
    /// Those of `fill`; there is then no window to step through.
    pub fn begin_window(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.cursor = Cursor::Failed;
        let window = self.ipt.config().window;
        let [pixels] = self.plan.views(self.arena, [region::WINDOW])?;
        fill(pixels.get_mut(..window * window * COLOURS).ok_or(Error::Internal(61))?)?;
        self.cursor = Cursor::At(Stage::Conv { part: 0 }, 0);
        self.hidden_rows = 0;
        self.upsampled = [0; 2];
        Ok(())
    }

    /// Does one tile and returns, so that a watchdog can be fed or another task can run. After a step of
    /// [`Stage::Tail`], and after the last one, [`IptRun::row`] holds a row of the output.
    ///
    /// # Errors
    /// [`Error::Finished`] after the last step, and where no window was begun.
    pub fn step(&mut self) -> Result<Progress, Error> {
        let Cursor::At(stage, row) = self.cursor else { return Err(Error::Finished) };
        self.cursor = Cursor::Failed;
        let next_row = match stage {
            Stage::Conv { part: 0 } => self.entry_row(row)?,
            Stage::Conv { part } => self.block_row(part as usize - 1, row)?,
            Stage::Encode => self.encode_tile(row)?,
            Stage::Norm { layer } => self.norm_tile(layer as usize, AttentionKind::Own, row)?,
            Stage::CrossNorm { layer } => self.norm_tile(layer as usize, AttentionKind::Cross, row)?,
            Stage::Project { layer, head } => {
                self.project_tile(layer as usize, AttentionKind::Own, head as usize, row)?
            }
            Stage::CrossProject { layer, head } => {
                self.project_tile(layer as usize, AttentionKind::Cross, head as usize, row)?
            }
            Stage::Attention { layer, head } => {
                self.attention_tile(layer as usize, AttentionKind::Own, head as usize, row)?
            }
            Stage::CrossAttention { layer, head } => {
                self.attention_tile(layer as usize, AttentionKind::Cross, head as usize, row)?
            }
            Stage::Mlp { layer } => self.mlp_tile(layer as usize, row)?,
            Stage::Memory => self.memory_tile(row)?,
            Stage::Decode => self.decode_tile(row)?,
            Stage::Tail => self.tail_row(row)?,
            Stage::Embed | Stage::Head => return Err(Error::Internal(62)),
        };
        if next_row < self.rows(stage) {
            self.cursor = Cursor::At(stage, next_row);
        } else if stage == Stage::Tail {
            self.cursor = Cursor::Done;
            return Ok(Progress::Done);
        } else {
            self.cursor = Cursor::At(self.after(stage), 0);
            self.hidden_rows = 0;
        }
        Ok(Progress::Running(stage))
    }

    /// Rows of a stage.
    fn rows(&self, stage: Stage) -> usize {
        let c = self.ipt.config();
        match stage {
            Stage::Conv { .. } => c.window,
            Stage::Tail => c.window * self.scale,
            _ => c.tokens(),
        }
    }

    /// The stage that follows a completed one.
    fn after(&self, stage: Stage) -> Stage {
        let c = self.ipt.config();
        let (encoder, layers) = (c.encoder_layers, c.encoder_layers + c.decoder_layers);
        let last_head = |head: u16| head as usize + 1 >= c.heads;
        match stage {
            Stage::Conv { part } if (part as usize) < HEAD_BLOCKS => Stage::Conv { part: part + 1 },
            Stage::Conv { .. } => Stage::Encode,
            Stage::Encode => Stage::Norm { layer: 0 },
            Stage::Norm { layer } => Stage::Project { layer, head: 0 },
            Stage::Project { layer, head } => Stage::Attention { layer, head },
            Stage::Attention { layer, head } if !last_head(head) => Stage::Project { layer, head: head + 1 },
            Stage::Attention { layer, .. } if layer as usize >= encoder => Stage::CrossNorm { layer },
            Stage::Attention { layer, .. } => Stage::Mlp { layer },
            Stage::CrossNorm { layer } => Stage::CrossProject { layer, head: 0 },
            Stage::CrossProject { layer, head } => Stage::CrossAttention { layer, head },
            Stage::CrossAttention { layer, head } if !last_head(head) => {
                Stage::CrossProject { layer, head: head + 1 }
            }
            Stage::CrossAttention { layer, .. } => Stage::Mlp { layer },
            Stage::Mlp { layer } if layer as usize + 1 == encoder => Stage::Memory,
            Stage::Mlp { layer } if (layer as usize + 1) < layers => Stage::Norm { layer: layer + 1 },
            Stage::Mlp { .. } => Stage::Decode,
            Stage::Memory => Stage::Norm { layer: encoder as u16 },
            Stage::Decode | Stage::Tail | Stage::Embed | Stage::Head => Stage::Tail,
        }
    }

    /// The stage whose tile the next step does, or `None` when there is none.
    pub fn next_stage(&self) -> Option<Stage> {
        match self.cursor {
            Cursor::At(stage, _) => Some(stage),
            Cursor::Done | Cursor::Failed => None,
        }
    }

    /// The row of the output that the step before has made: `(window·scale, 3)`, grey levels not yet rounded
    /// or clipped. Meaningless after steps of other stages than [`Stage::Tail`].
    ///
    /// # Errors
    /// None on a run that [`Ipt::begin`] made.
    pub fn row(&self) -> Result<&[f32], Error> {
        let count = self.ipt.config().window * self.scale * COLOURS;
        cast::<f32>(self.plan.view(self.arena, region::OUT_ROW)?)?.get(..count).ok_or(Error::Internal(63))
    }

    /// The residual stream as it is now, `(tokens, dim)`: after [`Stage::Encode`], between layers, and during
    /// them.
    ///
    /// # Errors
    /// None on a run that [`Ipt::begin`] made.
    pub fn tokens(&self) -> Result<&[f16], Error> {
        let c = self.ipt.config();
        let tokens = cast::<f16>(self.plan.view(self.arena, region::TOKENS)?)?;
        tokens.get(..c.tokens() * c.dim()).ok_or(Error::Internal(64))
    }

    /// The feature maps as they are now, `(window, window, features)`: the head's output, then with the
    /// body's added.
    ///
    /// # Errors
    /// None on a run that [`Ipt::begin`] made.
    pub fn feature_maps(&self) -> Result<&[f16], Error> {
        let c = self.ipt.config();
        let maps = cast::<f16>(self.plan.view(self.arena, region::MAP)?)?;
        maps.get(..c.window * c.window * c.features).ok_or(Error::Internal(65))
    }

    /// The task that this run was begun for.
    pub fn task(&self) -> Option<Task> {
        self.ipt.config().tasks.get(self.task).copied()
    }

    /// The plan that this run follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
