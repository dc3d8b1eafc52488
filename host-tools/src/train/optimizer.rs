//! AdamW with gradient clipping, the learning-rate schedule and the moving average of the weights.

use super::parameter::ParameterSpec;
use rayon::prelude::*;

/// AdamW's settings (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f32,
}

/// The optimizer and its schedule over a run.
#[derive(Clone, Copy, Debug)]
pub struct Optimizer {
    /// Steps of the run.
    pub steps: u64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// Final learning rate as a part of the peak.
    pub lr_floor: f64,
    /// Largest gradient norm; 0 is none.
    pub clip: f64,
    /// What a step does with gradients and learning rate.
    pub adam: AdamW,
    /// Decay of the moving average of the values; 0 keeps it equal to them.
    pub average: f32,
}

impl Optimizer {
    /// Learning rate at `step` (from 0): linear from 0 to the peak over the warm-up, then half a cosine down
    /// to the floor (Loshchilov and Hutter, arXiv 1608.03983, eq. 5).
    pub fn learning_rate(&self, step: u64) -> f64 {
        let Optimizer { steps, warmup, lr, lr_floor, .. } = *self;
        if step < warmup {
            return lr * (step + 1) as f64 / warmup as f64;
        }
        let progress = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
        lr * (lr_floor + (1.0 - lr_floor) * 0.5 * (1.0 + (core::f64::consts::PI * progress.min(1.0)).cos()))
    }
}

/// Everything that a step changes, and thus what a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Values, in the order of the parameter list.
    pub values: Vec<Vec<f32>>,
    /// First moments.
    pub first: Vec<Vec<f32>>,
    /// Second moments.
    pub second: Vec<Vec<f32>>,
    /// Moving average of the values; equal to them where averaging is off.
    pub average: Vec<Vec<f32>>,
}

impl State {
    /// The state before the first step.
    pub fn new(values: Vec<Vec<f32>>) -> Self {
        let zeros: Vec<Vec<f32>> = values.iter().map(|v| vec![0.0; v.len()]).collect();
        State { step: 0, first: zeros.clone(), second: zeros, average: values.clone(), values }
    }

    /// One step with clipped gradients, in the order of the parameters. A parameter whose gradient is empty
    /// stays as it is: only one in `steps_per_update` steps has a gradient for it.
    pub fn update(
        &mut self,
        specs: &[ParameterSpec],
        grads: &[Vec<f32>],
        steps_per_update: &[u64],
        optimizer: &Optimizer,
    ) {
        let (adam, average) = (&optimizer.adam, optimizer.average);
        let lr = optimizer.learning_rate(self.step) as f32;
        let step = self.step;
        self.step += 1;
        // The average must not remember the random start: its decay rises with the steps (as in TensorFlow's
        // ExponentialMovingAverage).
        let keep = average.min((1.0 + self.step as f32) / (10.0 + self.step as f32));
        let keep = if average == 0.0 { 0.0 } else { keep };
        let moments = self.first.par_iter_mut().zip(self.second.par_iter_mut());
        let parameters = self.values.par_iter_mut().zip(self.average.par_iter_mut()).zip(moments);
        let inputs = grads.par_iter().zip(specs.par_iter().zip(steps_per_update));
        parameters.zip(inputs).for_each(|(((value, mean), (m, v)), (grad, (spec, &period)))| {
            if grad.is_empty() {
                return;
            }
            // The updates that the parameter has had, this one included.
            let updates = step / period + 1;
            let correction1 = 1.0 - (adam.beta1 as f64).powf(updates as f64);
            let correction2 = 1.0 - (adam.beta2 as f64).powf(updates as f64);
            let rate = (lr as f64 / correction1) as f32;
            let root = (1.0 / correction2.sqrt()) as f32;
            let shrink = 1.0 - if spec.decays() { lr * adam.weight_decay } else { 0.0 };
            for i in 0..value.len() {
                let g = grad[i];
                m[i] = adam.beta1 * m[i] + (1.0 - adam.beta1) * g;
                v[i] = adam.beta2 * v[i] + (1.0 - adam.beta2) * g * g;
                value[i] = shrink * value[i] - rate * m[i] / (v[i].sqrt() * root + adam.eps);
                mean[i] = keep * mean[i] + (1.0 - keep) * value[i];
            }
        });
    }
}

/// Euclidean norm of all gradients together.
pub fn gradient_norm(grads: &[Vec<f32>]) -> f64 {
    grads.iter().flatten().map(|&g| g as f64 * g as f64).sum::<f64>().sqrt()
}

/// Scales the gradients so that their norm is at most `limit` (Pascanu et al., arXiv 1211.5063, §3.2); 0
/// means no limit. Returns the norm that they had before.
pub fn clip(grads: &mut [Vec<f32>], limit: f64) -> f64 {
    let norm = gradient_norm(grads);
    if limit > 0.0 && norm > limit {
        let factor = (limit / norm) as f32;
        grads.iter_mut().flatten().for_each(|g| *g *= factor);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_linearly_then_falls_as_a_cosine() {
        let adam = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
        let optimizer =
            Optimizer { steps: 110, warmup: 10, lr: 1.0, lr_floor: 0.0, clip: 0.0, adam, average: 0.0 };
        let at = |step| optimizer.learning_rate(step);
        assert!((at(0) - 0.1).abs() < 1e-12 && (at(9) - 1.0).abs() < 1e-12 && (at(10) - 1.0).abs() < 1e-12);
        assert!((at(60) - 0.5).abs() < 1e-12);
        assert!(at(110) < 1e-12);
    }

    #[test]
    fn clipping_limits_the_norm_and_reports_it() {
        let mut grads = vec![vec![3.0], vec![4.0]];
        assert_eq!(clip(&mut grads, 1.0), 5.0);
        assert!((gradient_norm(&grads) - 1.0).abs() < 1e-6);
    }
}
