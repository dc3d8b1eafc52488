//! int8 weights: symmetric, one scale per output channel, packed in panels.

use vitreous::tensor::{padded, PanelLayout, MIN_MAGNITUDE};

/// Weights of a linear layer, quantized.
#[derive(Clone, Debug)]
pub struct QuantizedWeights {
    /// `(outputs, inputs)`, −127 to 127.
    pub values: Vec<i8>,
    /// Scale per output.
    pub scales: Vec<f32>,
}

/// Quantizes `(outputs, inputs)` weights: the largest magnitude of each output becomes 127.
pub fn quantize_weights(weights: &[f32], inputs: usize) -> QuantizedWeights {
    let mut quantized = QuantizedWeights { values: Vec::with_capacity(weights.len()), scales: Vec::new() };
    for row in weights.chunks_exact(inputs) {
        let max_abs = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let scale = (max_abs / 127.0).max(MIN_MAGNITUDE);
        quantized.scales.push(scale);
        quantized.values.extend(row.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
    }
    quantized
}

/// Packs `(outputs, inputs)` weights into zero-padded panels.
pub fn pack_panels(values: &[i8], inputs: usize, layout: PanelLayout) -> Vec<i8> {
    let (nr, kr, pitch) = (layout.nr as usize, layout.kr as usize, padded(inputs));
    let outputs = values.len() / inputs;
    let mut panels = vec![0i8; outputs.next_multiple_of(nr) * pitch];
    for (n, row) in values.chunks_exact(inputs).enumerate() {
        for (k, value) in row.iter().enumerate() {
            let place = if nr == 1 {
                n * pitch + k
            } else {
                (n / nr) * nr * pitch + (k / kr) * nr * kr + (n % nr) * kr + k % kr
            };
            panels[place] = *value;
        }
    }
    panels
}
