//! Losses between pixels, as one graph node.

use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use candle_core::{bail, Result, Shape, Tensor};

/// How the difference of two pixels counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelLoss {
    /// |a − b|: the loss of IPT (arXiv 2012.00364, eq. 4).
    L1,
    /// (a − b)²: what PSNR measures.
    L2,
}

/// `scale · Σ loss(x − target)` → a scalar. No gradient flows to `target`.
pub fn pixel_loss(x: &Tensor, target: &Tensor, kind: PixelLoss, scale: f32) -> Result<Tensor> {
    x.apply_op2(target, Node(Loss { kind, scale }))
}

struct Loss {
    kind: PixelLoss,
    scale: f32,
}

impl Operator<2> for Loss {
    const NAME: &'static str = "pixel-loss";

    fn forward(&self, [x, target]: [Operand; 2]) -> Result<(Vec<f32>, Shape)> {
        if x.shape() != target.shape() {
            bail!("pixel loss: {:?} and {:?} differ in shape", x.shape(), target.shape());
        }
        let pairs = x.elements()?.iter().zip(target.elements()?);
        let differences = pairs.map(|(&x, &t)| f64::from(x - t));
        let sum: f64 = match self.kind {
            PixelLoss::L1 => differences.map(f64::abs).sum(),
            PixelLoss::L2 => differences.map(|d| d * d).sum(),
        };
        Ok((vec![sum as f32 * self.scale], Shape::from(())))
    }

    fn backward(
        &self,
        [x, target]: [&Tensor; 2],
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 2]> {
        let factor = self.scale * grad.to_scalar::<f32>()?;
        let slope = |d: f32| match self.kind {
            PixelLoss::L1 if d == 0.0 => 0.0,
            PixelLoss::L1 => factor.copysign(d * factor.signum()),
            PixelLoss::L2 => 2.0 * factor * d,
        };
        let out = with_elements([x, target], |[x, target]| {
            x.iter().zip(target).map(|(&x, &t)| slope(x - t)).collect::<Vec<f32>>()
        })?;
        Ok([Some(tensor_like(out, x)?), None])
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    #[test]
    fn gradients_match_finite_differences() {
        let target = random_var(&[3, 5], 1).as_tensor().detach();
        for kind in [PixelLoss::L1, PixelLoss::L2] {
            finite_differences(&[random_var(&[3, 5], 2)], |a| pixel_loss(&a[0], &target, kind, 0.5), 2e-3);
        }
    }
}
