//! Multi-head attention (Vaswani et al., arXiv 1706.03762, eq. 1) whose queries, keys and values come from
//! different places, as one graph node.
//!
//! Four query rows at a time: their scores stay in the first-level cache, and the backward pass makes them
//! again instead of keeping them, which costs less than a walk through memory.

use super::heads::Sizes;
use super::lanes::vectorised;
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use super::tile::{add_dot, add_outer, lanes, lanes_mut, Lane, PANEL, ROWS};
use candle_core::{bail, Result, Shape, Tensor};

/// `softmax(q·kᵀ/√d)·v` per image and head; `q`, `k`, `v` are (batch·tokens, dim), head by head → the same
/// shape.
pub fn cross_attention(q: &Tensor, k: &Tensor, v: &Tensor, tokens: usize, heads: usize) -> Result<Tensor> {
    q.apply_op3(k, v, Node(CrossAttention { tokens, heads }))
}

struct CrossAttention {
    tokens: usize,
    heads: usize,
}

/// One head's matrices, whose vectors are panels.
impl Sizes {
    /// Rows of (tokens rounded up to tiles, padded width); padding stays zero.
    fn rows_buffer(&self) -> Vec<f32> {
        vec![0f32; self.tokens.next_multiple_of(ROWS) * self.padded_width]
    }

    fn panel_buffer(&self) -> Vec<f32> {
        vec![0f32; self.padded_tokens * self.padded_width]
    }

    fn score_buffer(&self) -> Vec<f32> {
        vec![0f32; ROWS * self.padded_tokens]
    }

    /// One head's columns as rows padded with zeros.
    #[inline(always)]
    fn rows(&self, source: &[f32], head: usize, out: &mut [f32]) {
        self.gather(source, self.dim(), head * self.width, out);
    }

    /// One head's columns as the right operand of a product over tokens: panels of (padded tokens, 16).
    #[inline(always)]
    fn panels(&self, source: &[f32], head: usize, out: &mut [f32]) {
        for (panel, out) in out.chunks_exact_mut(self.padded_tokens * PANEL).enumerate() {
            let count = PANEL.min(self.width - panel * PANEL);
            let from = head * self.width + panel * PANEL;
            for (row, out) in source.chunks_exact(self.dim()).zip(out.chunks_exact_mut(PANEL)) {
                out[..count].copy_from_slice(&row[from..from + count]);
            }
        }
    }

    /// One head's columns, transposed, as the right operand of a product over the width: panels of (width, 16
    /// tokens).
    #[inline(always)]
    fn transposed_panels(&self, source: &[f32], head: usize, out: &mut [f32]) {
        for (token, row) in source.chunks_exact(self.dim()).enumerate() {
            let panel = &mut out[token / PANEL * self.width * PANEL..][..self.width * PANEL];
            for (d, &value) in row[head * self.width..][..self.width].iter().enumerate() {
                panel[d * PANEL + token % PANEL] = value;
            }
        }
    }

    /// The inverse of [`panels`](Self::panels).
    #[inline(always)]
    fn unpack(&self, panels: &[f32], head: usize, out: &mut [f32]) {
        for (panel, source) in panels.chunks_exact(self.padded_tokens * PANEL).enumerate() {
            let count = PANEL.min(self.width - panel * PANEL);
            let to = head * self.width + panel * PANEL;
            let dim = self.dim();
            for (row, out) in source.chunks_exact(PANEL).zip(out.chunks_exact_mut(dim)) {
                out[to..to + count].copy_from_slice(&row[..count]);
            }
        }
    }

    /// Four rows of `rows` times transposed panels → (4, padded tokens).
    #[inline(always)]
    fn scores(&self, rows: &[f32], panels: &[f32], out: &mut [f32]) {
        for (panel, b) in
            lanes(panels)[..self.padded_tokens / PANEL * self.width].chunks_exact(self.width).enumerate()
        {
            let mut sums = [[0f32; PANEL]; ROWS];
            add_dot(&mut sums, rows, self.padded_width, b);
            for (r, sums) in sums.iter().enumerate() {
                out[r * self.padded_tokens + panel * PANEL..][..PANEL].copy_from_slice(sums);
            }
        }
    }

