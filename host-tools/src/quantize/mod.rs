//! Float weights to a `.vtr`: folding, quantization without calibration data, packing.

mod equalize;
mod int8;
mod rust_source;
mod sensitivity;
mod vit;

pub use equalize::{equalize, Equalized};
pub use int8::{pack_panels, quantize_weights, unpack_panels, QuantizedWeights};
pub use rust_source::rust_source;
pub use sensitivity::{choose_precision, LayerGain, PrecisionChoice};
pub use vit::{quantize_vit, LayerName, QuantizeOptions};
