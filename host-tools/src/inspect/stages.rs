//! Which stages of a run do a layer's work.

use vitreous::Stage;

use super::Layer;

/// The stages that do a layer's work. Head 0 stands for all heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it in one; of weights that several stages read, the first.
    In(Stage),
    /// Query, key and value of a self-attention, three linear layers of one size: keys and values in
    /// [`Stage::Project`], queries in [`Stage::Attention`] of this layer.
    Own(u16),
    /// The same of a cross-attention, in [`Stage::CrossProject`] and [`Stage::CrossAttention`].
    Cross(u16),
}

/// What a stage has to do and to read, over all heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights in the file.
    pub bytes: usize,
}

/// The stage with head 0, which stands for all of its layer's heads.
pub fn of_all_heads(stage: Stage) -> Stage {
    match stage {
        Stage::Project { layer, .. } => Stage::Project { layer, head: 0 },
        Stage::Attention { layer, .. } => Stage::Attention { layer, head: 0 },
        Stage::CrossProject { layer, .. } => Stage::CrossProject { layer, head: 0 },
        Stage::CrossAttention { layer, .. } => Stage::CrossAttention { layer, head: 0 },
        other => other,
    }
}

/// What all heads of a stage do, by the layers of its model.
pub fn work(layers: &[Layer], stage: Stage) -> Work {
    let stage = of_all_heads(stage);
    let mut sum = Work::default();
    for layer in layers {
        let [part, whole] = share(layer.place, stage);
        sum.macs += layer.macs * part / whole;
        sum.bytes += layer.bytes * part as usize / whole as usize;
    }
    sum
}

/// What part of a layer's work a stage does, as numerator and denominator.
fn share(place: Place, stage: Stage) -> [u64; 2] {
    match place {
        Place::In(own) => [u64::from(own == stage), 1],
        Place::Own(_) | Place::Cross(_) if place.attention() == stage => [1, 3],
        Place::Own(layer) => [2 * u64::from(stage == Stage::Project { layer, head: 0 }), 3],
        Place::Cross(layer) => [2 * u64::from(stage == Stage::CrossProject { layer, head: 0 }), 3],
    }
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
}
