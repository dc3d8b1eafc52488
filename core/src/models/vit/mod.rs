//! Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877).

mod config;
mod forward;
mod plan;
mod run;
mod section;
mod weights;

pub use crate::blocks::LayerPrecision;
pub use crate::kernels::Activation;
pub use crate::run::{RunOptions, DEFAULT_TILE_ROWS, MAX_TILE_ROWS};
pub use crate::tensor::{linear_bytes, MAX_DEPTH, MAX_INPUTS, MAX_TOKENS};
pub use config::{Head, Output, Pool, VitConfig};
pub use run::Run;
pub use section::ConfigSection;
pub use weights::Vit;
