//! Writes a linear layer in either precision.

use anyhow::{ensure, Result};
use half::f16;
use vitreous::tensor::{padded, PanelLayout, Precision};

use super::int8::{pack_panels, quantize_weights};
use super::stream::f16s;
use crate::vtr::SectionWriter;

/// Whether the inputs of an int8 layer come with a zero point, for which the sums of its weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZeroPoint {
    No,
    Yes,
}

/// Appends weights `(outputs, inputs)`, scales, bias `(outputs)`, and sums of the int8 weights where the
/// inputs have a zero point.
///
/// # Errors
/// A weight that f16 cannot hold, a bias that is not finite.
pub(super) fn write_linear(
    section: &mut SectionWriter,
    layout: PanelLayout,
    weights: &[f32],
    bias: &[f32],
    precision: Precision,
    zero_point: ZeroPoint,
) -> Result<()> {
    ensure!(bias.iter().all(|b| b.is_finite()), "its bias becomes larger than a float can be");
    let inputs = weights.len() / bias.len();
    match precision {
        Precision::Int8 => {
            let quantized = quantize_weights(weights, inputs);
            section.tensor(&pack_panels(&quantized.values, inputs, layout));
            section.tensor(&quantized.scales);
            section.floats(bias);
            if zero_point == ZeroPoint::Yes {
                let rows = quantized.values.chunks_exact(inputs);
                let sums: Vec<i32> = rows.map(|row| row.iter().map(|q| i32::from(*q)).sum()).collect();
                section.tensor(&sums);
            }
        }
        Precision::F16 => {
            section.tensor(&pack_f16(&f16s("the weights, kept in f16,", weights)?, inputs, bias.len()));
            section.floats(bias);
        }
    }
    Ok(())
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
