//! The layers of the float reference, in the framework's plain operations.
use candle_core::{Result, Tensor, D};
use vitreous::models::vit::Activation;

/// `x·Wᵀ + b`.
pub(super) struct Linear {
    /// (inputs, outputs).
    weight: Tensor,
    /// (outputs).
    bias: Tensor,
}

impl Linear {
    /// `weight` is (outputs, inputs).
    pub fn new(weight: &Tensor, bias: Tensor) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias })
    }

    /// (…, inputs) to (…, outputs). The leading axes become one, so that it is one large matrix product.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(0);
        shape.push(self.bias.dims1()?);
        let rows = x.elem_count() / inputs.max(1);
        x.reshape((rows, inputs))?.matmul(&self.weight)?.broadcast_add(&self.bias)?.reshape(shape)
    }
}

/// Layer norm over the last axis (Ba et al., arXiv 1607.06450, eq. 3 and 4). The variance is taken about the mean in
/// a second pass: candle-nn's fused form, E[x²] − E[x]², cancels in f32.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(eps))?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Multi-head self-attention (Vaswani et al., arXiv 1706.03762, §3.2): (batch, tokens, 3·dim) to (batch, tokens, dim).
pub(super) fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    let head_dim = width / 3 / heads;
    let qkv = qkv.reshape((batch, tokens, 3, heads, head_dim))?.permute((2, 0, 3, 1, 4))?;
    let part = |index: usize| qkv.narrow(0, index, 1)?.squeeze(0)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?); // (batch, heads, tokens, head_dim) each
    let q = (q * (1.0 / (head_dim as f64).sqrt()))?;
    let scores = q.matmul(&k.t()?)?; // (batch, heads, tokens, tokens)
    let probabilities = candle_nn::ops::softmax_last_dim(&scores)?;
    probabilities.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, heads * head_dim))
}

pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::GeluErf => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
    }
}
