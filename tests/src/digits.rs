// What the README's example includes: the Rust file of the engine's examples. No part of this crate.
include!("../../core/examples/digits/digits.rs");
