//! Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877).

mod config;
mod forward;
mod parts;
mod plan;
mod run;
mod section;
mod weights;

pub use config::{Activation, Head, Output, Pool, VitConfig};
pub use plan::{DEFAULT_TILE_ROWS, MAX_TILE_ROWS};
pub use run::{Run, RunOptions};
pub use section::{BlockPrecision, ConfigSection, MAX_DEPTH, MAX_INPUTS, MAX_TOKENS};
pub use weights::{linear_bytes, Vit};
