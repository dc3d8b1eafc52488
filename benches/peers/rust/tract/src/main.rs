//! tract: an ONNX file, f32 or quantized, optimized for one image.

use std::process::ExitCode;

use anyhow::Result;
use peer_worker::{serve, Forward, Task};
use tract_linalg::multithread::{set_default_executor, Executor};
use tract_onnx::prelude::*;

fn main() -> ExitCode {
    serve(load)
}

fn load(task: &Task) -> Result<Forward> {
    if task.threads > 1 {
        set_default_executor(Executor::multithread(task.threads));
    }
    let shape = task.image_shape();
    let plan = tract_onnx::onnx()
        .model_for_path(&task.model)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let image = Tensor::from_shape(&shape, &task.image)?;
    Ok(Box::new(move || {
        let outputs = plan.run(tvec!(image.clone().into()))?;
        Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    }))
}
