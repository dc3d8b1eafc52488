//! A layer's attentions, stage by stage: in which order, on which planes, and with the weights of the heads
//! at work.

use core::ops::Range;

use half::f16;

use super::attention::{attention_tile, AttentionShape, AttentionSlots};
use super::cache::cache_tile;
use super::norm::norm_tile;
use super::weights::{HeadWeights, LayerSection};
use super::PlaneSlots;
use crate::arena::{Phases, Plan, Slot};
use crate::error::{Error, Fault};
use crate::profile::Stage;
use crate::run::{Machine, PerHead, Workspace, MAX_HEADS_AT_WORK};

/// The stage that follows a completed one within its layer, or `None` behind the layer's last one. `at_work`
/// of the `heads` heads go together; layers from `cross_from` on have a cross-attention.
pub(crate) fn next_in_layer(stage: Stage, heads: usize, at_work: usize, cross_from: usize) -> Option<Stage> {
    let next_head = |head: u16| {
        let next = usize::from(head) + at_work;
        (next < heads).then_some(next as u16)
    };
    Some(match stage {
        Stage::Norm { layer } => Stage::Project { layer, head: 0 },
        Stage::Project { layer, head } => Stage::Attention { layer, head },
        Stage::Attention { layer, head } => match next_head(head) {
            Some(head) => Stage::Project { layer, head },
            None if usize::from(layer) >= cross_from => Stage::CrossNorm { layer },
            None => Stage::Mlp { layer },
        },
        Stage::CrossNorm { layer } => Stage::CrossProject { layer, head: 0 },
        Stage::CrossProject { layer, head } => Stage::CrossAttention { layer, head },
        Stage::CrossAttention { layer, head } => match next_head(head) {
            Some(head) => Stage::CrossProject { layer, head },
            None => Stage::Mlp { layer },
        },
        _ => return None,
    })
}

/// What a stage of an attention does: the norm in front of it, keys and values, or the attention itself. The
/// last two are of the heads from the given one on.
enum Work {
    Norm,
    Cache(u16),
    Attend(u16),
}

/// A stage of an attention.
pub(crate) struct AttentionStage {
    pub layer: usize,
    pub is_cross: bool,
    work: Work,
}

impl AttentionStage {
    /// The stage as one of an attention, which it has to be.
    pub fn of(stage: Stage) -> Result<Self, Fault> {
        let (layer, is_cross, work) = match stage {
            Stage::Norm { layer } => (layer, false, Work::Norm),
            Stage::Project { layer, head } => (layer, false, Work::Cache(head)),
            Stage::Attention { layer, head } => (layer, false, Work::Attend(head)),
            Stage::CrossNorm { layer } => (layer, true, Work::Norm),
            Stage::CrossProject { layer, head } => (layer, true, Work::Cache(head)),
            Stage::CrossAttention { layer, head } => (layer, true, Work::Attend(head)),
            _ => return Err(Fault::Stage),
        };
        Ok(Self { layer: layer.into(), is_cross, work })
    }
}

/// A model's layers, where it has their weights.
pub(crate) trait Layers<'m> {
    /// Heads of each attention.
    fn heads(&self) -> usize;
    /// A layer, which the loader has checked.
    fn layer(&self, layer: usize) -> Result<LayerSection<'m>, Error>;
}

/// The memory of all attentions of a model.
#[derive(Clone, Copy)]
pub(crate) struct LayerSlots {
    /// Residual stream: `(tokens, dim)`.
    pub tokens: Slot<f16>,
    /// Normed rows on their way to a plane, as many as the kernels take together, for each worker.
    pub normed: Slot<f32>,
    pub attention: AttentionSlots,
}

impl LayerSlots {
    /// For a residual stream that is planned already; `norm` and `attention` are the phases of those.
    #[inline(always)]
    pub fn plan(
        plan: &mut Plan,
        m: &Machine,
        tokens: Slot<f16>,
        shape: &AttentionShape,
        [norm, attention]: [Phases; 2],
    ) -> Self {
        let normed = m.table.norm_rows.min(m.tile) * shape.dim;
        Self {
            tokens,
            normed: plan.slot("normed row", m.workers, normed, norm),
            attention: AttentionSlots::plan(plan, m, shape, attention),
        }
    }
}