    /// Four rows of scores times panels over tokens → columns of one head in rows `first` and following of
    /// `out`.
    #[inline(always)]
    fn mix(&self, scores: &[f32], panels: &[f32], head: usize, first: usize, out: &mut [f32]) {
        for (panel, b) in lanes(panels).chunks_exact(self.padded_tokens).enumerate() {
            let mut sums = [[0f32; PANEL]; ROWS];
            add_dot(&mut sums, scores, self.padded_tokens, b);
            let count = PANEL.min(self.width - panel * PANEL);
            let to = head * self.width + panel * PANEL;
            for (r, sums) in sums.iter().enumerate().take(self.tokens - first) {
                out[(first + r) * self.dim() + to..][..count].copy_from_slice(&sums[..count]);
            }
        }
    }

    /// `out += scoresᵀ · rows` for four rows; `out` is panels of (padded tokens, 16).
    #[inline(always)]
    fn add_transposed(&self, scores: &[f32], rows: &[f32], out: &mut [f32]) {
        for (panel, out) in lanes_mut(out).chunks_exact_mut(self.padded_tokens).enumerate() {
            let b: [Lane; ROWS] = core::array::from_fn(|r| {
                core::array::from_fn(|lane| rows[r * self.padded_width + panel * PANEL + lane])
            });
            for (tile, out) in out.chunks_exact_mut(ROWS).enumerate() {
                let mut sums: [Lane; ROWS] = core::array::from_fn(|r| out[r]);
                add_outer(&mut sums, &scores[tile * ROWS..], self.padded_tokens, &b);
                out.copy_from_slice(&sums);
            }
        }
    }
}

#[inline(always)]
fn forward(q: &[f32], k: &[f32], v: &[f32], s: Sizes, out: &mut [f32]) {
    let (mut rows, mut values) = (s.rows_buffer(), s.panel_buffer());
    let (mut keys, mut scores) = (s.panel_buffer(), s.score_buffer());
    let image = s.tokens * s.dim();
    for (index, out) in out.chunks_exact_mut(image).enumerate() {
        let of = |x| -> &[f32] { part(x, index, image) };
        for head in 0..s.heads {
            s.rows(of(q), head, &mut rows);
            s.transposed_panels(of(k), head, &mut keys);
            s.panels(of(v), head, &mut values);
            for (tile, rows) in rows.chunks_exact(ROWS * s.padded_width).enumerate() {
                s.scores(rows, &keys, &mut scores);
                s.softmax(&mut scores);
                s.mix(&scores, &values, head, tile * ROWS, out);
            }
        }
    }
}

#[inline(always)]
fn part(x: &[f32], index: usize, length: usize) -> &[f32] {
    &x[index * length..][..length]
}

/// Gradients of queries, keys and values. With P the probabilities and G the output's gradient: dV = Pᵀ·G, dP
/// = G·Vᵀ, dS = P∘(dP − rowsum(P∘dP)), dQ = dS·K/√d, dK = dSᵀ·Q/√d.
#[inline(always)]
fn backward(q: &[f32], k: &[f32], v: &[f32], grad: &[f32], s: Sizes, out: [&mut [f32]; 3]) {
    let [grad_q, grad_k, grad_v] = out;
    let (mut rows, mut grad_rows) = (s.rows_buffer(), s.rows_buffer());
    let (mut keys, mut keys_transposed, mut values) = (s.panel_buffer(), s.panel_buffer(), s.panel_buffer());
    let (mut key_sums, mut value_sums) = (s.panel_buffer(), s.panel_buffer());
    let (mut scores, mut slopes) = (s.score_buffer(), s.score_buffer());
    let image = s.tokens * s.dim();
    for index in 0..grad.len() / image {
        let range = index * image..(index + 1) * image;
        for head in 0..s.heads {
            s.rows(&q[range.clone()], head, &mut rows);
            s.rows(&grad[range.clone()], head, &mut grad_rows);
            s.panels(&k[range.clone()], head, &mut keys);
            s.transposed_panels(&k[range.clone()], head, &mut keys_transposed);
            s.transposed_panels(&v[range.clone()], head, &mut values);
            key_sums.fill(0.0);
            value_sums.fill(0.0);
            let tiles = rows.chunks_exact(ROWS * s.padded_width);
            for (tile, (rows, grads)) in tiles.zip(grad_rows.chunks_exact(ROWS * s.padded_width)).enumerate()
            {
                s.scores(rows, &keys_transposed, &mut scores);
                s.softmax(&mut scores);
                s.scores(grads, &values, &mut slopes);
                s.add_transposed(&scores, grads, &mut value_sums);
                s.softmax_gradient(&scores, &mut slopes);
                s.mix(&slopes, &keys, head, tile * ROWS, &mut grad_q[range.clone()]);
                s.add_transposed(&slopes, rows, &mut key_sums);
            }
            s.unpack(&key_sums, head, &mut grad_k[range.clone()]);
            s.unpack(&value_sums, head, &mut grad_v[range.clone()]);
        }
    }
}

