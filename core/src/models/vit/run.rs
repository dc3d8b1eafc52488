//! A run of a ViT on one image.

use half::f16;

use super::forward;
use super::plan::{self, Slots};
use super::weights::Vit;
use crate::arena::Plan;
use crate::blocks::{mlp_tile, next_in_layer, AttentionStage, AttentionState, Layers, Planes};
use crate::error::Error;
use crate::format::Values;
use crate::kernels::TableSpec;
use crate::profile::{Progress, Stage};
use crate::run::{Machine, Position, RunOptions, Workspace, DEFAULT_TILE_ROWS};
use crate::source::PixelSource;
use crate::tensor::ALIGN;

/// A run of a ViT on one image, which can be left and resumed after every tile. It holds the arena and writes
/// to nothing else.
pub struct Run<'r, 'm> {
    vit: &'r Vit<'m>,
    workspace: Workspace<'r>,
    slots: Slots,
    attention: AttentionState<'m>,
    position: Position,
}

#[cfg(feature = "defmt")]
crate::run::format_run!(Run);

impl<'m> Vit<'m> {
    /// The memory plan of a run on one core with [`DEFAULT_TILE_ROWS`], on the kernel table that the file is
    /// laid out for. The model's header states the size of this plan.
    pub fn plan(&self) -> Plan {
        let table = TableSpec::of_layout(self.model().layout());
        // This cannot fail: it was checked when the model was loaded.
        self.plan_for(DEFAULT_TILE_ROWS, table, 1).unwrap_or(Plan::new(ALIGN))
    }

    /// The memory plan of a run with `tile_rows` rows per tile, a kernel table and a number of workers. More
    /// rows share each weight that is read, and need more memory. Tables differ in the order of keys and
    /// values and in how many queries they take together. Each worker has scratch of its own. On a table with
    /// [`TableSpec::has_room`], several workers have keys and values of several heads at a time, and fewer
    /// activations share memory. None of this changes a bit of the result.
    ///
    /// # Errors
    /// [`Error::TileRows`], [`Error::PlanTooLarge`].
    pub fn plan_for(&self, tile_rows: usize, kernels: &TableSpec, workers: usize) -> Result<Plan, Error> {
        let machine = Machine::new(tile_rows, kernels, workers)?;
        let mut plan = Plan::new(kernels.region_align);
        plan::plan(&mut plan, self.config(), self.section(), &machine);
        plan.check_size()?;
        Ok(plan)
    }

    /// Begins a run with default options: the kernels of this build, one worker.
    ///
    /// # Errors
    /// [`Error::ArenaTooSmall`], [`Error::ArenaMisaligned`]; [`Error::Layout`] if the kernels can't read the
    /// weights.
    pub fn begin<'r>(&'r self, arena: &'r mut [u8]) -> Result<Run<'r, 'm>, Error> {
        self.begin_with(arena, RunOptions::default())
    }

    /// Begins a run with a tile height, kernels and workers of the caller's choice.
    ///
    /// # Errors
    /// As [`Vit::begin`], and those of [`Vit::plan_for`].
    pub fn begin_with<'r>(
        &'r self,
        arena: &'r mut [u8],
        options: RunOptions<'r>,
    ) -> Result<Run<'r, 'm>, Error> {
        let machine = Machine::new(options.tile_rows, options.kernels.spec, options.pool.workers())?;
        let (slots, arena) = self.slots(&machine, arena);
        Ok(Run {
            vit: self,
            workspace: Workspace::new(options, self.model().layout(), arena?)?,
            slots,
            attention: AttentionState::new(machine.heads_at_work(self.config().heads)),
            position: Position::At(Stage::Embed, 0),
        })
    }

    /// The slots, and the memory cut to the plan's size. Not inlined, since the plan is large and not kept.
    #[inline(never)]
    fn slots<'r>(&self, machine: &Machine, arena: &'r mut [u8]) -> (Slots, Result<&'r mut [u32], Error>) {
        let mut plan = Plan::new(machine.table.region_align);
        let slots = plan::plan(&mut plan, self.config(), self.section(), machine);
        (slots, plan.check(arena))
    }
}

