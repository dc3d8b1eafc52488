//! rten: an ONNX file, f32 or quantized, with packed weights.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use peer_worker::{serve, Forward, Task};
use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::NdTensor;

fn main() -> ExitCode {
    serve(load)
}

fn load(task: &Task) -> Result<Forward> {
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(&task.model)?;
    let image = NdTensor::from_data(task.image_shape(), task.image.clone());
    let input = *model.input_ids().first().context("the model has no input")?;
    let output = *model.output_ids().first().context("the model has no output")?;
    let options =
        RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(task.threads))));
    Ok(Box::new(move || {
        let [logits] = model.run_n(vec![(input, image.view().into())], [output], Some(options.clone()))?;
        let logits: NdTensor<f32, 2> = logits.try_into()?;
        Ok(logits.to_vec())
    }))
}
