//! What every transformer is made of. Each file has a block's slots in the arena, the work of a tile with its
//! equation, and how cores share it.
//!
//! A layer is norm, attention, perhaps another norm and attention over the encoder's output, and an MLP with
//! its norm (Vaswani et al., arXiv 1706.03762, with the norms in front as in Dosovitskiy et al., arXiv
//! 2010.11929).

mod attention;
mod cache;
mod layer;
mod mlp;
mod norm;
mod plane;
mod weights;

pub(crate) use attention::AttentionShape;
pub(crate) use layer::{next_in_layer, AttentionStage, AttentionState, LayerSlots, Layers, Planes};
pub(crate) use mlp::{mlp_tile, MlpRows, MlpSlots};
pub(crate) use plane::{Plane, PlaneSlots};
pub use weights::LayerPrecision;
pub(crate) use weights::{LayerSection, MlpWeights};
