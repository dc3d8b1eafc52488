//! Trained values as a model in the authors' tensors.

use super::super::network::Parameter;
use crate::checkpoint::ipt::{tensor_shapes, FloatIpt};
use crate::checkpoint::FloatTensor;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use vitreous::models::ipt::IptConfig;

/// Writes the model to `dir`.
pub fn save(
    dir: &Path,
    name: &str,
    config: &IptConfig,
    parameters: &[Parameter],
    values: &[Vec<f32>],
) -> Result<()> {
    let mut data: HashMap<&str, Vec<f32>> = HashMap::new();
    for (p, values) in parameters.iter().zip(values) {
        data.entry(&p.file_name).or_default().extend(values.iter().map(|v| v * p.unit));
    }
    let mut tensors = BTreeMap::new();
    for (name, shape) in tensor_shapes(config) {
        let data = data.remove(name.as_str()).with_context(|| format!("{name}: not trained"))?;
        tensors.insert(name, FloatTensor { shape, data });
    }
    FloatIpt::new(name.to_owned(), config.clone(), tensors)?.save(dir)?;
    Ok(())
}
