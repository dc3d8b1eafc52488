//! Starting values from a trained model.

use super::super::network::{Network, Parameter};
use super::model::Ipt;
use crate::checkpoint::ipt::{FloatIpt, IptLoadOptions};
use anyhow::{bail, ensure, Result};
use std::collections::HashMap;
use std::path::Path;
use vitreous::models::ipt::{Task, TaskKind};

/// Reads a model, from `train ipt` or of the authors: the network and its values in trained units.
pub fn load(path: &Path) -> Result<(Ipt, Vec<Vec<f32>>)> {
    let mut float = FloatIpt::load(path, &IptLoadOptions::default())?;
    let model = Ipt::new(float.config);
    let mut rest: HashMap<String, std::vec::IntoIter<f32>> = HashMap::new();
    let mut take = |p: &Parameter| -> Vec<f32> {
        let tensors = &mut float.tensors;
        let rest = rest
            .entry(p.file_name.clone())
            .or_insert_with(|| tensors.remove(&p.file_name).map(|t| t.data).unwrap_or_default().into_iter());
        rest.take(p.spec.elements()).map(|v| v / p.unit).collect()
    };
    let values = model.parameters.iter().map(&mut take).collect();
    Ok((model, values))
}

/// Values for `model` taken from another model of the same body.
///
/// A task takes head, query and tail from the same task, else from the nearest strength of its kind, else
/// from the weakest denoiser (photographs to be enlarged are nearly free of noise), else from the first task.
/// An upsampler that the source lacks starts as in an untrained network.
pub fn adopt(model: &Ipt, source: &Ipt, source_values: &[Vec<f32>], seed: u64) -> Result<Vec<Vec<f32>>> {
    let theirs: HashMap<&str, (&Parameter, &Vec<f32>)> =
        source.parameters.iter().zip(source_values).map(|(p, v)| (p.spec.name.as_str(), (p, v))).collect();
    let mut values = model.initial_values(seed);
    for (parameter, value) in model.parameters.iter().zip(&mut values) {
        let name = &parameter.spec.name;
        let from = match parameter.task {
            Some(task) => renamed(name, task, nearest_task(model.config.tasks[task], &source.config.tasks)),
            None => name.clone(),
        };
        match theirs.get(from.as_str()) {
            Some((p, v)) if p.spec.shape == parameter.spec.shape => value.clone_from(v),
            // Only an upsampler may be missing or different.
            _ if name.starts_with("tail.") && name.contains(".0.") => {}
            Some((p, _)) => bail!(
                "--init: {from} is {:?}, this model takes {:?}; give the same model options",
                p.spec.shape,
                parameter.spec.shape
            ),
            None => bail!("--init: {from} is missing; give the same number of layers"),
        }
    }
    let extra = |layers: &str, count: usize| {
        theirs.contains_key(format!("body.{layers}.layers.{count}.norm1.weight").as_str())
    };
    ensure!(
        !extra("encoder", model.config.encoder_layers) && !extra("decoder", model.config.decoder_layers),
        "--init: it has more layers than this model; give the same number of layers"
    );
    Ok(values)
}

/// `head.2.0.weight` → `head.0.0.weight`, and so on.
fn renamed(name: &str, task: usize, source: usize) -> String {
    let number = |n: usize| format!(".{n}");
    match name.strip_suffix(&number(task)) {
        Some(stem) if name.starts_with("body.") => stem.to_owned() + &number(source),
        _ => name.replacen(&number(task), &number(source), 1),
    }
}

fn nearest_task(task: Task, tasks: &[Task]) -> usize {
    let distance = |other: &Task| {
        let strength = other.strength.abs_diff(task.strength) + 1000 * other.scale.abs_diff(task.scale);
        match (other.kind == task.kind, other.kind) {
            (true, _) => strength,
            (false, TaskKind::Denoise) => 10_000 + other.strength,
            (false, _) => 100_000,
        }
    };
    (0..tasks.len()).min_by_key(|&i| distance(&tasks[i])).unwrap_or(0)
}
