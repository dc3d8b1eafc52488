//! The forward pass of an IPT (Chen et al., arXiv 2012.00364, §3.1) on fused operators.

use super::super::ops;
use super::parameters::{Parameter, UNIT};
use candle_core::{Result, Tensor};
use std::collections::HashMap;
use vitreous::models::ipt::{IptConfig, HEAD_BLOCKS};
use vitreous::models::vit::Activation;

/// The parameters of one step as tensors, by name.
pub struct Weights<'a> {
    config: &'a IptConfig,
    tensors: HashMap<&'a str, Tensor>,
}

/// What a forward pass gives.
pub struct Output {
    /// Restored pixels in trained units, mean subtracted: (batch, window·scale, window·scale, 3).
    pub pixels: Tensor,
    /// The body's tokens before they are folded, which the contrastive loss compares: (batch·tokens, dim).
    pub features: Tensor,
}

impl<'a> Weights<'a> {
    /// Parameters with their tensors; those of other tasks may be missing.
    pub fn new(config: &'a IptConfig, tensors: impl Iterator<Item = (&'a Parameter, Tensor)>) -> Self {
        Weights { config, tensors: tensors.map(|(p, t)| (p.spec.name.as_str(), t)).collect() }
    }

    fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| unreachable!("`parameters` lists {name}"))
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        ops::linear(x, self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")))
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (gain, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        // ε is added to a variance, which is UNIT² times smaller than in the file's units.
        ops::layer_norm(x, gain, bias, self.config.norm_eps / (UNIT * UNIT))
    }

    fn conv(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        ops::conv2d(x, self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")))
    }

    fn conv_relu(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        ops::conv2d_relu(x, self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")))
    }

    /// `x` (batch, window, window, 3), mean subtracted, restored for `task`.
    pub fn forward(&self, x: &Tensor, task: usize) -> Result<Output> {
        let c = self.config;
        let map = self.head(x, task)?;
        let features = self.body(&ops::unfold(&map, c.patch)?, task)?;
        let map = (ops::fold(&features, c.window, c.window, c.patch)? + map)?;
        Ok(Output { pixels: self.tail(map, task)?, features })
    }

    /// (batch, window, window, 3) → (batch, window, window, features).
    fn head(&self, x: &Tensor, task: usize) -> Result<Tensor> {
        let mut map = self.conv(x, &format!("head.{task}.0"))?;
        for block in 1..=HEAD_BLOCKS {
            let name = format!("head.{task}.{block}.body");
            let inner = self.conv_relu(&map, &format!("{name}.0"))?;
            map = (map + self.conv(&inner, &format!("{name}.2"))?)?;
        }
        Ok(map)
    }

    /// Tokens → tokens, (batch·tokens, dim).
    fn body(&self, tokens: &Tensor, task: usize) -> Result<Tensor> {
        let c = self.config;
        let x = (self.linear(tokens, "body.linear_encoding")? + tokens)?;
        let mut x = ops::add_rows(&x, self.get("body.position_encoding.pe.weight"))?;
        for layer in 0..c.encoder_layers {
            x = self.encoder_layer(x, &format!("body.encoder.layers.{layer}"))?;
        }
        let memory = x.clone();
        let query = self.get(&format!("body.query_embed.weight.{task}"));
        for layer in 0..c.decoder_layers {
            x = self.decoder_layer(x, &memory, query, &format!("body.decoder.layers.{layer}"))?;
        }
        let hidden = ops::activation(&self.linear(&x, "body.mlp_head.0")?, Activation::Relu)?;
        self.linear(&hidden, "body.mlp_head.3")? + x
    }

    fn encoder_layer(&self, x: Tensor, name: &str) -> Result<Tensor> {
        let normal = self.norm(&x, &format!("{name}.norm1"))?;
        let x = (&x + self.attention(&normal, &normal, &normal, &format!("{name}.self_attn"))?)?;
        let normal = self.norm(&x, &format!("{name}.norm2"))?;
        &x + self.mlp(&normal, name)?
    }

    /// The task's query is added to what asks, and in the self-attention to what is asked.
    fn decoder_layer(&self, x: Tensor, memory: &Tensor, query: &Tensor, name: &str) -> Result<Tensor> {
        let normal = self.norm(&x, &format!("{name}.norm1"))?;
        let asking = ops::add_rows(&normal, query)?;
        let x = (&x + self.attention(&asking, &asking, &normal, &format!("{name}.self_attn"))?)?;
        let asking = ops::add_rows(&self.norm(&x, &format!("{name}.norm2"))?, query)?;
        let x = (&x + self.attention(&asking, memory, memory, &format!("{name}.multihead_attn"))?)?;
        let normal = self.norm(&x, &format!("{name}.norm3"))?;
        &x + self.mlp(&normal, name)?
    }

    fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor, name: &str) -> Result<Tensor> {
        let c = self.config;
        let project = |x, part| ops::project(x, self.get(&format!("{name}.in_proj_weight.{part}")));
        let (q, k, v) = (project(q, "q")?, project(k, "k")?, project(v, "v")?);
        let mixed = ops::cross_attention(&q, &k, &v, c.tokens(), c.heads)?;
        ops::project(&mixed, self.get(&format!("{name}.out_proj.weight")))
    }

    fn mlp(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let hidden = ops::activation(&self.linear(x, &format!("{name}.linear1"))?, Activation::Relu)?;
        self.linear(&hidden, &format!("{name}.linear2"))
    }

    /// (batch, window, window, features) → (batch, window·scale, window·scale, 3).
    fn tail(&self, mut map: Tensor, task: usize) -> Result<Tensor> {
        for (step, factor) in self.config.tasks[task].upsampler().iter().enumerate() {
            map = ops::pixel_shuffle(&self.conv(&map, &format!("tail.{task}.0.{}", 2 * step))?, *factor)?;
        }
        self.conv(&map, &format!("tail.{task}.1"))
    }
}
