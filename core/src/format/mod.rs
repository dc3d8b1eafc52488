//! The `.vtr` container.
mod preprocess;
pub use preprocess::{Crop, Filter, Preprocess};
