//! `.vtr` files on the host: writing them, and holding their bytes where the engine can read them.

mod aligned;
mod writer;

pub use aligned::AlignedBytes;
pub use writer::{SectionWriter, VtrHeader, VtrWriter};