impl Run<'_, '_> {
    /// Does one tile and returns, so that a watchdog can be fed or another task can run.
    ///
    /// # Errors
    /// [`Error::Source`] if the pixels can't be had, [`Error::Finished`] after the last step. After an error
    /// the run is over.
    pub fn step<S: PixelSource + ?Sized>(&mut self, source: &mut S) -> Result<Progress, Error> {
        let (stage, row) = self.position.take()?;
        let next = self.tile(stage, row, source)?;
        let c = self.vit.config();
        let rows = if stage == Stage::Embed { c.patches() } else { c.tokens() };
        let at_work = self.attention.at_work;
        Ok(self.position.advance(stage, next, rows, || {
            let block = |layer: u16| match usize::from(layer) < c.depth {
                true => Stage::Norm { layer },
                false => Stage::Head,
            };
            match stage {
                Stage::Embed => Some(block(0)),
                Stage::Mlp { layer } => Some(block(layer.saturating_add(1))),
                _ => next_in_layer(stage, c.heads, at_work, None),
            }
        }))
    }

    /// Does the tile from `row` on. Returns the first row of the stage that is not done.
    fn tile<S: PixelSource + ?Sized>(
        &mut self,
        stage: Stage,
        row: usize,
        source: &mut S,
    ) -> Result<usize, Error> {
        let (vit, c, w, s) = (self.vit, self.vit.config(), &mut self.workspace, &self.slots);
        match stage {
            Stage::Embed => forward::embed_tile(w, c, &vit.embed(Values::Checked)?, s, row, source),
            Stage::Mlp { layer } => {
                Ok(mlp_tile(w, &vit.layer(layer.into())?.mlp()?, s.layer.tokens, &s.mlp, row)?)
            }
            Stage::Head => {
                forward::head(w, c, &vit.final_weights(Values::Checked)?, s)?;
                Ok(c.tokens())
            }
            stage => {
                let stage = AttentionStage::of(stage)?;
                let plane = s.plane.of(vit.block_precision(stage.layer).qkv);
                self.attention.tile(w, vit, (&s.layer, &Planes { plane, ..Planes::NONE }), stage, row)
            }
        }
    }

    /// Steps until the output is there.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn finish<S: PixelSource + ?Sized>(&mut self, source: &mut S) -> Result<(), Error> {
        while self.step(source)? != Progress::Done {}
        Ok(())
    }

    /// The stage whose tile the next step does, or `None` when there is none.
    pub fn next_stage(&self) -> Option<Stage> {
        self.position.stage()
    }

    /// The residual stream as it is now, `(tokens, dim)`: after the embedding, between blocks, or within one.
    ///
    /// # Errors
    /// None: [`Vit::begin`] has checked the memory.
    pub fn tokens(&self) -> Result<&[f16], Error> {
        Ok(self.slots.layer.tokens.read(self.workspace.arena)?)
    }

    /// Logits `(classes)`; empty for a model without head.
    ///
    /// # Errors
    /// [`Error::NotFinished`] before the last step.
    pub fn logits(&self) -> Result<&[f32], Error> {
        self.position.expect_done()?;
        Ok(self.slots.logits.read(self.workspace.arena)?)
    }

    /// Pooled features after the final norm, `(dim)`: the input of the classifier, or of the first of two.
    /// The converter balances channels between norm and classifier, so only a model without classifier has
    /// the network's own features.
    ///
    /// # Errors
    /// [`Error::NotFinished`] before the last step.
    pub fn features(&self) -> Result<&[f32], Error> {
        self.position.expect_done()?;
        Ok(self.slots.features.read(self.workspace.arena)?)
    }
}
