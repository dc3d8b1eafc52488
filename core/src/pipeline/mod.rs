//! What a user calls: pixels in, answers out.

mod classify;

pub use classify::{classify, top_k, Prediction};