impl Operator<3> for CrossAttention {
    const NAME: &'static str = "cross-attention";

    fn forward(&self, [q, k, v]: [Operand; 3]) -> Result<(Vec<f32>, Shape)> {
        let (rows, dim) = q.dims2()?;
        if dim % self.heads != 0 || rows % self.tokens != 0 {
            bail!("attention: queries ({rows}, {dim}) with {} heads, {} tokens", self.heads, self.tokens);
        }
        if q.shape() != k.shape() || q.shape() != v.shape() {
            bail!("attention: queries, keys and values differ in shape");
        }
        let sizes = Sizes::new(self.tokens, self.heads, dim, PANEL);
        let (q, k, v) = (q.elements()?, k.elements()?, v.elements()?);
        let mut out = vec![0f32; rows * dim];
        vectorised(
            #[inline(always)]
            || forward(q, k, v, sizes, &mut out),
        );
        Ok((out, (rows, dim).into()))
    }

    fn backward(&self, [q, k, v]: [&Tensor; 3], _out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let sizes = Sizes::new(self.tokens, self.heads, grad.dim(1)?, PANEL);
        let zeros = || vec![0f32; grad.elem_count()];
        let (mut grad_q, mut grad_k, mut grad_v) = (zeros(), zeros(), zeros());
        with_elements([q, k, v, grad], |[q, k, v, grad]| {
            let out = [&mut grad_q[..], &mut grad_k[..], &mut grad_v[..]];
            vectorised(
                #[inline(always)]
                || backward(q, k, v, grad, sizes, out),
            )
        })?;
        Ok([tensor_like(grad_q, q)?, tensor_like(grad_k, k)?, tensor_like(grad_v, v)?].map(Some))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    /// The definition, in plain candle.
    fn plain(q: &Tensor, k: &Tensor, v: &Tensor, tokens: usize, heads: usize) -> Result<Tensor> {
        let (rows, dim) = q.dims2()?;
        let split = |x: &Tensor| {
            x.reshape((rows / tokens, tokens, heads, dim / heads))?.transpose(1, 2)?.contiguous()
        };
        let scores = (split(q)?.matmul(&split(k)?.t()?)? * (1.0 / ((dim / heads) as f64).sqrt()))?;
        let out = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&split(v)?)?;
        out.transpose(1, 2)?.contiguous()?.reshape((rows, dim))
    }

    #[test]
    fn values_match_the_definition_in_plain_candle() {
        for (tokens, heads, width) in [(1, 1, 4), (5, 2, 8), (17, 3, 5), (33, 1, 24), (16, 2, 16)] {
            let [q, k, v] = [7, 8, 9].map(|seed| random_var(&[2 * tokens, heads * width], seed));
            let ours = cross_attention(&q, &k, &v, tokens, heads).unwrap();
            let gap = (ours - plain(&q, &k, &v, tokens, heads).unwrap()).unwrap();
            let worst = gap.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 2e-6, "{tokens} tokens, {heads} heads of {width}: {worst}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let vars = |shape: &[usize]| [8, 9, 10].map(|seed| random_var(shape, seed));
        finite_differences(&vars(&[10, 6]), |a| cross_attention(&a[0], &a[1], &a[2], 5, 2), 3e-3);
        finite_differences(&vars(&[18, 17]), |a| cross_attention(&a[0], &a[1], &a[2], 18, 1), 3e-3);
    }

    #[test]
    fn misshapen_operands_are_refused() {
        let (q, k) = (random_var(&[6, 4], 1), random_var(&[6, 5], 2));
        assert!(cross_attention(&q, &k, &k, 6, 1).unwrap_err().to_string().contains("differ in shape"));
        assert!(cross_attention(&q, &q, &q, 4, 1).unwrap_err().to_string().contains("4 tokens"));
    }
}
