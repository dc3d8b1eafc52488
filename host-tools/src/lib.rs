//! Host side of Vitreous: importers, float reference, training, conversion, parity and reports.
pub mod checkpoint;
pub mod image_input;
pub mod reference;
pub mod train;
