//! candle: the ViT from candle-nn's layers, weights in f32 by timm's names.

use std::process::ExitCode;

use anyhow::Result;
use candle_core::{DType, Device, IndexOp, Module, Tensor, D};
use candle_nn::{conv2d, layer_norm, linear, Conv2d, Conv2dConfig, LayerNorm, Linear, VarBuilder};
use peer_worker::{serve, Forward, Task};

const NORM_EPS: f64 = 1e-6;

fn main() -> ExitCode {
    serve(load)
}

fn load(task: &Task) -> Result<Forward> {
    let device = Device::Cpu;
    let tensors = candle_core::safetensors::load(&task.model, &device)?;
    let vit = Vit::new(&tensors, task.heads, &device)?;
    let image = Tensor::from_slice(&task.image, &task.image_shape(), &device)?;
    Ok(Box::new(move || Ok(vit.forward(&image)?.squeeze(0)?.to_vec1()?)))
}

struct Vit {
    patches: Conv2d,
    class: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

type Tensors = std::collections::HashMap<String, Tensor>;

impl Vit {
    fn new(tensors: &Tensors, heads: usize, device: &Device) -> candle_core::Result<Vit> {
        let weights = VarBuilder::from_tensors(tensors.clone(), DType::F32, device);
        let (dim, channels, patch, _) = weights.get_unchecked("patch_embed.proj.weight")?.dims4()?;
        let (hidden, _) = weights.get_unchecked("blocks.0.mlp.fc1.weight")?.dims2()?;
        let (classes, _) = weights.get_unchecked("head.weight")?.dims2()?;
        let depth =
            (0..).take_while(|b| weights.contains_tensor(&format!("blocks.{b}.norm1.weight"))).count();
        let config = Conv2dConfig { stride: patch, ..Default::default() };
        Ok(Vit {
            patches: conv2d(channels, dim, patch, config, weights.pp("patch_embed.proj"))?,
            class: weights.get_unchecked("cls_token")?,
            positions: weights.get_unchecked("pos_embed")?,
            blocks: (0..depth)
                .map(|b| Block::new(weights.pp("blocks").pp(b), dim, hidden, heads))
                .collect::<candle_core::Result<_>>()?,
            norm: layer_norm(dim, NORM_EPS, weights.pp("norm"))?,
            head: linear(dim, classes, weights.pp("head"))?,
        })
    }

    /// Image (1, 3, side, side) to logits (1, classes).
    fn forward(&self, image: &Tensor) -> candle_core::Result<Tensor> {
        let embedded = self.patches.forward(image)?.flatten_from(2)?.transpose(1, 2)?;
        let mut x = (Tensor::cat(&[&self.class, &embedded], 1)? + &self.positions)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&self.norm.forward(&x.i((.., 0))?.contiguous()?)?)
    }
}

impl Block {
    fn new(weights: VarBuilder, dim: usize, hidden: usize, heads: usize) -> candle_core::Result<Block> {
        Ok(Block {
            norm1: layer_norm(dim, NORM_EPS, weights.pp("norm1"))?,
            qkv: linear(dim, 3 * dim, weights.pp("attn.qkv"))?,
            proj: linear(dim, dim, weights.pp("attn.proj"))?,
            norm2: layer_norm(dim, NORM_EPS, weights.pp("norm2"))?,
            fc1: linear(dim, hidden, weights.pp("mlp.fc1"))?,
            fc2: linear(hidden, dim, weights.pp("mlp.fc2"))?,
            heads,
        })
    }

    /// Tokens (1, tokens, dim) to tokens.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = (x + self.attention(&self.norm1.forward(x)?)?)?;
        let hidden = self.fc1.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        &x + self.fc2.forward(&hidden)?
    }

    fn attention(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, tokens, dim) = x.dims3()?;
        let width = dim / self.heads;
        // (3, batch, heads, tokens, width)
        let qkv =
            self.qkv.forward(x)?.reshape((batch, tokens, 3, self.heads, width))?.permute((2, 0, 3, 1, 4))?;
        let q = (qkv.i(0)?.contiguous()? * (width as f64).powf(-0.5))?;
        let (k, v) = (qkv.i(1)?.contiguous()?, qkv.i(2)?.contiguous()?);
        let shares = candle_nn::ops::softmax_last_dim(&q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?)?;
        let attended = shares.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, dim))?;
        self.proj.forward(&attended)
    }
}
