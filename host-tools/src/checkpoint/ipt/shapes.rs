//! Names and shapes of an IPT's tensors.

use vitreous::models::ipt::{IptConfig, Task, TaskKind, BLOCK_KERNEL, COLOURS, HEAD_BLOCKS, OUTER_KERNEL};

/// Mean colour of DIV2K, of pixels scaled to 0..1 (Lim et al., arXiv 1707.02921): subtracted before and added
/// after.
pub const RGB_MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];

/// Name and shape of every tensor that an IPT of this configuration has, in the order of the forward pass.
///
/// The constant layers `sub_mean` and `add_mean` of the authors' checkpoints are not among them.
pub fn tensor_shapes(config: &IptConfig) -> Vec<(String, Vec<usize>)> {
    let (features, dim) = (config.features, config.dim());
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    for task in 0..config.tasks.len() {
        let head = format!("head.{task}");
        conv(&mut add, format!("{head}.0"), features, COLOURS, OUTER_KERNEL);
        for block in 1..=HEAD_BLOCKS {
            conv(&mut add, format!("{head}.{block}.body.0"), features, features, BLOCK_KERNEL);
            conv(&mut add, format!("{head}.{block}.body.2"), features, features, BLOCK_KERNEL);
        }
    }
    linear(&mut add, "body.linear_encoding".into(), dim, dim);
    add("body.position_encoding.pe.weight".into(), &[config.tokens(), dim]);
    for layer in 0..config.encoder_layers {
        let layer = format!("body.encoder.layers.{layer}");
        norm(&mut add, format!("{layer}.norm1"), dim);
        attention(&mut add, format!("{layer}.self_attn"), dim);
        norm(&mut add, format!("{layer}.norm2"), dim);
        linear(&mut add, format!("{layer}.linear1"), config.hidden, dim);
        linear(&mut add, format!("{layer}.linear2"), dim, config.hidden);
    }
    add("body.query_embed.weight".into(), &[config.tasks.len(), config.tokens() * dim]);
    for layer in 0..config.decoder_layers {
        let layer = format!("body.decoder.layers.{layer}");
        norm(&mut add, format!("{layer}.norm1"), dim);
        attention(&mut add, format!("{layer}.self_attn"), dim);
        norm(&mut add, format!("{layer}.norm2"), dim);
        attention(&mut add, format!("{layer}.multihead_attn"), dim);
        norm(&mut add, format!("{layer}.norm3"), dim);
        linear(&mut add, format!("{layer}.linear1"), config.hidden, dim);
        linear(&mut add, format!("{layer}.linear2"), dim, config.hidden);
    }
    linear(&mut add, "body.mlp_head.0".into(), config.head_hidden, dim);
    linear(&mut add, "body.mlp_head.3".into(), dim, config.head_hidden);
    for (index, task) in config.tasks.iter().enumerate() {
        for (step, factor) in task.upsampler().iter().enumerate() {
            // In the authors' Sequential every convolution is followed by a pixel shuffle.
            let name = format!("tail.{index}.0.{}", 2 * step);
            conv(&mut add, name, features * factor * factor, features, OUTER_KERNEL);
        }
        conv(&mut add, format!("tail.{index}.1"), COLOURS, features, OUTER_KERNEL);
    }
    shapes
}

fn conv(add: &mut impl FnMut(String, &[usize]), name: String, outputs: usize, inputs: usize, kernel: usize) {
    add(format!("{name}.weight"), &[outputs, inputs, kernel, kernel]);
    add(format!("{name}.bias"), &[outputs]);
}

fn linear(add: &mut impl FnMut(String, &[usize]), name: String, outputs: usize, inputs: usize) {
    add(format!("{name}.weight"), &[outputs, inputs]);
    add(format!("{name}.bias"), &[outputs]);
}

fn norm(add: &mut impl FnMut(String, &[usize]), name: String, dim: usize) {
    add(format!("{name}.weight"), &[dim]);
    add(format!("{name}.bias"), &[dim]);
}

/// Query, key and value weights stacked; no biases.
fn attention(add: &mut impl FnMut(String, &[usize]), name: String, dim: usize) {
    add(format!("{name}.in_proj_weight"), &[3 * dim, dim]);
    add(format!("{name}.out_proj.weight"), &[dim, dim]);
}

/// Reads a task's name as [`Task`] displays it: `denoise30`, `x2`, `derain`, `jpeg40`.
///
/// # Errors
/// A sentence that says which names there are.
pub fn parse_task(name: &str) -> Result<Task, String> {
    let number = |text: &str, most: usize| text.parse().ok().filter(|n| (1..=most).contains(n));
    let task = if let Some(sigma) = name.strip_prefix("denoise") {
        number(sigma, 255).map(|strength| Task { kind: TaskKind::Denoise, scale: 1, strength })
    } else if let Some(quality) = name.strip_prefix("jpeg") {
        number(quality, 100).map(|strength| Task { kind: TaskKind::Jpeg, scale: 1, strength })
    } else if let Some(scale) = name.strip_prefix('x') {
        number(scale, 4).filter(|scale| *scale > 1).map(|scale| Task {
            kind: TaskKind::SuperResolve,
            scale,
            strength: 0,
        })
    } else {
        (name == "derain").then_some(Task { kind: TaskKind::Derain, scale: 1, strength: 0 })
    };
    task.ok_or_else(|| {
        format!(
            "unknown task `{name}`: tasks are denoise1 to denoise255 (σ), x2, x3, x4, derain, jpeg1 to \
             jpeg100 (quality)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_as_they_are_shown() {
        for name in ["denoise10", "denoise70", "x2", "x3", "x4", "derain", "jpeg40"] {
            assert_eq!(parse_task(name).unwrap().to_string(), name);
        }
        for name in ["denoise", "denoise0", "denoise256", "x1", "x5", "jpeg101", "blur", ""] {
            assert!(parse_task(name).unwrap_err().contains("denoise1 to denoise255"), "{name}");
        }
    }
}
