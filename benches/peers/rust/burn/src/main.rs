//! burn on its flex backend, its fastest on processors that needs no compiler at run time: weights in f32 by
//! timm's names.

use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use burn::tensor::activation::gelu;
use burn::tensor::module::{attention, conv2d, layer_norm, linear};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{Device, Tensor, TensorData};
use peer_worker::{serve, Forward, Task};
use safetensors::SafeTensors;

const NORM_EPS: f64 = 1e-6;

fn main() -> ExitCode {
    serve(load)
}

fn load(task: &Task) -> Result<Forward> {
    let device = Device::flex();
    let bytes = std::fs::read(&task.model).with_context(|| format!("weights {}", task.model.display()))?;
    let vit = Vit::new(&Weights { tensors: SafeTensors::deserialize(&bytes)?, device: &device }, task.heads)?;
    let image = Tensor::<4>::from_data(TensorData::new(task.image.clone(), task.image_shape()), &device);
    Ok(Box::new(move || {
        let logits = vit.forward(image.clone()).into_data();
        logits.try_to_vec().map_err(|error| anyhow::anyhow!("{error:?}"))
    }))
}

struct Weights<'a> {
    tensors: SafeTensors<'a>,
    device: &'a Device,
}

impl Weights<'_> {
    fn values(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let view = self.tensors.tensor(name).with_context(|| name.to_string())?;
        let values =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok((values, view.shape().to_vec()))
    }

    fn get<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let (values, shape) = self.values(name)?;
        Ok(Tensor::from_data(TensorData::new(values, shape), self.device))
    }

    /// burn wants (inputs, outputs). A transposed view would be copied in every run.
    fn linear(&self, name: &str) -> Result<Linear> {
        let (values, shape) = self.values(&format!("{name}.weight"))?;
        let [outputs, inputs] = shape[..] else {
            bail!("{name}.weight has shape {shape:?}, expected two dimensions")
        };
        let transposed =
            (0..inputs * outputs).map(|at| values[at % outputs * inputs + at / outputs]).collect();
        let weight = Tensor::from_data(TensorData::new::<f32, _>(transposed, [inputs, outputs]), self.device);
        Ok(Linear { weight, bias: self.get(&format!("{name}.bias"))? })
    }

    fn norm(&self, name: &str) -> Result<Norm> {
        Ok(Norm { gain: self.get(&format!("{name}.weight"))?, offset: self.get(&format!("{name}.bias"))? })
    }
}

struct Linear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Linear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

struct Norm {
    gain: Tensor<1>,
    offset: Tensor<1>,
}

impl Norm {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, self.gain.clone(), Some(self.offset.clone()), NORM_EPS)
    }
}

struct Vit {
    kernel: Tensor<4>,
    bias: Tensor<1>,
    class: Tensor<3>,
    positions: Tensor<3>,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
}

struct Block {
    norm1: Norm,
    qkv: Linear,
    proj: Linear,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

impl Vit {
    fn new(weights: &Weights, heads: usize) -> Result<Vit> {
        let depth =
            (0..).take_while(|b| weights.tensors.tensor(&format!("blocks.{b}.norm1.weight")).is_ok()).count();
        Ok(Vit {
            kernel: weights.get("patch_embed.proj.weight")?,
            bias: weights.get("patch_embed.proj.bias")?,
            class: weights.get("cls_token")?,
            positions: weights.get("pos_embed")?,
            blocks: (0..depth)
                .map(|b| Block::new(weights, &format!("blocks.{b}"), heads))
                .collect::<Result<_>>()?,
            norm: weights.norm("norm")?,
            head: weights.linear("head")?,
        })
    }

    /// Image (1, 3, side, side) to logits (1, 1, classes).
    fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let [_, _, patch, _] = self.kernel.dims();
        let options = ConvOptions::new([patch, patch], [0, 0], [1, 1], 1);
        let embedded = conv2d(image, self.kernel.clone(), Some(self.bias.clone()), options);
        let embedded: Tensor<3> = embedded.flatten(2, 3);
        let mut x =
            Tensor::cat(vec![self.class.clone(), embedded.swap_dims(1, 2)], 1) + self.positions.clone();
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.head.forward(self.norm.forward(x.narrow(1, 0, 1)))
    }
}

impl Block {
    fn new(weights: &Weights, name: &str, heads: usize) -> Result<Block> {
        Ok(Block {
            norm1: weights.norm(&format!("{name}.norm1"))?,
            qkv: weights.linear(&format!("{name}.attn.qkv"))?,
            proj: weights.linear(&format!("{name}.attn.proj"))?,
            norm2: weights.norm(&format!("{name}.norm2"))?,
            fc1: weights.linear(&format!("{name}.mlp.fc1"))?,
            fc2: weights.linear(&format!("{name}.mlp.fc2"))?,
            heads,
        })
    }

    /// Tokens (1, tokens, dim) to tokens.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attention(self.norm1.forward(x));
        let hidden = gelu(self.fc1.forward(self.norm2.forward(x.clone())));
        x + self.fc2.forward(hidden)
    }

    fn attention(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, dim] = x.dims();
        let qkv = self.qkv.forward(x).reshape([batch, tokens, 3, self.heads, dim / self.heads]);
        // Each (batch, heads, tokens, width)
        let [q, k, v] = [0, 1, 2].map(|part| {
            let part: Tensor<4> = qkv.clone().narrow(2, part, 1).squeeze_dim(2);
            part.swap_dims(1, 2)
        });
        let attended = attention(q, k, v, None, None, AttentionModuleOptions::default());
        self.proj.forward(attended.swap_dims(1, 2).reshape([batch, tokens, dim]))
    }
}
