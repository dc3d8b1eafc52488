//! Writes the layers that every transformer is made of, as the engine's blocks read them.

use anyhow::{ensure, Context, Result};
use half::f16;
use vitreous::tensor::{padded, PanelLayout, Precision};

use super::balance::Tensors;
use super::int8::quantize_weights;
use super::stream::f16s;
use crate::vtr::{pack_panels, SectionWriter};

/// Whether the inputs of an int8 layer come with a zero point, for which the sums of its weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZeroPoint {
    No,
    Yes,
}

/// Weights `(outputs, inputs)` and bias `(outputs)`.
pub(super) type WeightsAndBias<'a> = (&'a [f32], &'a [f32]);

/// A section of tensors, layer by layer.
pub(super) struct LayerWriter {
    section: SectionWriter,
    layout: PanelLayout,
}

impl LayerWriter {
    pub fn new(layout: PanelLayout) -> Self {
        Self { section: SectionWriter::default(), layout }
    }

    pub fn finish(self) -> SectionWriter {
        self.section
    }

    /// f16 values as they are.
    pub fn tensor(&mut self, values: &[f16]) {
        self.section.tensor(values);
    }

    /// Values as f16; `name` serves messages.
    ///
    /// # Errors
    /// A value that f16 cannot hold.
    pub fn f16s(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.section.tensor(&f16s(name, values)?);
        Ok(())
    }

    /// γ and β of a layer norm, `(dim)` each.
    pub fn norm(&mut self, (gamma, beta): WeightsAndBias) {
        self.section.floats(gamma);
        self.section.floats(beta);
    }

    /// A linear layer: weights, scales, bias, and sums of the int8 weights where the inputs have a zero
    /// point. `name` serves messages.
    ///
    /// # Errors
    /// A weight that f16 cannot hold, a bias that is not finite.
    pub fn linear(
        &mut self,
        name: &str,
        layer: WeightsAndBias,
        precision: Precision,
        zero_point: ZeroPoint,
    ) -> Result<()> {
        self.write_linear(layer, precision, zero_point).with_context(|| format!("cannot store `{name}`"))
    }

    fn write_linear(
        &mut self,
        (weights, bias): WeightsAndBias,
        precision: Precision,
        zero_point: ZeroPoint,
    ) -> Result<()> {
        ensure!(bias.iter().all(|b| b.is_finite()), "its bias becomes larger than a float can be");
        let inputs = weights.len() / bias.len();
        match precision {
            Precision::Int8 => {
                let quantized = quantize_weights(weights, inputs);
                self.section.tensor(&pack_panels(&quantized.values, inputs, self.layout));
                self.section.tensor(&quantized.scales);
                self.section.floats(bias);
                if zero_point == ZeroPoint::Yes {
                    let rows = quantized.values.chunks_exact(inputs);
                    let sums: Vec<i32> = rows.map(|row| row.iter().map(|q| i32::from(*q)).sum()).collect();
                    self.section.tensor(&sums);
                }
            }
            Precision::F16 => {
                let weights = f16s("the weights, kept in f16,", weights)?;
                self.section.tensor(&pack_f16(&weights, inputs, bias.len()));
                self.section.floats(bias);
            }
        }
        Ok(())
    }

    /// An attention of query, key and value `(3·dim, dim)` and projection `(dim, dim)`, head by head. The
    /// projection's bias comes with the first head.
    ///
    /// # Errors
    /// Those of [`linear`](Self::linear).
    pub fn attention(
        &mut self,
        heads: usize,
        [qkv_name, proj_name]: [&str; 2],
        (qkv, qkv_bias): WeightsAndBias,
        (proj, proj_bias): WeightsAndBias,
        [qkv_precision, proj_precision]: [Precision; 2],
    ) -> Result<()> {
        let dim = proj_bias.len();
        let (head_dim, zeros) = (dim / heads, vec![0f32; dim]);
        for head in 0..heads {
            for part in 0..3 {
                let first = part * dim + head * head_dim;
                let rows = (&qkv[first * dim..][..head_dim * dim], &qkv_bias[first..][..head_dim]);
                self.linear(qkv_name, rows, qkv_precision, ZeroPoint::No)?;
            }
            let columns = head * head_dim..(head + 1) * head_dim;
            let weights: Vec<f32> =
                proj.chunks_exact(dim).flat_map(|row| &row[columns.clone()]).copied().collect();
            let bias = if head == 0 { proj_bias } else { &zeros };
            self.linear(proj_name, (&weights, bias), proj_precision, ZeroPoint::No)?;
        }
        Ok(())
    }

    /// The two layers of an MLP. What the activation between them leaves has a zero point.
    ///
    /// # Errors
    /// Those of [`linear`](Self::linear).
    pub fn mlp(
        &mut self,
        [first, second]: [&str; 2],
        fc1: WeightsAndBias,
        fc2: WeightsAndBias,
        precision: [Precision; 2],
    ) -> Result<()> {
        self.linear(first, fc1, precision[0], ZeroPoint::No)?;
        self.linear(second, fc2, precision[1], ZeroPoint::Yes)
    }
}

/// f16 weights in panels of 16 outputs, in each `(inputs, 16)`.
fn pack_f16(weights: &[f16], inputs: usize, outputs: usize) -> Vec<f16> {
    let mut panels = vec![f16::ZERO; padded(outputs) * inputs];
    for (n, row) in weights.chunks_exact(inputs).enumerate() {
        for (k, weight) in row.iter().enumerate() {
            panels[(n / 16) * 16 * inputs + k * 16 + n % 16] = *weight;
        }
    }
    panels
}

/// The values of a tensor.
///
/// # Errors
/// A tensor that is not there.
pub(super) fn values<'t>(tensors: &'t Tensors, name: &str) -> Result<&'t [f32]> {
    let tensor = tensors.get(name).with_context(|| format!("the checkpoint has no tensor `{name}`"))?;
    Ok(&tensor.data)
}

/// Weights and bias of a layer, or γ and β of a norm.
///
/// # Errors
/// A tensor that is not there.
pub(super) fn weights_and_bias<'t>(tensors: &'t Tensors, name: &str) -> Result<WeightsAndBias<'t>> {
    Ok((values(tensors, &format!("{name}.weight"))?, values(tensors, &format!("{name}.bias"))?))
}
