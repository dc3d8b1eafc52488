//! The parameters of a forward pass as tensors by name, and the layers that are made of them.

use super::ops;
use super::parameter::ParameterSpec;
use candle_core::{Device, Result, Tensor};
use std::collections::HashMap;

/// Tensors under their parameters' names.
pub struct Weights<'a> {
    tensors: HashMap<&'a str, Tensor>,
}

impl<'a> Weights<'a> {
    /// Parameters with their tensors; those that the forward pass does not use may be missing.
    pub fn new(tensors: impl Iterator<Item = (&'a ParameterSpec, Tensor)>) -> Self {
        Weights { tensors: tensors.map(|(spec, tensor)| (spec.name.as_str(), tensor)).collect() }
    }

    /// Parameters with their values, of which no gradients are wanted.
    pub fn constant<'v>(parameters: impl Iterator<Item = (&'a ParameterSpec, &'v Vec<f32>)>) -> Result<Self> {
        let tensor = |(spec, values): (&'a ParameterSpec, &Vec<f32>)| {
            Ok((spec, Tensor::from_slice(values, spec.shape.as_slice(), &Device::Cpu)?))
        };
        let tensors: Result<Vec<_>> = parameters.map(tensor).collect();
        Ok(Weights::new(tensors?.into_iter()))
    }

    /// The tensor of a parameter that the model lists.
    pub fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| unreachable!("the model lists {name}"))
    }

    fn pair(&self, name: &str) -> (&Tensor, &Tensor) {
        (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")))
    }

    /// `x·weightᵀ + bias`: (rows, inputs) → (rows, outputs).
    pub fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = self.pair(name);
        ops::linear(x, weight, bias)
    }

    /// Layer norm of every row.
    pub fn norm(&self, x: &Tensor, name: &str, eps: f32) -> Result<Tensor> {
        let (gain, bias) = self.pair(name);
        ops::layer_norm(x, gain, bias, eps)
    }

    /// Convolution of a (batch, height, width, inputs) map → (batch, height, width, outputs).
    pub fn conv(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = self.pair(name);
        ops::conv2d(x, weight, bias)
    }

    /// [`conv`](Self::conv) and ReLU.
    pub fn conv_relu(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = self.pair(name);
        ops::conv2d_relu(x, weight, bias)
    }
}
