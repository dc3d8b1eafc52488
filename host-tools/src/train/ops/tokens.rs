//! Assembling the token sequence, adding to it and pooling it, each as one graph node.

use super::lanes::{self, vectorised};
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use super::rows::{add_to_each, sum_chunks};
use candle_core::{bail, Device, Result, Shape, Tensor};

/// Per image, `prefix` (prefix, dim) followed by its rows of `patches` (batch·patches, dim), plus `positions`
/// (prefix + patches, dim) → (batch·(prefix + patches), dim).
pub fn embed_tokens(patches: &Tensor, prefix: &Tensor, positions: &Tensor) -> Result<Tensor> {
    patches.apply_op3(prefix, positions, Node(Embed))
}

/// `x` (batch·tokens, dim) plus `rows` (tokens, dim) for every image of the batch.
pub fn add_rows(x: &Tensor, rows: &Tensor) -> Result<Tensor> {
    x.apply_op2(rows, Node(AddRows))
}

/// Per image of `tokens` rows, the mean of rows `first..tokens_end` of `x` (batch·tokens, dim) → (batch,
/// dim).
pub fn pool_tokens(x: &Tensor, tokens: usize, rows: core::ops::Range<usize>) -> Result<Tensor> {
    x.apply_op1(Node(PoolRows { tokens, first: rows.start, count: rows.len() }))
}

struct Embed;

impl Operator<3> for Embed {
    const NAME: &'static str = "embed-tokens";

    fn forward(&self, [patches, prefix, positions]: [Operand; 3]) -> Result<(Vec<f32>, Shape)> {
        let ((patch_rows, dim), (prefix_rows, _), (tokens, _)) =
            (patches.dims2()?, prefix.dims2()?, positions.dims2()?);
        let patches_each = tokens - prefix_rows;
        if patch_rows % patches_each != 0 {
            bail!("embed-tokens: {patch_rows} patch rows are not a multiple of {patches_each}");
        }
        let batch = patch_rows / patches_each;
        let prefix = prefix.elements()?;
        let mut out = Vec::with_capacity(batch * tokens * dim);
        for image in patches.elements()?.chunks_exact(patches_each * dim) {
            out.extend_from_slice(prefix);
            out.extend_from_slice(image);
        }
        add_to_each(&mut out, positions.elements()?);
        Ok((out, (batch * tokens, dim).into()))
    }

    fn backward(
        &self,
        [patches, prefix, positions]: [&Tensor; 3],
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let (image, skip) = (positions.elem_count(), prefix.elem_count());
        let mut grad_patches = Vec::with_capacity(patches.elem_count());
        with_elements([grad], |[grad]| {
            grad.chunks_exact(image).for_each(|grad| grad_patches.extend_from_slice(&grad[skip..]));
        })?;
        let grad_positions = sum_chunks(grad, image)?;
        let grad_prefix = Tensor::from_slice(&grad_positions[..skip], prefix.shape(), &Device::Cpu)?;
        let grads =
            [tensor_like(grad_patches, patches)?, grad_prefix, tensor_like(grad_positions, positions)?];
        Ok(grads.map(Some))
    }
}

struct AddRows;

impl Operator<2> for AddRows {
    const NAME: &'static str = "add-rows";

    fn forward(&self, [x, rows]: [Operand; 2]) -> Result<(Vec<f32>, Shape)> {
        let (mut out, added) = (x.elements()?.to_vec(), rows.elements()?);
        if added.is_empty() || out.len() % added.len() != 0 {
            bail!("add-rows: {:?} is not whole images of {:?}", x.shape(), rows.shape());
        }
        add_to_each(&mut out, added);
        Ok((out, x.shape().clone()))
    }

    fn backward(&self, [_, rows]: [&Tensor; 2], _y: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let sums = sum_chunks(grad, rows.elem_count())?;
        Ok([Some(grad.clone()), Some(tensor_like(sums, rows)?)])
    }
}

struct PoolRows {
    tokens: usize,
    first: usize,
    count: usize,
}

impl Operator<1> for PoolRows {
    const NAME: &'static str = "pool-tokens";

    fn forward(&self, [x]: [Operand; 1]) -> Result<(Vec<f32>, Shape)> {
        let (rows, dim) = x.dims2()?;
        let x = x.elements()?;
        let batch = rows / self.tokens;
        let mut out = vec![0f32; batch * dim];
        let scale = 1.0 / self.count as f32;
        vectorised(
            #[inline(always)]
            || {
                for (out, image) in out.chunks_exact_mut(dim).zip(x.chunks_exact(self.tokens * dim)) {
                    for row in image[self.first * dim..][..self.count * dim].chunks_exact(dim) {
                        lanes::accumulate(out, row);
                    }
                    out.iter_mut().for_each(|v| *v *= scale);
                }
            },
        );
        Ok((out, (batch, dim).into()))
    }

    fn backward(&self, [x]: [&Tensor; 1], _out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 1]> {
        let dim = x.dim(1)?;
        let scale = 1.0 / self.count as f32;
        let mut out = vec![0f32; x.elem_count()];
        with_elements([grad], |[grad]| {
            for (image, grad) in out.chunks_exact_mut(self.tokens * dim).zip(grad.chunks_exact(dim)) {
                for row in image[self.first * dim..][..self.count * dim].chunks_exact_mut(dim) {
                    for (r, &g) in row.iter_mut().zip(grad) {
                        *r = g * scale;
                    }
                }
            }
        })?;
        Ok([Some(tensor_like(out, x)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    #[test]
    fn embedding_gradients_match_finite_differences() {
        let vars = [random_var(&[6, 4], 1), random_var(&[1, 4], 2), random_var(&[4, 4], 3)];
        finite_differences(&vars, |a| embed_tokens(&a[0], &a[1], &a[2]), 2e-3);
    }

    #[test]
    fn gradients_of_added_rows_match_finite_differences() {
        let vars = [random_var(&[6, 4], 1), random_var(&[2, 4], 2)];
        finite_differences(&vars, |a| add_rows(&a[0], &a[1]), 2e-3);
    }

    #[test]
    fn rows_that_are_no_whole_images_are_refused() {
        let (x, w) = (random_var(&[5, 7], 1), random_var(&[3, 6], 2));
        assert!(add_rows(&x, &w).unwrap_err().to_string().contains("not whole images"));
    }

    #[test]
    fn pooling_gradients_match_finite_differences() {
        let x = [random_var(&[8, 3], 4)];
        finite_differences(&x, |a| pool_tokens(&a[0], 4, 1..4), 2e-3);
        finite_differences(&x, |a| pool_tokens(&a[0], 4, 0..1), 2e-3);
    }
}
