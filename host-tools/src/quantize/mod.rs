//! Float weights to a `.vtr`: folding, quantization without calibration data, packing.
//!
//! An architecture brings an implementation of [`Quantize`] (its sections), its layers' names, its part of
//! the residual stream's scaling, of the balance and of the sensitivity; all else is here once.

pub mod balance;
mod file;
mod int8;
mod ipt;
mod ipt_layers;
mod layers;
mod rust_source;
mod sensitivity;
mod stream;
mod vit;
mod vit_layers;

pub use file::{quantize, Quantize, QuantizeOptions};
pub use int8::{quantize_weights, QuantizedWeights};
pub use ipt_layers::{ipt_layers, ipt_layers_named, IptLayer, IptPrecision, Part, Stack};
pub use rust_source::rust_source;
pub use sensitivity::{
    choose_precision, IptSensitivity, LayerGain, Measured, PrecisionChoice, Sensitivity, VitSensitivity,
};
pub use stream::{ipt_trial, scale_ipt_stream, scale_vit_stream, scaled_eps, vit_trial, Trial};
pub use vit_layers::{vit_layers, vit_layers_named, VitLayer, VitPrecision};
