//! The MLP's nonlinearity as one graph node.

use super::lanes::{self, vectorised};
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use candle_core::{Result, Shape, Tensor};
use vitreous::models::vit::Activation;

/// `kind(x)`, element by element.
pub fn activation(x: &Tensor, kind: Activation) -> Result<Tensor> {
    x.apply_op1(Node(ActivationOp(kind)))
}

struct ActivationOp(Activation);

/// 1/√(2π), the normal density at 0.
const DENSITY_0: f32 = 0.398_942_3;
/// √(2/π).
const SQRT_2_OVER_PI: f32 = 0.797_884_6;
/// Cubic coefficient of the tanh form.
const CUBIC: f32 = 0.044_715;

/// Φ(x), the normal distribution function.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + lanes::erf(x * core::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_tanh_inner(x: f32) -> f32 {
    lanes::tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))
}

/// d/dx x·Φ(x) = Φ(x) + x·φ(x).
#[inline(always)]
fn gelu_erf_slope(x: f32) -> f32 {
    normal_cdf(x) + x * DENSITY_0 * lanes::exp(-0.5 * x * x)
}

/// Derivative of x/2·(1 + t), t = tanh(u(x)): (1 + t)/2 + x/2·(1 − t²)·u′.
#[inline(always)]
fn gelu_tanh_slope(x: f32) -> f32 {
    let t = gelu_tanh_inner(x);
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x)
}

fn map(x: &[f32], f: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut out = vec![0f32; x.len()];
    vectorised(
        #[inline(always)]
        || {
            for (o, &v) in out.iter_mut().zip(x) {
                *o = f(v);
            }
        },
    );
    out
}

/// `grad · slope(x)`, element by element.
fn chain(x: &[f32], grad: &[f32], slope: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut out = vec![0f32; x.len()];
    vectorised(
        #[inline(always)]
        || {
            for ((o, &v), &g) in out.iter_mut().zip(x).zip(grad) {
                *o = g * slope(v);
            }
        },
    );
    out
}

impl Operator<1> for ActivationOp {
    const NAME: &'static str = "activation";

    fn forward(&self, [x]: [Operand; 1]) -> Result<(Vec<f32>, Shape)> {
        let values = x.elements()?;
        let y = match self.0 {
            Activation::GeluErf => map(
                values,
                #[inline(always)]
                |v| v * normal_cdf(v),
            ),
            Activation::GeluTanh => map(
                values,
                #[inline(always)]
                |v| 0.5 * v * (1.0 + gelu_tanh_inner(v)),
            ),
            Activation::Relu => map(
                values,
                #[inline(always)]
                |v| v.max(0.0),
            ),
        };
        Ok((y, x.shape().clone()))
    }

    fn backward(&self, [x]: [&Tensor; 1], _y: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 1]> {
        let grad_x = with_elements([x, grad], |[x, grad]| match self.0 {
            Activation::GeluErf => chain(x, grad, gelu_erf_slope),
            Activation::GeluTanh => chain(x, grad, gelu_tanh_slope),
            Activation::Relu => chain(x, grad, |v| if v > 0.0 { 1.0 } else { 0.0 }),
        })?;
        Ok([Some(tensor_like(grad_x, x)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    #[test]
    fn values_match_candle() {
        let x = (random_var(&[3, 50], 4).as_tensor() * 6.0).unwrap();
        for (kind, want) in [
            (Activation::GeluErf, x.gelu_erf().unwrap()),
            (Activation::GeluTanh, x.gelu().unwrap()),
            (Activation::Relu, x.relu().unwrap()),
        ] {
            let gap = (activation(&x, kind).unwrap() - want).unwrap().abs().unwrap().max_all().unwrap();
            assert!(gap.to_scalar::<f32>().unwrap() < 5e-6, "{kind:?}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let x = random_var(&[4, 9], 5);
        let vars = [candle_core::Var::from_tensor(&(x.as_tensor() * 3.0).unwrap()).unwrap()];
        finite_differences(&vars, |a| activation(&a[0], Activation::GeluErf), 2e-3);
        finite_differences(&vars, |a| activation(&a[0], Activation::GeluTanh), 2e-3);
    }

    #[test]
    fn relu_passes_gradients_of_positive_inputs_only() {
        let x = candle_core::Var::from_vec(vec![-2f32, 3.0], 2, &candle_core::Device::Cpu).unwrap();
        let y = activation(&x, Activation::Relu).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0, 1.0]);
    }
}
