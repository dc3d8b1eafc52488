//! Layer norm over the last dimension (Ba, Kiros and Hinton, arXiv 1607.06450, eq. 3) as one graph node.

use super::lanes::{self, vectorised};
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use candle_core::{Result, Shape, Tensor};

/// `(x − mean)/√(var + eps) · weight + bias` on each row of `x` (rows, dim); the variance is the biased one.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op3(weight, bias, Node(LayerNorm { eps }))
}

struct LayerNorm {
    eps: f32,
}

/// Mean and 1/√(var + eps) of a row.
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let mean = lanes::sum(x) / x.len() as f32;
    let variance = lanes::sum_squares(x, mean) / x.len() as f32;
    (mean, 1.0 / (variance + eps).sqrt())
}

impl Operator<3> for LayerNorm {
    const NAME: &'static str = "layer-norm";

    fn forward(&self, [operand, weight, bias]: [Operand; 3]) -> Result<(Vec<f32>, Shape)> {
        let (_, dim) = operand.dims2()?;
        let (x, weight, bias) = (operand.elements()?, weight.elements()?, bias.elements()?);
        let mut y = vec![0f32; x.len()];
        vectorised(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                    let (mean, scale) = moments(x, self.eps);
                    for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                        *y = (x - mean) * scale * w + b;
                    }
                }
            },
        );
        Ok((y, operand.shape().clone()))
    }

    fn backward(
        &self,
        [x, weight, _bias]: [&Tensor; 3],
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let (grad_x, grad_weight, grad_bias) =
            with_elements([x, weight, grad], |[x, weight, grad]| backward(x, weight, grad, self.eps))?;
        let parameter = |data| tensor_like(data, weight);
        Ok([Some(tensor_like(grad_x, x)?), Some(parameter(grad_weight)?), Some(parameter(grad_bias)?)])
    }
}

/// With x̂ the normalised row and h = grad·weight:
/// dx = (h − mean(h) − x̂·mean(h·x̂))/√(var + eps), dweight = Σ grad·x̂, dbias = Σ grad.
fn backward(x: &[f32], weight: &[f32], grad: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let dim = weight.len();
    let mut grad_x = vec![0f32; x.len()];
    let (mut grad_weight, mut grad_bias) = (vec![0f32; dim], vec![0f32; dim]);
    let (mut normal, mut scaled) = (vec![0f32; dim], vec![0f32; dim]);
    vectorised(
        #[inline(always)]
        || {
            for ((dx, x), grad) in
                grad_x.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).zip(grad.chunks_exact(dim))
            {
                let (mean, scale) = moments(x, eps);
                for (n, &x) in normal.iter_mut().zip(x) {
                    *n = (x - mean) * scale;
                }
                for ((h, &g), &w) in scaled.iter_mut().zip(grad).zip(weight) {
                    *h = g * w;
                }
                let mean_h = lanes::sum(&scaled) / dim as f32;
                let mean_hn = lanes::dot(&scaled, &normal) / dim as f32;
                for ((dx, &h), &n) in dx.iter_mut().zip(&scaled).zip(&normal) {
                    *dx = scale * (h - mean_h - n * mean_hn);
                }
                for ((dw, &g), &n) in grad_weight.iter_mut().zip(grad).zip(&normal) {
                    *dw += g * n;
                }
                lanes::accumulate(&mut grad_bias, grad);
            }
        },
    );
    (grad_x, grad_weight, grad_bias)
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    #[test]
    fn gradients_match_finite_differences() {
        let vars = [random_var(&[3, 21], 1), random_var(&[21], 2), random_var(&[21], 3)];
        finite_differences(&vars, |a| layer_norm(&a[0], &a[1], &a[2], 1e-5), 2e-3);
    }

    #[test]
    fn values_match_candle() {
        let (x, w, b) = (random_var(&[6, 40], 1), random_var(&[40], 2), random_var(&[40], 3));
        let want = candle_nn::ops::layer_norm_slow(&x, &w, &b, 1e-6).unwrap();
        let gap = (layer_norm(&x, &w, &b, 1e-6).unwrap() - want).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_scalar::<f32>().unwrap() < 2e-6);
    }
}
