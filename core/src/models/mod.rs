//! The architectures, one readable forward pass each.
pub mod ipt;
pub mod vit;
