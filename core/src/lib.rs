//! Vision transformers on microcontrollers.
#![no_std]
#![deny(missing_docs)]

pub mod format;
pub mod models;
