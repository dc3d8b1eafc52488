//! The blocks that every transformer is made of. Each file has a block's slots in the arena, the work of a
//! tile with its equation, and how cores share that work.
//!
//! A layer is a self-attention, in a decoder also a cross-attention over the encoder's output, and an MLP.
//! Each has a norm in front (Vaswani et al., arXiv 1706.03762, with the norms where Dosovitskiy et al., arXiv
//! 2010.11929, have them).

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
