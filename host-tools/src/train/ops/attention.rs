//! Multi-head self-attention (Vaswani et al., arXiv 1706.03762, eq. 1) between the qkv and the output
//! projection, as one graph node.

use super::heads::Sizes;
use super::lanes::{self, vectorised, Strided, PADDING};
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use candle_core::{bail, Result, Shape, Tensor};
use std::sync::Mutex;

/// `softmax(q·kᵀ/√d)·v` per image and head. `qkv` is (batch·tokens, 3·dim): the columns of q, then k, then v,
/// each head by head. → (batch·tokens, dim).
pub fn attention(qkv: &Tensor, tokens: usize, heads: usize) -> Result<Tensor> {
    let save = qkv.track_op();
    qkv.apply_op1(Node(Attention { tokens, heads, save, probabilities: Mutex::new(Vec::new()) }))
}

struct Attention {
    tokens: usize,
    heads: usize,
    /// Keep the softmax for the backward pass.
    save: bool,
    /// (batch, heads, tokens, padded tokens), filled by the forward pass.
    probabilities: Mutex<Vec<f32>>,
}

/// A left operand whose rows have this length.
fn rows(data: &[f32], stride: usize) -> Strided<'_> {
    Strided { data, row_stride: stride, column_stride: 1 }
}

/// The transpose of a matrix whose rows have this length, as a left operand.
fn transposed(data: &[f32], stride: usize) -> Strided<'_> {
    Strided { data, row_stride: 1, column_stride: stride }
}

/// Like [`Sizes::gather`], transposed: (width, padded tokens).
#[inline(always)]
fn gather_transposed(source: &[f32], stride: usize, column: usize, s: &Sizes, out: &mut [f32]) {
    for (token, row) in source.chunks_exact(stride).enumerate() {
        for (d, &value) in row[column..column + s.width].iter().enumerate() {
            out[d * s.padded_tokens + token] = value;
        }
    }
}

/// The inverse of [`Sizes::gather`].
#[inline(always)]
fn scatter(rows: &[f32], s: &Sizes, out: &mut [f32], stride: usize, column: usize) {
    for (row, out) in rows.chunks_exact(s.padded_width).zip(out.chunks_exact_mut(stride)) {
        out[column..column + s.width].copy_from_slice(&row[..s.width]);
    }
}

#[inline(always)]
fn forward(qkv: &[f32], s: Sizes, out: &mut [f32], mut saved: Option<&mut [f32]>) {
    let (dim, n, p, w) = (s.dim(), s.tokens, s.padded_tokens, s.padded_width);
    let buffer = || vec![0f32; n * w];
    let (mut q, mut v, mut o) = (buffer(), buffer(), buffer());
    let (mut kt, mut scores) = (vec![0f32; s.width * p], vec![0f32; n * p]);
    for (image, (qkv, out)) in qkv.chunks_exact(n * 3 * dim).zip(out.chunks_exact_mut(n * dim)).enumerate() {
        for head in 0..s.heads {
            let column = head * s.width;
            s.gather(qkv, 3 * dim, column, &mut q);
            gather_transposed(qkv, 3 * dim, dim + column, &s, &mut kt);
            s.gather(qkv, 3 * dim, 2 * dim + column, &mut v);
            lanes::gemm(n, p, s.width, rows(&q, w), &kt, &mut scores);
            s.softmax(&mut scores);
            lanes::gemm(n, w, n, rows(&scores, p), &v, &mut o);
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
    let buffer = || vec![0f32; n * w];
    let (mut q, mut k, mut g, mut result) = (buffer(), buffer(), buffer(), buffer());
    let (mut vt, mut ds) = (vec![0f32; s.width * p], vec![0f32; n * p]);
    let mut heads = probabilities.chunks_exact(n * p);
    let images = qkv.chunks_exact(n * 3 * dim).zip(grad.chunks_exact(n * dim));
    for ((qkv, grad), out) in images.zip(grad_qkv.chunks_exact_mut(n * 3 * dim)) {
        for head in 0..s.heads {
            let column = head * s.width;
            let probabilities = heads.next().expect("one matrix per image and head");
            s.gather(qkv, 3 * dim, column, &mut q);
            s.gather(qkv, 3 * dim, dim + column, &mut k);
            gather_transposed(qkv, 3 * dim, 2 * dim + column, &s, &mut vt);
            s.gather(grad, dim, column, &mut g);
            lanes::gemm(n, w, n, transposed(probabilities, p), &g, &mut result);
            scatter(&result, &s, out, 3 * dim, 2 * dim + column);
            lanes::gemm(n, p, s.width, rows(&g, w), &vt, &mut ds);
            s.softmax_gradient(probabilities, &mut ds);
            lanes::gemm(n, w, n, rows(&ds, p), &k, &mut result);
            scatter(&result, &s, out, 3 * dim, column);
            lanes::gemm(n, w, n, transposed(&ds, p), &q, &mut result);
            scatter(&result, &s, out, 3 * dim, dim + column);
        }
    }
}

impl Operator<1> for Attention {
    const NAME: &'static str = "attention";

    fn forward(&self, [qkv]: [Operand; 1]) -> Result<(Vec<f32>, Shape)> {
        let (rows, columns) = qkv.dims2()?;
        let dim = columns / 3;
        if columns % (3 * self.heads) != 0 || rows % self.tokens != 0 {
            bail!("attention: qkv ({rows}, {columns}) with {} heads, {} tokens", self.heads, self.tokens);
        }
        let sizes = Sizes::new(self.tokens, self.heads, dim, PADDING);
        let qkv = qkv.elements()?;
        let mut out = vec![0f32; rows * dim];
        let mut saved = vec![0f32; if self.save { rows * self.heads * sizes.padded_tokens } else { 0 }];
        vectorised(
            #[inline(always)]
            || forward(qkv, sizes, &mut out, self.save.then_some(&mut saved[..])),
        );
        *self.probabilities.lock().unwrap_or_else(|e| e.into_inner()) = saved;
        Ok((out, (rows, dim).into()))
    }

    fn backward(&self, [qkv]: [&Tensor; 1], _out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 1]> {
        let sizes = Sizes::new(self.tokens, self.heads, grad.dim(1)?, PADDING);
        let probabilities = self.probabilities.lock().unwrap_or_else(|e| e.into_inner());
        let mut out = vec![0f32; qkv.elem_count()];
        with_elements([qkv, grad], |[qkv, grad]| {
            vectorised(
                #[inline(always)]
                || backward(qkv, &probabilities, grad, sizes, &mut out),
            )
        })?;
        Ok([Some(tensor_like(out, qkv)?)])
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
