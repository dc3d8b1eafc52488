//! Training.
pub mod ops;
