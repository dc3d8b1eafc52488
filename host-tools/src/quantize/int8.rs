//! int8 weights: symmetric, one scale per output channel.

use vitreous::tensor::MIN_MAGNITUDE;

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
