//! A linear layer without bias, and a sum with rows that repeat for every image, each as one graph node.

use super::{elements, lanes, tensor_like, vectorised, with_elements};
use candle_core::backend::BackendStorage;
use candle_core::{bail, CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `x (rows, inputs) · weight (outputs, inputs)ᵀ` → (rows, outputs).
pub fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, Project)
}

/// `x` (batch·tokens, dim) plus `rows` (tokens, dim) for every image of the batch.
pub fn add_rows(x: &Tensor, rows: &Tensor) -> Result<Tensor> {
    x.apply_op2(rows, AddRows)
}

struct Project;

impl CustomOp2 for Project {
    fn name(&self) -> &'static str {
        "project"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (outputs, weight_inputs) = weight_layout.shape().dims2()?;
        if weight_inputs != inputs {
            bail!("project: weight ({outputs}, {weight_inputs}) does not fit input ({rows}, {inputs})");
        }
        let transposed = weight_layout.transpose(0, 1)?;
        let y = x.matmul(weight, (1, rows, outputs, inputs), x_layout, &transposed)?;
        Ok((y, (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        Ok((Some(grad.matmul(&weight.detach())?), Some(grad.t()?.matmul(&x.detach())?)))
    }
}

struct AddRows;

impl CustomOp2 for AddRows {
    fn name(&self) -> &'static str {
        "add-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = elements(rows, rows_layout)?;
        let mut out = elements(x, x_layout)?.to_vec();
        if rows.is_empty() || out.len() % rows.len() != 0 {
            bail!("add-rows: {:?} is not whole images of {:?}", x_layout.shape(), rows_layout.shape());
        }
        vectorised(
            #[inline(always)]
            || out.chunks_exact_mut(rows.len()).for_each(|image| lanes::accumulate(image, rows)),
        );
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        rows: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let sums = with_elements(&grad, |grad| {
            let mut sums = vec![0f32; rows.elem_count()];
            vectorised(
                #[inline(always)]
                || grad.chunks_exact(sums.len()).for_each(|image| lanes::accumulate(&mut sums, image)),
            );
            sums
        })?;
        Ok((Some(grad), Some(tensor_like(sums, rows)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    #[test]
    fn gradients_match_finite_differences() {
        finite_differences(
            &[random_var(&[5, 7], 1), random_var(&[3, 7], 2)],
            |a| project(&a[0], &a[1]),
            2e-3,
        );
        finite_differences(
            &[random_var(&[6, 4], 1), random_var(&[2, 4], 2)],
            |a| add_rows(&a[0], &a[1]),
            2e-3,
        );
    }

    #[test]
    fn misshapen_operands_are_refused() {
        let (x, w) = (random_var(&[5, 7], 1), random_var(&[3, 6], 2));
        assert!(project(&x, &w).unwrap_err().to_string().contains("does not fit"));
        assert!(add_rows(&x, &w).unwrap_err().to_string().contains("not whole images"));
    }
}
