//! Image Processing Transformer (Chen et al., arXiv 2012.00364): restoration of images by a shared encoder and decoder with a
//! head, a query and a tail per task.

mod config;

pub use config::{IptConfig, Task, TaskKind, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, MAX_TASKS, OUTER_KERNEL};
