//! `.vtr` files on the host: writing them, and holding their bytes where the engine can read them.

mod aligned;
mod model_bytes;
mod repack;
mod writer;

pub use aligned::AlignedBytes;
pub use model_bytes::ModelBytes;
pub use repack::{arena_of, repack};
pub use writer::{SectionWriter, VtrHeader, VtrWriter};
