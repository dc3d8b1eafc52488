//! The parameters that training changes, and how they relate to the tensors of a file.
//!
//! Training differs from the authors' release in two ways. A packed `in_proj_weight` is three matrices here,
//! and the task queries are one tensor per task. And pixels count in units of [`UNIT`] grey levels instead of
//! one, so that the residual stream is about as large as what the layers behind a norm add to it.
//! Convolutions with ReLU are homogeneous, so a factor per tensor converts exactly.

use super::super::network::{Parameter, UNIT};
use crate::checkpoint::ipt::tensor_shapes;
use crate::train::parameter::ParameterSpec;
use vitreous::models::ipt::IptConfig;

/// Parts of a packed projection, in the order of their rows.
const PROJECTIONS: [&str; 3] = ["q", "k", "v"];
const PACKED: &str = ".in_proj_weight";
const QUERIES: &str = "body.query_embed.weight";

/// Every parameter in the order of the file's tensors; parts of one tensor follow each other.
pub fn parameters(config: &IptConfig) -> Vec<Parameter> {
    let mut all = Vec::new();
    for (name, shape) in tensor_shapes(config) {
        let mut add = |part: String, shape: Vec<usize>, task: Option<usize>| {
            let unit = unit(&part);
            let spec = ParameterSpec::new(part, shape);
            all.push(Parameter { spec, task, file_name: name.clone(), unit });
        };
        if name.ends_with(PACKED) {
            for part in PROJECTIONS {
                add(format!("{name}.{part}"), vec![shape[0] / PROJECTIONS.len(), shape[1]], None);
            }
        } else if name == QUERIES {
            for task in 0..shape[0] {
                add(format!("{name}.{task}"), vec![config.tokens(), config.dim()], Some(task));
            }
        } else {
            let task = task_of(&name);
            add(name.clone(), shape, task);
        }
    }
    all
}

/// The task of a head's or tail's tensor.
fn task_of(name: &str) -> Option<usize> {
    let rest = name.strip_prefix("head.").or_else(|| name.strip_prefix("tail."))?;
    rest.split('.').next()?.parse().ok()
}

/// What a trained value is multiplied with for the file.
fn unit(name: &str) -> f32 {
    let ends = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s));
    if !name.starts_with("body.") {
        // Convolutions carry pixels to pixels.
        return if ends(&[".bias"]) { UNIT } else { 1.0 };
    }
    // The encoder's output reaches keys and values without a norm.
    if name.contains("multihead_attn") && ends(&[".k", ".v"]) {
        return 1.0 / UNIT;
    }
    let into_stream = ends(&["out_proj.weight", "linear2.weight", "linear2.bias", "pe.weight"]);
    let carried = ends(&["linear_encoding.bias", "mlp_head.0.bias", "mlp_head.3.bias"]);
    if into_stream || carried {
        UNIT
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::restoration::tests::tiny_config;

    #[test]
    fn the_parameters_cover_every_tensor_of_the_file_in_order() {
        let config = tiny_config(&["denoise30", "x2"]);
        let parameters = parameters(&config);
        for (name, shape) in tensor_shapes(&config) {
            let parts = parameters.iter().filter(|p| p.file_name == name);
            let count: usize = parts.map(|p| p.spec.elements()).sum();
            assert_eq!(count, shape.iter().product::<usize>(), "{name}");
        }
        let of_task = |task| parameters.iter().filter(|p| p.task == Some(task)).count();
        assert_eq!((of_task(0), of_task(1)), (10 + 2 + 1, 10 + 4 + 1));
    }
}
