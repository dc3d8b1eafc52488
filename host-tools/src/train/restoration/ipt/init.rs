//! Starting values: an untrained network gives back its input (enlarged bilinearly where the task enlarges),
//! so that training begins with the picture as it is and only has to learn what to change.
//!
//! The first three of the feature maps carry the colours through. Every branch that is added to the residual
//! stream ends in zeros (Goyal et al., arXiv 1706.02677, §5.1, do so for the last gain of a block). Map and
//! tokens meet twice, as head's output and as the body's, so the tail takes half of the sum.

use super::super::network::Parameter;
use crate::train::parameter::TOKEN_DEVIATION;
use crate::train::random::{normal, purpose, stream, uniform};
use rand_chacha::ChaCha8Rng;
use vitreous::models::ipt::{IptConfig, COLOURS};

/// Starting values of every parameter, in order.
pub fn initial_values(config: &IptConfig, parameters: &[Parameter], seed: u64) -> Vec<Vec<f32>> {
    let mut rng = stream(seed, purpose::WEIGHTS, 0, 0);
    parameters.iter().map(|p| initial(config, p, &mut rng)).collect()
}

fn initial(config: &IptConfig, parameter: &Parameter, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (name, shape) = (parameter.spec.name.as_str(), parameter.spec.shape.as_slice());
    let zeros = || vec![0f32; parameter.spec.elements()];
    let ends = |suffix: &str| name.ends_with(suffix);
    match shape {
        [_] if ends(".bias") => zeros(),
        [_] => vec![1.0; parameter.spec.elements()],
        &[outputs, inputs, kernel, _] => {
            let part = name.splitn(3, '.').nth(2).unwrap_or_default();
            if name.starts_with("head.") && part == "0.weight" {
                colours_and_noise(outputs, inputs, kernel, rng)
            } else if name.starts_with("head.") && ends("body.0.weight") {
                uniform(parameter.spec.elements(), (6.0 / (inputs * kernel * kernel) as f32).sqrt(), rng)
            } else if name.starts_with("tail.") && part == "1.weight" {
                pick_colours(outputs, inputs, kernel, 0.5)
            } else if name.starts_with("tail.") {
                enlarge(outputs, inputs, kernel)
            } else {
                zeros()
            }
        }
        _ if ends("pe.weight") => positions(config, rng),
        _ if name.starts_with("body.query_embed") => {
            // Every task starts with the same query.
            let mut rng = stream(1, purpose::WEIGHTS, 1, 0);
            (0..parameter.spec.elements()).map(|_| TOKEN_DEVIATION * normal(&mut rng)).collect()
        }
        _ if ["linear_encoding.weight", "out_proj.weight", "linear2.weight", "mlp_head.3.weight"]
            .iter()
            .any(|s| ends(s)) =>
        {
            zeros()
        }
        &[outputs, inputs] => uniform(outputs * inputs, (6.0 / (inputs + outputs) as f32).sqrt(), rng),
        _ => zeros(),
    }
}

/// The first convolution: the colours as they are in the first maps, random filters in the others.
fn colours_and_noise(outputs: usize, inputs: usize, kernel: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let each = inputs * kernel * kernel;
    let mut weight = pick_colours(outputs.min(COLOURS), inputs, kernel, 1.0);
    weight.extend(uniform(outputs.saturating_sub(COLOURS) * each, (3.0 / each as f32).sqrt(), rng));
    weight
}

/// Output i is `gain` times input i.
fn pick_colours(outputs: usize, inputs: usize, kernel: usize, gain: f32) -> Vec<f32> {
    let area = kernel * kernel;
    let mut weight = vec![0f32; outputs * inputs * area];
    for colour in 0..outputs.min(inputs).min(COLOURS) {
        weight[(colour * inputs + colour) * area + area / 2] = gain;
    }
    weight
}

/// One step of an upsampler: every map enlarged bilinearly. Output channel `map·factor² + row·factor +
/// column` is that map at one place of a pixel's square.
fn enlarge(outputs: usize, inputs: usize, kernel: usize) -> Vec<f32> {
    let factor = ((outputs / inputs) as f32).sqrt().round() as usize;
    let mut weight = vec![0f32; outputs * inputs * kernel * kernel];
    let taps = |place: usize| -> Vec<f32> {
        // Distance of the small pixel's centre from the large one's, in large pixels.
        let offset = (place as f32 + 0.5) / factor as f32 - 0.5;
        let near = |tap: usize| (1.0 - (tap as f32 - (kernel / 2) as f32 - offset).abs()).max(0.0);
        (0..kernel).map(near).collect()
    };
    for output in 0..outputs {
        let (map, place) = (output / (factor * factor), output % (factor * factor));
        let (rows, columns) = (taps(place / factor), taps(place % factor));
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                weight[((output * inputs + map) * kernel + y) * kernel + x] = row * column;
            }
        }
    }
    weight
}

/// Positions leave the colours' elements alone, which come first in a token.
fn positions(config: &IptConfig, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let colours = COLOURS * config.patch * config.patch;
    let mut position =
        |i: usize| if i % config.dim() < colours { 0.0 } else { TOKEN_DEVIATION * normal(rng) };
    (0..config.tokens() * config.dim()).map(&mut position).collect()
}
