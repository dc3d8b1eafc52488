//! Linear layers with and without bias, each as one graph node.

use super::node::{Node, Operand, Operator};
use super::rows::{add_to_each, sum_chunks};
use candle_core::backend::BackendStorage;
use candle_core::{bail, CpuStorage, Device, Result, Shape, Tensor};

/// `x (rows, inputs) · weight (outputs, inputs)ᵀ + bias (outputs)` → (rows, outputs).
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Node(Linear))
}

/// `x (rows, inputs) · weight (outputs, inputs)ᵀ` → (rows, outputs).
pub fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, Node(Project))
}

/// `x · weightᵀ` (rows, outputs), row by row.
fn product(name: &str, x: &Operand, weight: &Operand) -> Result<(Vec<f32>, Shape)> {
    let ((rows, inputs), (outputs, weight_inputs)) = (x.dims2()?, weight.dims2()?);
    if weight_inputs != inputs {
        bail!("{name}: weight ({outputs}, {weight_inputs}) does not fit input ({rows}, {inputs})");
    }
    let ((x, x_layout), (weight, weight_layout)) = (x.parts(), weight.parts());
    let transposed = weight_layout.transpose(0, 1)?;
    match x.matmul(weight, (1, rows, outputs, inputs), x_layout, &transposed)? {
        CpuStorage::F32(y) => Ok((y, (rows, outputs).into())),
        _ => bail!("{name}: f32 expected"),
    }
}

/// Gradients of `x` and `weight` in [`product`].
fn product_gradients(x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
    // The first layer's input is data: its gradient is not needed.
    let grad_x = if x.track_op() { Some(grad.matmul(&weight.detach())?) } else { None };
    Ok([grad_x, Some(grad.t()?.matmul(&x.detach())?)])
}

struct Linear;

impl Operator<3> for Linear {
    const NAME: &'static str = "linear";

    fn forward(&self, [x, weight, bias]: [Operand; 3]) -> Result<(Vec<f32>, Shape)> {
        let (mut y, shape) = product(Self::NAME, &x, &weight)?;
        add_to_each(&mut y, bias.elements()?);
        Ok((y, shape))
    }

    fn backward(
        &self,
        [x, weight, _bias]: [&Tensor; 3],
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let [grad_x, grad_weight] = product_gradients(x, weight, grad)?;
        let outputs = grad.dim(1)?;
        let grad_bias = Tensor::from_vec(sum_chunks(grad, outputs)?, outputs, &Device::Cpu)?;
        Ok([grad_x, grad_weight, Some(grad_bias)])
    }
}

struct Project;

impl Operator<2> for Project {
    const NAME: &'static str = "project";

    fn forward(&self, [x, weight]: [Operand; 2]) -> Result<(Vec<f32>, Shape)> {
        product(Self::NAME, &x, &weight)
    }

    fn backward(&self, [x, weight]: [&Tensor; 2], _y: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        product_gradients(x, weight, grad)
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
        finite_differences(&vars[..2], |a| project(&a[0], &a[1]), 2e-3);
    }

    #[test]
    fn a_misshapen_weight_is_refused() {
        let (x, w, b) = (random_var(&[5, 7], 1), random_var(&[3, 6], 2), random_var(&[3], 3));
        assert!(linear(&x, &w, &b).unwrap_err().to_string().contains("does not fit"));
        assert!(project(&x, &w).unwrap_err().to_string().contains("does not fit"));
    }
}
