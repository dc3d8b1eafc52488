//! Float weights to a `.vtr`: folding, quantization without calibration data, packing.

pub mod balance;
mod int8;
mod ipt;
mod ipt_layers;
mod linear;
mod rust_source;
mod sensitivity;
mod stream;
mod vit;

pub use int8::{pack_panels, quantize_weights, unpack_panels, QuantizedWeights};
pub use ipt::{quantize_ipt, IptQuantizeOptions};
pub use ipt_layers::{ipt_layers, ipt_layers_named, IptLayer, IptPrecision, Part, Stack};
pub use rust_source::{rust_source, rust_source_of_restorer};
pub use sensitivity::{
    choose_precision, IptSensitivity, LayerGain, Measured, PrecisionChoice, Sensitivity, VitSensitivity,
};
pub use stream::{ipt_trial, scale_ipt_stream, scale_vit_stream, scaled_eps, vit_trial, Trial};
pub use vit::{quantize_vit, vit_layers, vit_layers_named, LayerName, QuantizeOptions};
