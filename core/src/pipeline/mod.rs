//! The functions that a user calls: pixels in, answers out.

mod band;
mod classify;
mod restore;
mod window_grid;

pub use band::{Band, BandPlan, BandShape, MAX_SIDE};
pub use classify::{classify, top_k, Prediction};
pub use restore::{default_overlap, restore, Restore, RestoreOptions};
pub use window_grid::{mirror, WindowGrid};
