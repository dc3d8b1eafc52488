//! Layer norms and the linear layers that read them.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{both_sides, column_rms, put, read_by, scale_columns, take, Layer, Tensors};

/// γ and β of a layer norm, `(dim)` each.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Norm {
    pub fn take(tensors: &mut Tensors, name: &str) -> Result<Self> {
        let gamma = take(tensors, &format!("{name}.weight"))?;
        Ok(Self { gamma, beta: take(tensors, &format!("{name}.bias"))? })
    }

    pub fn put(self, tensors: &mut Tensors, name: &str) -> Result<()> {
        put(tensors, &format!("{name}.weight"), self.gamma)?;
        put(tensors, &format!("{name}.bias"), self.beta)
    }

    /// The largest magnitude that each channel carries where z lies within an extent.
    pub fn amplitude(&self, extent: &Extent) -> Vec<f64> {
        let largest = |(k, (low, high)): (usize, &(f32, f32))| {
            let (gamma, beta) = (f64::from(self.gamma[k]), f64::from(self.beta[k]));
            [low, high].map(|z| (gamma * f64::from(*z) + beta).abs()).into_iter().fold(0.0, f64::max)
        };
        extent.0.iter().enumerate().map(largest).collect()
    }

    fn scale(&mut self, factors: &[f64]) {
        scale_columns(&mut self.gamma, factors);
        scale_columns(&mut self.beta, factors);
    }
}

/// Least and greatest z of each channel of a norm, `(dim)`: what stands before γ and β, which no rewriting
/// changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Extent(Vec<(f32, f32)>);

/// Extents by the names of their norms.
pub type Extents = BTreeMap<String, Extent>;

impl Extent {
    /// Nothing is known: one standard deviation.
    pub fn unknown(dim: usize) -> Self {
        Self(vec![(-1.0, 1.0); dim])
    }

    /// That of a norm, if it is known.
    pub fn of(extents: &Extents, norm: &str, dim: usize) -> Self {
        extents.get(norm).cloned().unwrap_or_else(|| Self::unknown(dim))
    }

    /// Extends it by what a norm with this ε makes of rows `(n, dim)` of the residual stream. An extent has 0
    /// in it always.
    pub fn extend(extents: &mut Extents, norm: &str, rows: &[f32], dim: usize, eps: f32) {
        let extent = extents.entry(norm.to_owned()).or_insert_with(|| Self(vec![(0.0, 0.0); dim]));
        for row in rows.chunks_exact(dim) {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / dim as f64;
            let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
            let factor = 1.0 / (squares / dim as f64 + f64::from(eps)).sqrt();
            for ((low, high), x) in extent.0.iter_mut().zip(row) {
                let z = ((f64::from(*x) - mean) * factor) as f32;
                (*low, *high) = (low.min(z), high.max(z));
            }
        }
    }
}

/// Moves what is nearly constant of a norm into the biases of all layers `(outputs, dim)` that read it: each
/// channel whose |β| is twice what its γ can ever add to it, or more. Since `|z| ≤ √dim`, each such element
/// of a row becomes smaller.
pub(super) fn fold_constants(norm: &mut Norm, layers: &mut [&mut Layer]) {
    let reach = (norm.gamma.len() as f64).sqrt();
    let pairs = norm.gamma.iter().zip(&norm.beta);
    let is_constant = |gamma: f32, beta: f32| f64::from(beta.abs()) >= 2.0 * reach * f64::from(gamma.abs());
    let constants: Vec<f32> =
        pairs.map(|(gamma, beta)| if is_constant(*gamma, *beta) { *beta } else { 0.0 }).collect();
    layers.iter_mut().for_each(|layer| layer.add_constant(&constants));
    norm.beta.iter_mut().zip(&constants).for_each(|(beta, moved)| *beta -= moved);
}

/// Balances a norm with all layers that read it: `W·(γ⊙z + β) = (W·S)·((γ/s)⊙z + β/s)`.
pub(super) fn balance_norm(norm: &mut Norm, extent: &Extent, layers: &mut [&mut Layer]) {
    let mut weights: Vec<&mut [f32]> = layers.iter_mut().map(|layer| layer.weights.as_mut_slice()).collect();
    balance_norms(std::slice::from_mut(norm), extent, &mut [], &mut weights);
}

/// Balances norms whose outputs are read by the same weights `(outputs, dim)`, also with `addends` `(rows,
/// dim)` added to them.
pub(super) fn balance_norms(
    norms: &mut [Norm],
    extent: &Extent,
    addends: &mut [f32],
    layers: &mut [&mut [f32]],
) {
    let Some(dim) = norms.first().map(|norm| norm.gamma.len()) else { return };
    let largest = |all: &mut dyn Iterator<Item = Vec<f64>>| {
        all.fold(vec![0f64; dim], |most, one| most.iter().zip(one).map(|(m, o)| m.max(o)).collect())
    };
    let added = column_rms(addends, dim);
    let carried = largest(&mut norms.iter().map(|norm| norm.amplitude(extent)).chain([added]));
    let read = largest(&mut layers.iter().map(|layer| read_by(layer, &carried)));
    let (divide, multiply) = both_sides(&carried, &read);
    norms.iter_mut().for_each(|norm| norm.scale(&divide));
    scale_columns(addends, &divide);
    layers.iter_mut().for_each(|layer| scale_columns(layer, &multiply));
}
