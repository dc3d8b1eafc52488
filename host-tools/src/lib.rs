//! Host side of Vitreous: importers, float reference, training, conversion, parity and reports.

pub mod train;
