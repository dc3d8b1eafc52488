//! Scale between neighbours: exact in float, better for int8.
//!
//! Where one layer's output reaches another through nothing but products, a channel may be divided on one
//! side and multiplied on the other. How a checkpoint shares it is chance, but int8 sees it: one scale serves
//! a whole row. So each channel is shared anew, by a rule of what no such rewriting changes. With r_k what a
//! channel carries and c_k how much of it is read, both sides become `√(r_k·c_k)`: SmoothQuant's middle way
//! (Xiao et al., arXiv 2211.10438, §4), without its data.
//!
//! A channel that was moved by F has r/F and c·F, hence a share s/F: of a power of two the very same bits
//! come out.

mod attention;
mod ipt;
mod mlp;
mod norm;
mod vit;

pub use ipt::balance_ipt;
pub use norm::{Extent, Extents};
pub use vit::{balance_block, balance_head};

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::checkpoint::FloatTensor;

/// Tensors by their canonical names: those of a model, or of a part of it.
pub type Tensors = BTreeMap<String, FloatTensor>;

/// A linear layer.
#[derive(Clone, Debug)]
struct Layer {
    /// `(outputs, inputs)`.
    weights: Vec<f32>,
    /// `(outputs)`.
    bias: Vec<f32>,
}

impl Layer {
    fn inputs(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    /// What each output carries where input k carries `inputs[k]`: the root of the squares' sum, the bias
    /// among them.
    fn amplitude(&self, inputs: &[f64]) -> Vec<f64> {
        let rows = self.weights.chunks_exact(inputs.len()).zip(&self.bias);
        let square = |(row, bias): (&[f32], &f32)| {
            let products = row.iter().zip(inputs).map(|(w, x)| (f64::from(*w) * x).powi(2));
            (products.sum::<f64>() + f64::from(*bias).powi(2)).sqrt()
        };
        rows.map(square).collect()
    }

    /// The same relative to each other, where all inputs carry the same, and how much is not known. A bias
    /// counts where it is all there is, so that the inputs' scale plays no role.
    fn relative_amplitude(&self) -> Vec<f64> {
        let rows = self.weights.chunks_exact(self.inputs()).zip(&self.bias);
        let norm = |row: &[f32]| row.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
        rows.map(|(row, bias)| Some(norm(row)).filter(|n| *n > 0.0).unwrap_or(f64::from(bias.abs())))
            .collect()
    }

    /// Multiplies what each output is.
    fn scale_outputs(&mut self, factors: &[f64]) {
        let inputs = self.inputs();
        for (row, factor) in self.weights.chunks_exact_mut(inputs).zip(factors) {
            row.iter_mut().for_each(|w| *w = scaled(*w, *factor));
        }
        scale_columns(&mut self.bias, factors);
    }

    /// Adds what constant inputs `(inputs)` give to the bias.
    fn add_constant(&mut self, inputs: &[f32]) {
        for (row, bias) in self.weights.chunks_exact(inputs.len()).zip(&mut self.bias) {
            let products = row.iter().zip(inputs).map(|(w, x)| f64::from(*w) * f64::from(*x));
            *bias = (f64::from(*bias) + products.sum::<f64>()) as f32;
        }
    }
}

/// Balances the outputs of a layer against the columns of weights `(…, outputs)` that alone read them, where
/// an activation between them is linear for each sign (ReLU, or none): `f(x/s) = f(x)/s` for s > 0. `carried`
/// is what each output carries.
///
/// The readers are those of a linear layer, whose rows are compared as they are quantized, each with itself.
fn balance_outputs(layer: &mut Layer, carried: &[f64], readers: &mut [f32]) {
    let read = read_by(readers, carried);
    balance_outputs_with(layer, carried, &read, readers);
}

/// The same with what reads each output.
fn balance_outputs_with(layer: &mut Layer, carried: &[f64], read: &[f64], readers: &mut [f32]) {
    let (divide, multiply) = both_sides(carried, read);
    layer.scale_outputs(&divide);
    scale_columns(readers, &multiply);
}

/// What the carrying and the reading side of each channel are multiplied by. A channel that carries nothing
/// or that nobody reads is cleared on both sides: it could only widen the range of its neighbours.
fn both_sides(carried: &[f64], read: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let factors = |(carried, read): (&f64, &f64)| {
        let share = (carried / read).sqrt();
        let used = *carried > 0.0 && *read > 0.0;
        if used {
            (1.0 / share, share)
        } else {
            (0.0, 0.0)
        }
    };
    carried.iter().zip(read).map(factors).unzip()
}

/// How much weights `(rows, columns)` read of each column, where column k carries `carried[k]`: the root mean
/// square of a column, each row being divided by the root of its own products' squares. So the rows' scales,
/// which int8 has one by one, play no role.
fn read_by(weights: &[f32], carried: &[f64]) -> Vec<f64> {
    let mut squares = vec![0f64; carried.len()];
    for row in weights.chunks_exact(carried.len()) {
        let products = row.iter().zip(carried).map(|(w, x)| (f64::from(*w) * x).powi(2));
        let energy: f64 = products.sum();
        if energy > 0.0 {
            squares.iter_mut().zip(row).for_each(|(sum, w)| *sum += f64::from(*w).powi(2) / energy);
        }
    }
    let rows = (weights.len() / carried.len()).max(1) as f64;
    squares.into_iter().map(|sum| (sum / rows).sqrt()).collect()
}

/// Root mean square of each column of `(rows, columns)` weights.
fn column_rms(weights: &[f32], columns: usize) -> Vec<f64> {
    let mut squares = vec![0f64; columns];
    for row in weights.chunks_exact(columns) {
        squares.iter_mut().zip(row).for_each(|(sum, w)| *sum += f64::from(*w).powi(2));
    }
    let rows = (weights.len() / columns).max(1) as f64;
    squares.into_iter().map(|sum| (sum / rows).sqrt()).collect()
}

/// Multiplies column k of `(rows, columns)` values by `factors[k]`.
fn scale_columns(values: &mut [f32], factors: &[f64]) {
    for row in values.chunks_exact_mut(factors.len()) {
        row.iter_mut().zip(factors).for_each(|(v, factor)| *v = scaled(*v, *factor));
    }
}

fn scaled(value: f32, factor: f64) -> f32 {
    (f64::from(value) * factor) as f32
}

/// Multiplies by a power of two, which is exact.
pub(super) fn scale_values(values: &mut [f32], exponent: i32) {
    let factor = 2f64.powi(exponent);
    values.iter_mut().for_each(|v| *v = scaled(*v, factor));
}

/// The values of a tensor.
fn values<'a>(tensors: &'a mut Tensors, name: &str) -> Result<&'a mut Vec<f32>> {
    let tensor = tensors.get_mut(name).with_context(|| format!("the checkpoint has no tensor `{name}`"))?;
    Ok(&mut tensor.data)
}

/// Takes the values of a tensor out; [`put`] brings them back.
fn take(tensors: &mut Tensors, name: &str) -> Result<Vec<f32>> {
    values(tensors, name).map(std::mem::take)
}

fn put(tensors: &mut Tensors, name: &str, data: Vec<f32>) -> Result<()> {
    *values(tensors, name)? = data;
    Ok(())
}

/// Takes a layer `name.weight`, `name.bias` out.
fn take_layer(tensors: &mut Tensors, name: &str) -> Result<Layer> {
    let weights = take(tensors, &format!("{name}.weight"))?;
    Ok(Layer { weights, bias: take(tensors, &format!("{name}.bias"))? })
}

fn put_layer(tensors: &mut Tensors, name: &str, layer: Layer) -> Result<()> {
    put(tensors, &format!("{name}.weight"), layer.weights)?;
    put(tensors, &format!("{name}.bias"), layer.bias)
}