/// The planes of an attention. What is not there is empty.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a> {
    /// Normed rows.
    pub plane: PlaneSlots,
    /// Normed rows with `addend` added.
    pub sum: PlaneSlots,
    /// `(tokens, dim)`.
    pub addend: &'a [f16],
    /// The rows that a cross-attention is over.
    pub memory: PlaneSlots,
}

impl Planes<'_> {
    /// None of them.
    pub const NONE: Self =
        Self { plane: PlaneSlots::EMPTY, sum: PlaneSlots::EMPTY, addend: &[], memory: PlaneSlots::EMPTY };

    /// What queries are made of: the sum, where there is one.
    fn queries(&self) -> &PlaneSlots {
        if self.sum.is_empty() {
            &self.plane
        } else {
            &self.sum
        }
    }

    /// What keys are made of, and what values are made of, if that is another plane: the memory; or the same
    /// as queries, and the normed rows as they are.
    fn keys_and_values(&self) -> (&PlaneSlots, &PlaneSlots) {
        match (self.memory.is_empty(), self.sum.is_empty()) {
            (false, _) => (&self.memory, &PlaneSlots::EMPTY),
            (true, true) => (&self.plane, &PlaneSlots::EMPTY),
            (true, false) => (&self.sum, &self.plane),
        }
    }
}

/// The attention at work: what is kept from tile to tile.
pub(crate) struct AttentionState<'m> {
    /// Heads that go together.
    pub at_work: usize,
    /// Largest scale of the values of each head at work.
    value_scales: [f32; MAX_HEADS_AT_WORK],
    heads: HeadsAtWork<'m>,
}

impl<'m> AttentionState<'m> {
    pub const fn new(at_work: usize) -> Self {
        let heads = HeadsAtWork { of: None, weights: PerHead::new() };
        Self { at_work, value_scales: [0.0; MAX_HEADS_AT_WORK], heads }
    }

    /// A tile of a stage of an attention, from `row` on. Returns the first row that is not done.
    pub fn tile(
        &mut self,
        w: &mut Workspace,
        model: &dyn Layers<'m>,
        (slots, planes): (&LayerSlots, &Planes),
        AttentionStage { layer, is_cross, work }: AttentionStage,
        row: usize,
    ) -> Result<usize, Error> {
        let (Work::Cache(head) | Work::Attend(head)) = work else {
            let norm = model.layer(layer)?.norm(is_cross)?;
            return Ok(norm_tile(w, &norm, slots.tokens, slots.normed, planes, row)?);
        };
        let head = usize::from(head);
        let heads = head..(head + self.at_work).min(model.heads());
        let heads = self.heads.get(model, (layer, is_cross), heads)?;
        let scales = &mut self.value_scales;
        Ok(match work {
            Work::Attend(_) => attention_tile(w, heads, planes.queries(), slots, scales, row)?,
            _ => cache_tile(w, heads, planes.keys_and_values(), &slots.attention, scales, row)?,
        })
    }
}

/// Weights of the heads at work, found once for all of their tiles.
struct HeadsAtWork<'m> {
    /// Layer, whether it is its cross-attention, first head.
    of: Option<(usize, bool, usize)>,
    weights: PerHead<HeadWeights<'m>>,
}

impl<'m> HeadsAtWork<'m> {
    fn get(
        &mut self,
        model: &dyn Layers<'m>,
        (layer, is_cross): (usize, bool),
        heads: Range<usize>,
    ) -> Result<&[HeadWeights<'m>], Error> {
        let of = Some((layer, is_cross, heads.start));
        if self.of != of {
            // In place: they are kilobytes.
            self.of = None;
            self.weights.clear();
            for head in heads {
                let weights = model.layer(layer)?.head(is_cross, head)?;
                self.weights.push(weights).map_err(|_| Fault::Weights)?;
            }
            self.of = of;
        }
        Ok(&self.weights)
    }
}
