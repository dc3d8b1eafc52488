//! Linear layer `y = x·Wᵀ + b` as one graph node.

use super::{elements, lanes, vectorised, with_elements};
use candle_core::backend::BackendStorage;
use candle_core::{bail, CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};

/// `x (rows, inputs) · weight (outputs, inputs)ᵀ + bias (outputs)` → (rows, outputs).
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Linear)
}

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (outputs, weight_inputs) = weight_layout.shape().dims2()?;
        if weight_inputs != inputs {
            bail!("linear: weight ({outputs}, {weight_inputs}) does not fit input ({rows}, {inputs})");
        }
        let transposed = weight_layout.transpose(0, 1)?;
        let CpuStorage::F32(mut y) = x.matmul(weight, (1, rows, outputs, inputs), x_layout, &transposed)? else {
            bail!("linear: f32 expected")
        };
        let bias = elements(bias, bias_layout)?;
        vectorised(|| {
            for row in y.chunks_exact_mut(outputs) {
                lanes::accumulate(row, bias);
            }
        });
        Ok((CpuStorage::F32(y), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        // The first layer's input is data: its gradient is not needed.
        let grad_x = if x.track_op() { Some(grad.matmul(&weight.detach())?) } else { None };
        let grad_weight = grad.t()?.matmul(&x.detach())?;
        let outputs = grad.dim(1)?;
        let grad_bias = with_elements(&grad, |grad| {
            let mut sums = vec![0f32; outputs];
            vectorised(|| {
                for row in grad.chunks_exact(outputs) {
                    lanes::accumulate(&mut sums, row);
                }
            });
            sums
        })?;
        let grad_bias = Tensor::from_vec(grad_bias, outputs, &Device::Cpu)?;
        Ok((grad_x, Some(grad_weight), Some(grad_bias)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    #[test]
    fn gradients_match_finite_differences() {
        let vars = [random_var(&[5, 7], 1), random_var(&[3, 7], 2), random_var(&[3], 3)];
        finite_differences(&vars, |a| linear(&a[0], &a[1], &a[2]), 2e-3);
    }

    #[test]
    fn a_misshapen_weight_is_refused() {
        let (x, w, b) = (random_var(&[5, 7], 1), random_var(&[3, 6], 2), random_var(&[3], 3));
        assert!(linear(&x, &w, &b).unwrap_err().to_string().contains("does not fit"));
    }
}
