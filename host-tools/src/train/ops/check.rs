//! Gradient checks: analytic gradients against central finite differences.

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};

/// A variable with values uniform in −1..1.
pub fn random_var(shape: &[usize], seed: u64) -> Var {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// `Σ out·w` with fixed weights w, so that every output element's gradient differs.
pub fn weighted_sum(out: &Tensor) -> Result<f32> {
    let values = out.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().enumerate().map(|(i, v)| *v as f64 * output_weight(i)).sum::<f64>() as f32)
}

fn output_weight(i: usize) -> f64 {
    ((i * 37 % 19) as f64 - 9.0) / 9.0
}

/// Compares `function`'s gradients by backward pass with central differences, at every element.
pub fn finite_differences(vars: &[Var], function: impl Fn(&[Tensor]) -> Result<Tensor>, tolerance: f32) {
    let args: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let out = function(&args).unwrap();
    let weights: Vec<f32> = (0..out.elem_count()).map(|i| output_weight(i) as f32).collect();
    let weights = Tensor::from_vec(weights, out.shape(), &Device::Cpu).unwrap();
    let grads = (out * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let step = 1e-2f32;
    for (which, var) in vars.iter().enumerate() {
        let analytic = grads.get(var).expect("gradient").flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let base = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for i in 0..base.len() {
            let at = |delta: f32| {
                let mut moved = base.clone();
                moved[i] += delta;
                let mut args: Vec<Tensor> = args.iter().map(Tensor::detach).collect();
                args[which] = Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap();
                weighted_sum(&function(&args).unwrap()).unwrap()
            };
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            let error = (analytic[i] - numeric).abs();
            assert!(
                error <= tolerance * (1.0 + numeric.abs()),
                "argument {which}, element {i}: backward {} but finite difference {numeric}",
                analytic[i]
            );
        }
    }
}
