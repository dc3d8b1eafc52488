//! Which stages of a run do a layer's work.

use vitreous::Stage;

/// The stages that do a layer's work. Head 0 stands for all heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it in one; of weights that several stages read, the first.
    In(Stage),
    /// Query, key and value of a self-attention, three linear layers of one size: keys and values in
    /// [`Stage::KeysValues`], queries in [`Stage::Attention`] of this layer.
    Own(u16),
    /// The same of a cross-attention, in [`Stage::CrossKeysValues`] and [`Stage::CrossAttention`].
    Cross(u16),
}

impl Place {
    /// The stage of an attention's queries, scores and projection.
    pub(super) fn attention(self) -> Stage {
        match self {
            Place::In(stage) => stage,
            Place::Own(layer) => Stage::Attention { layer, head: 0 },
            Place::Cross(layer) => Stage::CrossAttention { layer, head: 0 },
        }
    }

    /// What part of a layer's work a stage does, as numerator and denominator.
    pub(super) fn share(self, stage: Stage) -> [u64; 2] {
        match self {
            Place::In(own) => [u64::from(own == stage), 1],
            Place::Own(_) | Place::Cross(_) if self.attention() == stage => [1, 3],
            Place::Own(layer) => [2 * u64::from(stage == Stage::KeysValues { layer, head: 0 }), 3],
            Place::Cross(layer) => [2 * u64::from(stage == Stage::CrossKeysValues { layer, head: 0 }), 3],
        }
    }
}
