//! Multi-head self-attention (Vaswani et al., arXiv 1706.03762, eq. 1) between the qkv and the output
//! projection, as one graph node.

use super::lanes::{self, Strided, PADDING};
use super::{elements, vectorised, with_elements};
use candle_core::{bail, CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use std::sync::Mutex;

/// `softmax(q·kᵀ/√d)·v` per image and head. `qkv` is (batch·tokens, 3·dim): the columns of q, then k, then v,
/// each head by head. → (batch·tokens, dim).
pub fn attention(qkv: &Tensor, tokens: usize, heads: usize) -> Result<Tensor> {
    let save = qkv.track_op();
    qkv.apply_op1(Attention { tokens, heads, save, probabilities: Mutex::new(Vec::new()) })
}

struct Attention {
    tokens: usize,
    heads: usize,
    /// Keep the softmax for the backward pass.
    save: bool,
    /// (batch, heads, tokens, padded tokens), filled by the forward pass.
    probabilities: Mutex<Vec<f32>>,
}

/// Sizes of one head's matrices; rows of the right operands are padded to whole vectors.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    heads: usize,
    /// Width of a head.
    width: usize,
    padded_tokens: usize,
    padded_width: usize,
}

impl Sizes {
    fn new(tokens: usize, heads: usize, dim: usize) -> Self {
        let width = dim / heads;
        let pad = |n: usize| n.next_multiple_of(PADDING);
        Sizes { tokens, heads, width, padded_tokens: pad(tokens), padded_width: pad(width) }
    }

    fn dim(&self) -> usize {
        self.heads * self.width
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    fn row_buffer(&self) -> Vec<f32> {
        vec![0f32; self.tokens * self.padded_width]
    }

    fn transposed_buffer(&self) -> Vec<f32> {
        vec![0f32; self.width * self.padded_tokens]
    }

    fn score_buffer(&self) -> Vec<f32> {
        vec![0f32; self.tokens * self.padded_tokens]
    }

    /// A left operand whose rows are tokens and whose row length is `stride`.
    fn rows<'a>(&self, data: &'a [f32], stride: usize) -> Strided<'a> {
        Strided { data, row_stride: stride, column_stride: 1 }
    }

    /// The transpose of a (tokens, padded tokens) matrix as a left operand.
    fn transposed_scores<'a>(&self, data: &'a [f32]) -> Strided<'a> {
        Strided { data, row_stride: 1, column_stride: self.padded_tokens }
    }
}

/// Copies one head's columns, starting at `column` of rows of `stride`, into rows padded with zeros.
#[inline(always)]
fn gather(source: &[f32], stride: usize, column: usize, s: &Sizes, out: &mut [f32]) {
    for (row, out) in source.chunks_exact(stride).zip(out.chunks_exact_mut(s.padded_width)) {
        out[..s.width].copy_from_slice(&row[column..column + s.width]);
    }
}

/// Like [`gather`], transposed: (width, padded tokens).
#[inline(always)]
fn gather_transposed(source: &[f32], stride: usize, column: usize, s: &Sizes, out: &mut [f32]) {
    for (token, row) in source.chunks_exact(stride).enumerate() {
        for (d, &value) in row[column..column + s.width].iter().enumerate() {
            out[d * s.padded_tokens + token] = value;
        }
    }
}

/// The inverse of [`gather`].
#[inline(always)]
fn scatter(rows: &[f32], s: &Sizes, out: &mut [f32], stride: usize, column: usize) {
    for (row, out) in rows.chunks_exact(s.padded_width).zip(out.chunks_exact_mut(stride)) {
        out[column..column + s.width].copy_from_slice(&row[..s.width]);
    }
}

/// Softmax of `scale · x` on the first `count` elements; padding becomes 0.
#[inline(always)]
fn softmax_row(x: &mut [f32], count: usize, scale: f32) {
    let (row, padding) = x.split_at_mut(count);
    let max = lanes::max(row);
    for v in row.iter_mut() {
        *v = lanes::exp((*v - max) * scale);
    }
    let inverse = 1.0 / lanes::sum(row);
    for v in row.iter_mut() {
        *v *= inverse;
    }
    padding.fill(0.0);
}

#[inline(always)]
fn forward(qkv: &[f32], s: Sizes, out: &mut [f32], mut saved: Option<&mut [f32]>) {
    let (dim, n, p) = (s.dim(), s.tokens, s.padded_tokens);
    let (mut q, mut v, mut o) = (s.row_buffer(), s.row_buffer(), s.row_buffer());
    let (mut kt, mut scores) = (s.transposed_buffer(), s.score_buffer());
    for (image, (qkv, out)) in qkv.chunks_exact(n * 3 * dim).zip(out.chunks_exact_mut(n * dim)).enumerate() {
        for head in 0..s.heads {
            let column = head * s.width;
            gather(qkv, 3 * dim, column, &s, &mut q);
            gather_transposed(qkv, 3 * dim, dim + column, &s, &mut kt);
            gather(qkv, 3 * dim, 2 * dim + column, &s, &mut v);
            lanes::gemm(n, p, s.width, s.rows(&q, s.padded_width), &kt, &mut scores);
            for row in scores.chunks_exact_mut(p) {
                softmax_row(row, n, s.scale());
            }
            lanes::gemm(n, s.padded_width, n, s.rows(&scores, p), &v, &mut o);
            scatter(&o, &s, out, dim, column);
            if let Some(saved) = saved.as_deref_mut() {
                saved[(image * s.heads + head) * n * p..][..n * p].copy_from_slice(&scores);
            }
        }
    }
}

