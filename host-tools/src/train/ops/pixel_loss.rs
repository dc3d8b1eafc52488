//! Losses between pixels, as one graph node.

use super::{elements, tensor_like, with_elements};
use candle_core::{bail, CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

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
    x.apply_op2(target, Loss { kind, scale })
}

struct Loss {
    kind: PixelLoss,
    scale: f32,
}

impl CustomOp2 for Loss {
    fn name(&self) -> &'static str {
        "pixel-loss"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        target: &CpuStorage,
        target_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if x_layout.shape() != target_layout.shape() {
            bail!("pixel loss: {:?} and {:?} differ in shape", x_layout.shape(), target_layout.shape());
        }
        let pairs = elements(x, x_layout)?.iter().zip(elements(target, target_layout)?);
        let differences = pairs.map(|(&x, &t)| f64::from(x - t));
        let sum: f64 = match self.kind {
            PixelLoss::L1 => differences.map(f64::abs).sum(),
            PixelLoss::L2 => differences.map(|d| d * d).sum(),
        };
        Ok((CpuStorage::F32(vec![sum as f32 * self.scale]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        target: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = self.scale * grad.to_scalar::<f32>()?;
        let slope = |d: f32| match self.kind {
            PixelLoss::L1 if d == 0.0 => 0.0,
            PixelLoss::L1 => factor.copysign(d * factor.signum()),
            PixelLoss::L2 => 2.0 * factor * d,
        };
        let out = with_elements(x, |x| {
            with_elements(target, |t| x.iter().zip(t).map(|(&x, &t)| slope(x - t)).collect::<Vec<f32>>())
        })??;
        Ok((Some(tensor_like(out, x)?), None))
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
