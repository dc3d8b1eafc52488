//! A run of an IPT, which can be left and resumed after every tile.

use half::f16;

use super::config::{Task, HEAD_BLOCKS};
use super::forward::{self, Tail};
use super::plan::{self, Slots};
use super::weights::Ipt;
use crate::arena::{carve, Plan};
use crate::blocks::{mlp_tile, next_in_layer, AttentionStage, AttentionState, Layers, Planes};
use crate::error::Error;
use crate::format::Values;
use crate::kernels::TableSpec;
use crate::profile::{Progress, Stage};
use crate::run::{Machine, Position, RunOptions, Workspace, DEFAULT_TILE_ROWS};

/// A run that restores one window after the other (example: [`crate::models::ipt`]). It holds the arena and
/// writes to nothing else.
///
/// [`Ipt::begin`] begins the run. [`IptRun::begin_window`] begins each window; it gives up one that is not
/// finished.
pub struct IptRun<'r, 'm> {
    ipt: &'r Ipt<'m>,
    workspace: Workspace<'r>,
    slots: Slots,
    /// Number of the task in the model.
    index: usize,
    task: &'r Task,
    attention: AttentionState<'m>,
    /// Rows that each step of the upsampler has computed.
    upsampled: [usize; 2],
    /// Rows that the first convolution of the current residual block has computed.
    hidden_rows: usize,
    position: Position,
}

#[cfg(feature = "defmt")]
crate::run::format_run!(IptRun);

impl<'m> Ipt<'m> {
    /// The memory plan of a task on one core with [`DEFAULT_TILE_ROWS`], on the kernel table that the file is
    /// laid out for.
    ///
    /// # Errors
    /// [`Error::Task`] if the model has fewer tasks, [`Error::PlanTooLarge`].
    pub fn plan(&self, task: usize) -> Result<Plan, Error> {
        self.plan_for(task, DEFAULT_TILE_ROWS, TableSpec::of_layout(self.model().layout()), 1)
    }

    /// The memory plan of a run with `tile_rows` rows per tile, a kernel table and a number of workers. See
    /// [`Vit::plan_for`](crate::models::vit::Vit::plan_for) for what each of them changes.
    ///
    /// # Errors
    /// [`Error::Task`], [`Error::TileRows`], [`Error::PlanTooLarge`].
    pub fn plan_for(
        &self,
        task: usize,
        tile_rows: usize,
        kernels: &TableSpec,
        workers: usize,
    ) -> Result<Plan, Error> {
        let machine = Machine::new(tile_rows, kernels, workers)?;
        let mut plan = Plan::new(kernels.region_align);
        plan::plan(&mut plan, self.config(), self.section(), (task, self.task(task)?), &machine);
        plan.check_size()?;
        Ok(plan)
    }

    /// Begins a run for windows of a task with default options: the kernels of this build, one worker.
    ///
    /// # Errors
    /// [`Error::Task`], [`Error::ArenaTooSmall`], [`Error::ArenaMisaligned`]; [`Error::Layout`] if the
    /// kernels can't read the weights.
    pub fn begin<'r>(&'r self, task: usize, arena: &'r mut [u8]) -> Result<IptRun<'r, 'm>, Error> {
        self.begin_with(task, arena, RunOptions::default())
    }

    /// Begins a run with a tile height, kernels and workers of the caller's choice.
    ///
    /// # Errors
    /// As [`Ipt::begin`], and those of [`Ipt::plan_for`].
    pub fn begin_with<'r>(
        &'r self,
        task: usize,
        arena: &'r mut [u8],
        options: RunOptions<'r>,
    ) -> Result<IptRun<'r, 'm>, Error> {
        let machine = Machine::new(options.tile_rows, options.kernels.spec, options.pool.workers())?;
        let (index, task) = (task, self.task(task)?);
        let (slots, arena) = self.slots((index, task), &machine, arena);
        Ok(IptRun {
            ipt: self,
            workspace: Workspace::new(options, self.model().layout(), arena?)?,
            slots,
            index,
            task,
            attention: AttentionState::new(machine.heads_at_work(self.config().heads)),
            upsampled: [0; 2],
            hidden_rows: 0,
            position: Position::Idle,
        })
    }

    /// The slots, and the memory cut to the plan's size. Not inlined, since the plan is large and not kept.
    #[inline(never)]
    fn slots<'r>(
        &self,
        task: (usize, &Task),
        machine: &Machine,
        arena: &'r mut [u8],
    ) -> (Slots, Result<&'r mut [u32], Error>) {
        let mut plan = Plan::new(machine.table.region_align);
        let slots = plan::plan(&mut plan, self.config(), self.section(), task, machine);
        (slots, plan.check(arena))
    }
}

