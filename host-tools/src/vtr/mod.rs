//! `.vtr` files on the host: writing them, and holding their bytes where the engine can read them.

mod aligned;
mod arena;
mod family;
mod model_bytes;
mod panels;
mod repack;
mod writer;

pub use aligned::AlignedBytes;
pub use family::Family;
pub use model_bytes::ModelBytes;
pub use panels::{pack_panels, unpack_panels};
pub use repack::repack;
pub use writer::{parse_name, SectionWriter, VtrHeader, VtrWriter};
