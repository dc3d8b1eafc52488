//! Gradients of a batch, summed over the shards that are worked on in parallel.

use super::parameter::ParameterSpec;
use super::weights::Weights;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};

/// Loss and gradients of a batch, or of a shard of it.
pub struct Gradients {
    /// Mean loss of the batch, or the shard's part of it.
    pub loss: f64,
    /// In the order of the parameters; empty for those that the loss does not depend on.
    pub grads: Vec<Vec<f32>>,
}

impl Gradients {
    /// The gradients of a batch. They are added in the shards' order, so that the result does not depend on
    /// the threads that made them.
    ///
    /// # Errors
    /// There is no shard.
    pub fn sum(shards: Vec<Gradients>) -> Result<Gradients> {
        let mut shards = shards.into_iter();
        let mut sum = shards.next().context("an empty batch")?;
        for shard in shards {
            sum.loss += shard.loss;
            for (total, part) in sum.grads.iter_mut().zip(&shard.grads) {
                total.iter_mut().zip(part).for_each(|(t, &p)| *t += p);
            }
        }
        Ok(sum)
    }
}

/// The parameters of a shard's forward pass, as variables that gradients are taken of.
pub struct Variables<'a> {
    /// In the order of the parameters; `None` for those that are not used.
    parameters: Vec<(&'a ParameterSpec, Option<Var>)>,
}

impl<'a> Variables<'a> {
    /// Parameters, whether the forward pass uses them, and their values.
    pub fn new(
        parameters: impl Iterator<Item = (&'a ParameterSpec, bool)>,
        values: &[Vec<f32>],
    ) -> Result<Self> {
        let variable = |((spec, is_used), value): ((&'a ParameterSpec, bool), &Vec<f32>)| {
            let variable = is_used.then(|| Var::from_slice(value, spec.shape.as_slice(), &Device::Cpu));
            Ok((spec, variable.transpose()?))
        };
        let parameters: Result<Vec<_>> = parameters.zip(values).map(variable).collect();
        Ok(Variables { parameters: parameters? })
    }

    /// The variables by name.
    pub fn weights(&self) -> Weights<'a> {
        let used = |(spec, variable): &(&'a ParameterSpec, Option<Var>)| {
            variable.as_ref().map(|variable| (*spec, variable.as_tensor().clone()))
        };
        Weights::new(self.parameters.iter().filter_map(used))
    }

    /// The gradients of `loss`, a scalar that was made of these variables.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients> {
        let store = loss.backward()?;
        let gradient = |(spec, variable): &(&ParameterSpec, Option<Var>)| -> Result<Vec<f32>> {
            let Some(variable) = variable else { return Ok(Vec::new()) };
            let grad = store.get(variable).with_context(|| format!("{}: no gradient", spec.name))?;
            Ok(grad.flatten_all()?.to_vec1::<f32>()?)
        };
        let grads: Result<Vec<Vec<f32>>> = self.parameters.iter().map(gradient).collect();
        Ok(Gradients { loss: f64::from(loss.to_scalar::<f32>()?), grads: grads? })
    }
}