impl<'m> IptRun<'_, 'm> {
    /// Begins a window: `fill` writes its pixels, `(window, window, 3)`, 8 bits each, red first.
    ///
    /// # Errors
    /// Those of `fill`. No window is then begun.
    pub fn begin_window(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.position = Position::Idle;
        carve!(self.workspace.arena => pixels: self.slots.window);
        fill(pixels.tile(0, self.slots.window.rows())?.data)?;
        self.position = Position::At(Stage::Conv { part: 0 }, 0);
        self.hidden_rows = 0;
        self.upsampled = [0; 2];
        Ok(())
    }

    /// Does one tile and returns, so that a watchdog can be fed or another task can run. After a step of
    /// [`Stage::Tail`], and after the last one, [`IptRun::row`] holds a row of the output.
    ///
    /// # Errors
    /// [`Error::Finished`] after the last step, and if no window was begun.
    pub fn step(&mut self) -> Result<Progress, Error> {
        let (stage, row) = self.position.take()?;
        let next = self.tile(stage, row)?;
        let (rows, after) = (self.rows(stage), self.after(stage));
        if next >= rows {
            self.hidden_rows = 0;
        }
        Ok(self.position.advance(stage, next, rows, || after))
    }

    /// Does the tile from `row` on. Returns the first row of the stage that is not done.
    fn tile(&mut self, stage: Stage, row: usize) -> Result<usize, Error> {
        let (ipt, c, w, s) = (self.ipt, self.ipt.config(), &mut self.workspace, &self.slots);
        let (mean, values, tokens) = (ipt.section().mean(), Values::Checked, s.layer.tokens);
        Ok(match stage {
            Stage::Conv { part } => {
                let head = ipt.head(self.index, values)?;
                let [first, second] = &head.blocks;
                match part {
                    0 => forward::entry_row(w, c, (&head.entry, mean), s, row)?,
                    1 => forward::block_row(w, c, first, s, &mut self.hidden_rows, row)?,
                    _ => forward::block_row(w, c, second, s, &mut self.hidden_rows, row)?,
                }
            }
            Stage::Encode => forward::encode_tile(w, c, &ipt.encode(values)?, s, row)?,
            Stage::Memory => forward::memory_tile(w, s, row)?,
            Stage::Mlp { layer } => mlp_tile(w, &ipt.layer(layer.into())?.mlp()?, tokens, &s.mlp, row)?,
            Stage::Decode => {
                mlp_tile(w, &ipt.mlp_head(values)?, tokens, &s.mlp, row)?;
                forward::decode_tile(w, c, s, row)?
            }
            Stage::Tail => {
                let (weights, steps) = (ipt.tail(self.index, values)?, self.task.upsampler());
                let tail = Tail { config: c, weights, steps, mean, slots: s };
                tail.row(w, &mut self.upsampled, row)?
            }
            stage => {
                let stage = AttentionStage::of(stage)?;
                let planes = self.planes(stage.layer, stage.is_cross)?;
                let (w, s) = (&mut self.workspace, &self.slots);
                self.attention.tile(w, ipt, (&s.layer, &planes), stage, row)?
            }
        })
    }

    /// The planes of an attention (Chen et al., arXiv 2012.00364, eq. 3 and 4). The decoder adds the task's
    /// query to the rows of which it makes queries, and in the self-attention also keys. The cross-attention
    /// makes keys and values of the encoder's output.
    fn planes(&self, layer: usize, is_cross: bool) -> Result<Planes<'m>, Error> {
        let (ipt, s) = (self.ipt, &self.slots);
        let precision = ipt.section().layer(layer);
        let qkv = if is_cross { precision.cross_qkv } else { precision.qkv };
        let plane = s.plane.of(qkv);
        if !ipt.is_decoder(layer) {
            return Ok(Planes { plane, ..Planes::NONE });
        }
        let (sum, addend) = (s.query_plane.of(qkv), ipt.tail(self.index, Values::Checked)?.query);
        if is_cross {
            return Ok(Planes { sum, addend, memory: s.memory, ..Planes::NONE });
        }
        Ok(Planes { plane, sum, addend, ..Planes::NONE })
    }

    /// Number of rows of a stage.
    fn rows(&self, stage: Stage) -> usize {
        let c = self.ipt.config();
        match stage {
            Stage::Conv { .. } => c.window,
            Stage::Tail => c.window * self.task.scale,
            _ => c.tokens(),
        }
    }

    /// The stage that follows `stage`, or `None` after the last one.
    fn after(&self, stage: Stage) -> Option<Stage> {
        let c = self.ipt.config();
        let (encoder, layers) = (c.encoder_layers, c.encoder_layers + c.decoder_layers);
        Some(match stage {
            Stage::Conv { part } if usize::from(part) < HEAD_BLOCKS => Stage::Conv { part: part + 1 },
            Stage::Conv { .. } => Stage::Encode,
            Stage::Encode => Stage::Norm { layer: 0 },
            Stage::Mlp { layer } if usize::from(layer) + 1 == encoder => Stage::Memory,
            Stage::Mlp { layer } if usize::from(layer) + 1 < layers => Stage::Norm { layer: layer + 1 },
            Stage::Mlp { .. } => Stage::Decode,
            Stage::Memory => Stage::Norm { layer: encoder as u16 },
            Stage::Decode => Stage::Tail,
            _ => return next_in_layer(stage, c.heads, self.attention.at_work, Some(encoder)),
        })
    }

    /// The stage whose tile the next step does, or `None` when there is none.
    pub fn next_stage(&self) -> Option<Stage> {
        self.position.stage()
    }

    /// The output row that the last step computed: `(window·scale, 3)`, grey levels that are not rounded or
    /// clipped yet. It means nothing after a step of another stage than [`Stage::Tail`].
    ///
    /// # Errors
    /// None: [`Ipt::begin`] has checked the memory.
    pub fn row(&self) -> Result<&[f32], Error> {
        Ok(self.slots.out_row.read(self.workspace.arena)?)
    }

    /// The residual stream as it is now, `(tokens, dim)`: after [`Stage::Encode`], between layers, or within
    /// one.
    ///
    /// # Errors
    /// None: [`Ipt::begin`] has checked the memory.
    pub fn tokens(&self) -> Result<&[f16], Error> {
        Ok(self.slots.layer.tokens.read(self.workspace.arena)?)
    }

    /// The feature maps as they are now, `(window, window, features)`: the head's output, and behind the body
    /// the sum of it and the body's output.
    ///
    /// # Errors
    /// None: [`Ipt::begin`] has checked the memory.
    pub fn feature_maps(&self) -> Result<&[f16], Error> {
        Ok(self.slots.map.read(self.workspace.arena)?)
    }

    /// The task that this run was begun for.
    pub fn task(&self) -> &Task {
        self.task
    }
}
