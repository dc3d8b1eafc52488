//! The stages of a layer's attentions: their order, the planes that they read, and the weights of the heads
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

/// The stage that follows `stage` within its layer, or `None` after the layer's last one. `at_work` of the
/// `heads` heads are computed together. Layers from number `cross_from` on have a cross-attention.
pub(crate) fn next_in_layer(
    stage: Stage,
    heads: usize,
    at_work: usize,
    cross_from: Option<usize>,
) -> Option<Stage> {
    let next_head = |head: u16| {
        let next = usize::from(head) + at_work;
        (next < heads).then_some(next as u16)
    };
    Some(match stage {
        Stage::Norm { layer } => Stage::KeysValues { layer, head: 0 },
        Stage::KeysValues { layer, head } => Stage::Attention { layer, head },
        Stage::Attention { layer, head } => match next_head(head) {
            Some(head) => Stage::KeysValues { layer, head },
            None if cross_from.is_some_and(|from| usize::from(layer) >= from) => Stage::CrossNorm { layer },
            None => Stage::Mlp { layer },
        },
        Stage::CrossNorm { layer } => Stage::CrossKeysValues { layer, head: 0 },
        Stage::CrossKeysValues { layer, head } => Stage::CrossAttention { layer, head },
        Stage::CrossAttention { layer, head } => match next_head(head) {
            Some(head) => Stage::CrossKeysValues { layer, head },
            None => Stage::Mlp { layer },
        },
        _ => return None,
    })
}

/// What a stage of an attention computes: the norm in front of it, keys and values, or the attention itself.
/// The last two are computed for the heads at work, of which the first is given.
enum Part {
    Norm,
    Cache(u16),
    Attend(u16),
}

/// A stage of a layer's self-attention or cross-attention.
pub(crate) struct AttentionStage {
    pub layer: usize,
    pub is_cross: bool,
    part: Part,
}

impl AttentionStage {
    /// Takes `stage` as one of an attention; any other is a fault.
    pub fn of(stage: Stage) -> Result<Self, Fault> {
        let (layer, is_cross, part) = match stage {
            Stage::Norm { layer } => (layer, false, Part::Norm),
            Stage::KeysValues { layer, head } => (layer, false, Part::Cache(head)),
            Stage::Attention { layer, head } => (layer, false, Part::Attend(head)),
            Stage::CrossNorm { layer } => (layer, true, Part::Norm),
            Stage::CrossKeysValues { layer, head } => (layer, true, Part::Cache(head)),
            Stage::CrossAttention { layer, head } => (layer, true, Part::Attend(head)),
            _ => return Err(Fault::Stage),
        };
        Ok(Self { layer: layer.into(), is_cross, part })
    }
}

/// A model, as the weights of its layers.
pub(crate) trait Layers<'m> {
    /// Heads of each attention.
    fn heads(&self) -> usize;
    /// The weights of layer `layer`, which were checked at load.
    fn layer(&self, layer: usize) -> Result<LayerSection<'m>, Error>;
}

/// The residual stream, and the memory that all attentions of a model share.
#[derive(Clone, Copy)]
pub(crate) struct LayerSlots {
    /// Residual stream: `(tokens, dim)`.
    pub tokens: Slot<f16>,
    /// For each worker as many normed rows as the kernels take together, before they are stored in a plane.
    pub normed: Slot<f32>,
    pub attention: AttentionSlots,
}

impl LayerSlots {
    /// `tokens` is planned already. `norm` and `attention` are the phases of the norm and of the attention.
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

/// The planes of an attention. One that it does not use is empty.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a> {
    /// Normed rows.
    pub plane: PlaneSlots,
    /// Normed rows plus `addend`.
    pub sum: PlaneSlots,
    /// What is added for `sum`: `(tokens, dim)`, or empty.
    pub addend: &'a [f16],
    /// The rows of which a cross-attention makes keys and values.
    pub memory: PlaneSlots,
}

impl Planes<'_> {
    /// None of them.
    pub const NONE: Self =
        Self { plane: PlaneSlots::EMPTY, sum: PlaneSlots::EMPTY, addend: &[], memory: PlaneSlots::EMPTY };

    /// The plane of which queries are made: the sum, if there is one.
    fn queries(&self) -> &PlaneSlots {
        if self.sum.is_empty() {
            &self.plane
        } else {
            &self.sum
        }
    }

    /// The planes of keys and of values; the second is empty where the first serves for both. With a memory
    /// both are made of it. Otherwise keys are made of the same plane as queries, and values of `plane`.
    fn keys_and_values(&self) -> (&PlaneSlots, &PlaneSlots) {
        match (self.memory.is_empty(), self.sum.is_empty()) {
            (false, _) => (&self.memory, &PlaneSlots::EMPTY),
            (true, true) => (&self.plane, &PlaneSlots::EMPTY),
            (true, false) => (&self.sum, &self.plane),
        }
    }
}

/// What an attention keeps from tile to tile.
pub(crate) struct AttentionState<'m> {
    /// Number of heads at work, that is, of heads that are computed together.
    pub at_work: usize,
    /// Largest scale of the values of each head at work.
    largest_scales: [f32; MAX_HEADS_AT_WORK],
    heads: HeadsAtWork<'m>,
}

impl<'m> AttentionState<'m> {
    pub const fn new(at_work: usize) -> Self {
        let heads = HeadsAtWork { of: None, weights: PerHead::new() };
        Self { at_work, largest_scales: [0.0; MAX_HEADS_AT_WORK], heads }
    }

    /// Computes the tile of a stage from `row` on. Returns the first row that is not done.
    pub fn tile(
        &mut self,
        w: &mut Workspace,
        model: &dyn Layers<'m>,
        (slots, planes): (&LayerSlots, &Planes),
        AttentionStage { layer, is_cross, part }: AttentionStage,
        row: usize,
    ) -> Result<usize, Error> {
        let (Part::Cache(head) | Part::Attend(head)) = part else {
            let norm = model.layer(layer)?.norm(is_cross)?;
            return Ok(norm_tile(w, &norm, slots.tokens, slots.normed, planes, row)?);
        };
        let head = usize::from(head);
        let heads = head..(head + self.at_work).min(model.heads());
        let heads = self.heads.get(model, (layer, is_cross), heads)?;
        let scales = &mut self.largest_scales;
        Ok(match part {
            Part::Attend(_) => attention_tile(w, heads, planes.queries(), slots, scales, row)?,
            _ => cache_tile(w, heads, planes.keys_and_values(), &slots.attention, scales, row)?,
        })
    }
}

/// The weights of the heads at work, which are looked up once for all of their tiles.
struct HeadsAtWork<'m> {
    /// Whose weights they are: the layer, whether of its cross-attention, and the first head.
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
            // Written in place, since the weights of all heads take kilobytes.
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
