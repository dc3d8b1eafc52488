//! The architectures, one readable forward pass each.
pub mod vit;