/// With P the probabilities and G the output's gradient: dV = Pᵀ·G, dP = G·Vᵀ, dS = P∘(dP − rowsum(P∘dP)),
/// dQ = dS·K/√d, dK = dSᵀ·Q/√d.
#[inline(always)]
fn backward(qkv: &[f32], probabilities: &[f32], grad: &[f32], s: Sizes, grad_qkv: &mut [f32]) {
    let (dim, n, p, w) = (s.dim(), s.tokens, s.padded_tokens, s.padded_width);
    let (mut q, mut k, mut g, mut result) = (s.row_buffer(), s.row_buffer(), s.row_buffer(), s.row_buffer());
    let (mut vt, mut ds) = (s.transposed_buffer(), s.score_buffer());
    let mut heads = probabilities.chunks_exact(n * p);
    let images = qkv.chunks_exact(n * 3 * dim).zip(grad.chunks_exact(n * dim));
    for ((qkv, grad), out) in images.zip(grad_qkv.chunks_exact_mut(n * 3 * dim)) {
        for head in 0..s.heads {
            let column = head * s.width;
            let probabilities = heads.next().expect("one matrix per image and head");
            gather(qkv, 3 * dim, column, &s, &mut q);
            gather(qkv, 3 * dim, dim + column, &s, &mut k);
            gather_transposed(qkv, 3 * dim, 2 * dim + column, &s, &mut vt);
            gather(grad, dim, column, &s, &mut g);
            lanes::gemm(n, w, n, s.transposed_scores(probabilities), &g, &mut result);
            scatter(&result, &s, out, 3 * dim, 2 * dim + column);
            lanes::gemm(n, p, s.width, s.rows(&g, w), &vt, &mut ds);
            for (ds, prob) in ds.chunks_exact_mut(p).zip(probabilities.chunks_exact(p)) {
                let mean = lanes::dot(ds, prob);
                for (d, &prob) in ds.iter_mut().zip(prob) {
                    *d = prob * (*d - mean) * s.scale();
                }
            }
            lanes::gemm(n, w, n, s.rows(&ds, p), &k, &mut result);
            scatter(&result, &s, out, 3 * dim, column);
            lanes::gemm(n, w, n, s.transposed_scores(&ds), &q, &mut result);
            scatter(&result, &s, out, 3 * dim, dim + column);
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let dim = columns / 3;
        if columns % (3 * self.heads) != 0 || rows % self.tokens != 0 {
            bail!("attention: qkv ({rows}, {columns}) with {} heads, {} tokens", self.heads, self.tokens);
        }
        let sizes = Sizes::new(self.tokens, self.heads, dim);
        let qkv = elements(qkv, layout)?;
        let mut out = vec![0f32; rows * dim];
        let mut saved = vec![0f32; if self.save { rows * self.heads * sizes.padded_tokens } else { 0 }];
        vectorised(
            #[inline(always)]
            || forward(qkv, sizes, &mut out, self.save.then_some(&mut saved[..])),
        );
        *self.probabilities.lock().unwrap_or_else(|e| e.into_inner()) = saved;
        Ok((CpuStorage::F32(out), (rows, dim).into()))
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let sizes = Sizes::new(self.tokens, self.heads, grad.dim(1)?);
        let probabilities = self.probabilities.lock().unwrap_or_else(|e| e.into_inner());
        let mut out = vec![0f32; qkv.elem_count()];
        with_elements(qkv, |qkv| {
            with_elements(&grad, |grad| {
                vectorised(
                    #[inline(always)]
                    || backward(qkv, &probabilities, grad, sizes, &mut out),
                )
            })
        })??;
        Ok(Some(Tensor::from_vec(out, qkv.shape(), &Device::Cpu)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    /// The definition, in plain candle.
    fn plain(qkv: &Tensor, tokens: usize, heads: usize) -> Result<Tensor> {
        let (rows, columns) = qkv.dims2()?;
        let (batch, dim) = (rows / tokens, columns / 3);
        let parts =
            qkv.reshape((batch, tokens, 3, heads, dim / heads))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (q, k, v) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
        let scores = (q.matmul(&k.t()?)? * (1.0 / ((dim / heads) as f64).sqrt()))?;
        let out = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&v)?;
        out.transpose(1, 2)?.contiguous()?.reshape((rows, dim))
    }

    #[test]
    fn values_match_the_definition_in_plain_candle() {
        for (tokens, heads, width) in [(1, 1, 4), (5, 2, 8), (17, 3, 5), (33, 1, 24)] {
            let qkv = random_var(&[2 * tokens, 3 * heads * width], 7);
            let gap =
                (attention(&qkv, tokens, heads).unwrap() - plain(&qkv, tokens, heads).unwrap()).unwrap();
            let worst = gap.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 2e-6, "{tokens} tokens, {heads} heads of {width}: {worst}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        finite_differences(&[random_var(&[10, 18], 8)], |a| attention(&a[0], 5, 2), 3e-3);
        finite_differences(&[random_var(&[18, 6], 9)], |a| attention(&a[0], 18, 1), 3e-3);
    }
}
