//! What a user calls: pixels in, answers out.

mod classify;
mod restore;
mod window_grid;

pub use classify::{classify, top_k, Prediction};
pub use restore::{default_overlap, restore, BandPlan, Restore, RestoreOptions, MAX_SIDE};
pub use window_grid::{mirror, WindowGrid};
