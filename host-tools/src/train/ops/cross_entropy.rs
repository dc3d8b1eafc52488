//! Softmax cross-entropy against soft targets, as one graph node.

use super::lanes::{self, vectorised};
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use candle_core::{bail, Result, Shape, Tensor};

/// `−scale · Σ targets · log softmax(logits)` over all rows, a scalar. Both are (rows, classes); each row of
/// `targets` sums to 1 and gets no gradient. `scale` is 1/batch, also where the rows are a shard of the
/// batch.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, scale: f32) -> Result<Tensor> {
    logits.apply_op2(targets, Node(CrossEntropy { scale }))
}

struct CrossEntropy {
    scale: f32,
}

/// Writes `e^(x − max)` and returns (max, Σ).
#[inline(always)]
fn exponentials(x: &[f32], out: &mut [f32]) -> (f32, f32) {
    let max = lanes::max(x);
    for (o, &x) in out.iter_mut().zip(x) {
        *o = lanes::exp(x - max);
    }
    (max, lanes::sum(out))
}

impl Operator<2> for CrossEntropy {
    const NAME: &'static str = "cross-entropy";

    fn forward(&self, [logits, targets]: [Operand; 2]) -> Result<(Vec<f32>, Shape)> {
        let (_, classes) = logits.dims2()?;
        if logits.shape() != targets.shape() {
            bail!("cross-entropy: logits {:?}, targets {:?}", logits.shape(), targets.shape());
        }
        let (logits, targets) = (logits.elements()?, targets.elements()?);
        let mut scratch = vec![0f32; classes];
        let mut loss = 0f64;
        for (logits, targets) in logits.chunks_exact(classes).zip(targets.chunks_exact(classes)) {
            let (max, sum) = vectorised(
                #[inline(always)]
                || exponentials(logits, &mut scratch),
            );
            // Targets sum to 1: −Σ t·(x − max − log sum) = log sum + max − Σ t·x.
            loss += (sum.ln() + max - lanes::dot(logits, targets)) as f64;
        }
        Ok((vec![(loss * self.scale as f64) as f32], Shape::from(())))
    }

    /// d/dx = scale · grad · (softmax(x) − t).
    fn backward(
        &self,
        [logits, targets]: [&Tensor; 2],
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 2]> {
        let factor = grad.to_scalar::<f32>()? * self.scale;
        let classes = logits.dim(1)?;
        let mut out = vec![0f32; logits.elem_count()];
        with_elements([logits, targets], |[logits, targets]| {
            let rows = logits.chunks_exact(classes).zip(targets.chunks_exact(classes));
            for (out, (logits, targets)) in out.chunks_exact_mut(classes).zip(rows) {
                let (_, sum) = vectorised(
                    #[inline(always)]
                    || exponentials(logits, out),
                );
                for (o, &t) in out.iter_mut().zip(targets) {
                    *o = factor * (*o / sum - t);
                }
            }
        })?;
        Ok([Some(tensor_like(out, logits)?), None])
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;
    use candle_core::Device;

    fn targets() -> Tensor {
        let rows = [[0.9f32, 0.05, 0.05], [0.0, 0.3, 0.7]];
        Tensor::new(&rows, &Device::Cpu).unwrap()
    }

    #[test]
    fn value_matches_candle() {
        let logits = random_var(&[2, 3], 1);
        let log = candle_nn::ops::log_softmax(&logits, 1).unwrap();
        let want = (log * targets()).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() * -0.5;
        let got = cross_entropy(&logits, &targets(), 0.5).unwrap().to_scalar::<f32>().unwrap();
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }

    #[test]
    fn gradients_match_finite_differences() {
        finite_differences(&[random_var(&[2, 3], 2)], |a| cross_entropy(&a[0], &targets(), 0.5), 2e-3);
    }
}
