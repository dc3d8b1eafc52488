//! The layers of the float reference, in the framework's plain operations.
use candle_core::{Result, Tensor, D};
use vitreous::models::vit::Activation;

/// `x·Wᵀ + b`, or `x·Wᵀ`.
pub(super) struct Linear {
    /// (inputs, outputs).
    weight: Tensor,
    /// (outputs).
    bias: Option<Tensor>,
}

impl Linear {
    /// `weight` is (outputs, inputs).
    pub fn new(weight: &Tensor, bias: Tensor) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias: Some(bias) })
    }

    /// `weight` is (outputs, inputs).
    pub fn without_bias(weight: &Tensor) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias: None })
    }

    /// (…, inputs) to (…, outputs). The leading axes become one, so that it is one large matrix product.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (inputs, outputs) = self.weight.dims2()?;
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(outputs);
        let rows = x.elem_count() / inputs.max(1);
        let product = x.reshape((rows, inputs))?.matmul(&self.weight)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias)?.reshape(shape),
            None => product.reshape(shape),
        }
    }
}

/// Layer norm over the last axis (Ba et al., arXiv 1607.06450, eq. 3 and 4). The variance is taken about the
/// mean in a second pass: candle-nn's fused form, E[x²] − E[x]², cancels in f32.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(eps))?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Multi-head self-attention: (batch, tokens, 3·dim) to (batch, tokens, dim).
pub(super) fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let dim = qkv.dim(2)? / 3;
    let part = |index: usize| qkv.narrow(2, index * dim, dim);
    attend(&part(0)?, &part(1)?, &part(2)?, heads)
}

/// Multi-head attention (Vaswani et al., arXiv 1706.03762, §3.2): (batch, tokens, dim) each, and the result.
pub(super) fn attend(query: &Tensor, key: &Tensor, value: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, dim) = query.dims3()?;
    let head_dim = dim / heads;
    let split = |x: &Tensor| x.reshape((batch, x.dim(1)?, heads, head_dim))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (split(query)?, split(key)?, split(value)?); // (batch, heads, tokens, head_dim) each
    let q = (q * (1.0 / (head_dim as f64).sqrt()))?;
    let scores = q.matmul(&k.t()?)?; // (batch, heads, tokens, tokens)
    let probabilities = candle_nn::ops::softmax_last_dim(&scores)?;
    probabilities.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, dim))
}

/// A convolution that keeps the size, by zero padding: (batch, inputs, height, width) to (batch, outputs,
/// height, width).
pub(super) fn convolve(x: &Tensor, (weight, bias): &(Tensor, Tensor)) -> Result<Tensor> {
    let padding = weight.dim(3)? / 2;
    let outputs = bias.elem_count();
    x.contiguous()?.conv2d(weight, padding, 1, 1, 1)?.broadcast_add(&bias.reshape((1, outputs, 1, 1))?)
}

pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::GeluErf => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
    }
}
