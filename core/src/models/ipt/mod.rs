//! Image Processing Transformer (Chen et al., arXiv 2012.00364): restoration of images by a shared encoder and decoder with a
//! head, a query and a tail per task.

mod body;
mod config;
mod head;
mod plan;
mod run;
mod section;
mod tail;
mod weights;

pub use config::{IptConfig, Task, TaskKind, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, MAX_TASKS, OUTER_KERNEL};
pub use plan::{DEFAULT_TILE_ROWS, MAX_TILE_ROWS};
pub use run::IptRun;
pub use section::{BodyPrecision, IptSection, LayerPrecision, TaskPrecision};
pub use weights::Ipt;
