//! Assembling the token sequence and pooling it, each as one graph node.

use super::{elements, lanes, vectorised, with_elements};
use candle_core::{bail, CpuStorage, CustomOp1, CustomOp3, Device, Layout, Result, Shape, Tensor};

/// Per image, `prefix` (prefix, dim) followed by its rows of `patches` (batch·patches, dim), plus `positions`
/// (prefix + patches, dim) → (batch·(prefix + patches), dim).
pub fn embed_tokens(patches: &Tensor, prefix: &Tensor, positions: &Tensor) -> Result<Tensor> {
    patches.apply_op3(prefix, positions, Embed)
}

/// Per image of `tokens` rows, the mean of rows `first..tokens_end` of `x` (batch·tokens, dim) → (batch,
/// dim).
pub fn pool_tokens(x: &Tensor, tokens: usize, rows: core::ops::Range<usize>) -> Result<Tensor> {
    x.apply_op1(PoolRows { tokens, first: rows.start, count: rows.len() })
}

struct Embed;

impl CustomOp3 for Embed {
    fn name(&self) -> &'static str {
        "embed-tokens"
    }

    fn cpu_fwd(
        &self,
        patches: &CpuStorage,
        patches_layout: &Layout,
        prefix: &CpuStorage,
        prefix_layout: &Layout,
        positions: &CpuStorage,
        positions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (patch_rows, dim) = patches_layout.shape().dims2()?;
        let (prefix_rows, _) = prefix_layout.shape().dims2()?;
        let (tokens, _) = positions_layout.shape().dims2()?;
        let patches_each = tokens - prefix_rows;
        if patch_rows % patches_each != 0 {
            bail!("embed-tokens: {patch_rows} patch rows are not a multiple of {patches_each}");
        }
        let batch = patch_rows / patches_each;
        let prefix = elements(prefix, prefix_layout)?;
        let positions = elements(positions, positions_layout)?;
        let mut out = Vec::with_capacity(batch * tokens * dim);
        for image in elements(patches, patches_layout)?.chunks_exact(patches_each * dim) {
            out.extend_from_slice(prefix);
            out.extend_from_slice(image);
        }
        vectorised(
            #[inline(always)]
            || {
                for image in out.chunks_exact_mut(tokens * dim) {
                    lanes::accumulate(image, positions);
                }
            },
        );
        Ok((CpuStorage::F32(out), (batch * tokens, dim).into()))
    }

    fn bwd(
        &self,
        patches: &Tensor,
        prefix: &Tensor,
        positions: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (image, skip) = (positions.elem_count(), prefix.elem_count());
        let (grad_patches, grad_positions) = with_elements(&grad, |grad| {
            let mut grad_patches = Vec::with_capacity(patches.elem_count());
            let mut sums = vec![0f32; image];
            vectorised(
                #[inline(always)]
                || {
                    for grad in grad.chunks_exact(image) {
                        grad_patches.extend_from_slice(&grad[skip..]);
                        lanes::accumulate(&mut sums, grad);
                    }
                },
            );
            (grad_patches, sums)
        })?;
        let grad_prefix = Tensor::from_slice(&grad_positions[..skip], prefix.shape(), &Device::Cpu)?;
        let grad_patches = Tensor::from_vec(grad_patches, patches.shape(), &Device::Cpu)?;
        let grad_positions = Tensor::from_vec(grad_positions, positions.shape(), &Device::Cpu)?;
        Ok((Some(grad_patches), Some(grad_prefix), Some(grad_positions)))
    }
}

struct PoolRows {
    tokens: usize,
    first: usize,
    count: usize,
}

impl CustomOp1 for PoolRows {
    fn name(&self) -> &'static str {
        "pool-tokens"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, dim) = layout.shape().dims2()?;
        let x = elements(x, layout)?;
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
        Ok((CpuStorage::F32(out), (batch, dim).into()))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let dim = x.dim(1)?;
        let scale = 1.0 / self.count as f32;
        let mut out = vec![0f32; x.elem_count()];
        with_elements(&grad, |grad| {
            for (image, grad) in out.chunks_exact_mut(self.tokens * dim).zip(grad.chunks_exact(dim)) {
                for row in image[self.first * dim..][..self.count * dim].chunks_exact_mut(dim) {
                    for (r, &g) in row.iter_mut().zip(grad) {
                        *r = g * scale;
                    }
                }
            }
        })?;
        Ok(Some(Tensor::from_vec(out, x.shape(), &Device::Cpu)?))
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
    fn pooling_gradients_match_finite_differences() {
        let x = [random_var(&[8, 3], 4)];
        finite_differences(&x, |a| pool_tokens(&a[0], 4, 1..4), 2e-3);
        finite_differences(&x, |a| pool_tokens(&a[0], 4, 0..1), 2e-3);
    }
}
