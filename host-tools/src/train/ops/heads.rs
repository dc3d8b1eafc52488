//! What both attentions have in common: a head's columns, and softmax with its derivative.

use super::lanes;

/// Sizes of the matrices of one head.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Tokens of an image.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Tokens, rounded up to whole vectors.
    pub padded_tokens: usize,
    /// Width, rounded up to whole vectors.
    pub padded_width: usize,
}

impl Sizes {
    /// Sizes with vectors of `padding` elements.
    pub fn new(tokens: usize, heads: usize, dim: usize, padding: usize) -> Self {
        let width = dim / heads;
        let pad = |n: usize| n.next_multiple_of(padding);
        Sizes { tokens, heads, width, padded_tokens: pad(tokens), padded_width: pad(width) }
    }

    /// Width of a token.
    pub fn dim(&self) -> usize {
        self.heads * self.width
    }

    /// 1/√d, d being the width of a head.
    pub fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// Copies the columns of one head, which start at `column` of rows of `stride`, into rows of the padded
    /// width, whose padding stays as it is.
    #[inline(always)]
    pub fn gather(&self, source: &[f32], stride: usize, column: usize, out: &mut [f32]) {
        for (row, out) in source.chunks_exact(stride).zip(out.chunks_exact_mut(self.padded_width)) {
            out[..self.width].copy_from_slice(&row[column..column + self.width]);
        }
    }

    /// Turns rows of products q·k into probabilities; padding becomes 0.
    #[inline(always)]
    pub fn softmax(&self, scores: &mut [f32]) {
        let scale = self.scale();
        for row in scores.chunks_exact_mut(self.padded_tokens) {
            let (row, padding) = row.split_at_mut(self.tokens);
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
    }

    /// Turns gradients dP of the probabilities P into those of the products q·k:
    /// P∘(dP − rowsum(P∘dP))/√d, row by row.
    #[inline(always)]
    pub fn softmax_gradient(&self, probabilities: &[f32], grads: &mut [f32]) {
        let rows = probabilities.chunks_exact(self.padded_tokens);
        for (grads, probabilities) in grads.chunks_exact_mut(self.padded_tokens).zip(rows) {
            let mean = lanes::dot(grads, probabilities);
            for (d, &p) in grads.iter_mut().zip(probabilities) {
                *d = p * (*d - mean) * self.scale();
            }
        }
    }
}
