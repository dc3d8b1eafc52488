//! The forward pass of an IPT (Chen et al., arXiv 2012.00364, §3.1) on fused operators.

use super::super::network::{Network, Output, Parameter, UNIT};
use super::{file, init, parameters::parameters};
use crate::train::ops;
use crate::train::weights::Weights;
use candle_core::{Result, Tensor};
use std::path::Path;
use vitreous::models::ipt::{IptConfig, Task, HEAD_BLOCKS};
use vitreous::models::vit::Activation;

/// A trainable IPT.
#[derive(Clone)]
pub struct Ipt {
    /// The hyperparameters.
    pub config: IptConfig,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
}

impl Ipt {
    /// The network of this configuration.
    pub fn new(config: IptConfig) -> Self {
        Ipt { parameters: parameters(&config), config }
    }
}

impl Network for Ipt {
    fn describe(&self) -> String {
        let c = &self.config;
        format!(
            "IPT window {} patch {} features {} heads {} hidden {} and {}, {}+{} layers",
            c.window,
            c.patch,
            c.features,
            c.heads,
            c.hidden,
            c.head_hidden,
            c.encoder_layers,
            c.decoder_layers
        )
    }

    fn tasks(&self) -> &[Task] {
        &self.config.tasks
    }

    fn window(&self) -> usize {
        self.config.window
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn initial_values(&self, seed: u64) -> Vec<Vec<f32>> {
        init::initial_values(&self.config, &self.parameters, seed)
    }

    fn forward(&self, weights: &Weights, x: &Tensor, task: usize) -> Result<Output> {
        Forward { config: &self.config, weights }.run(x, task)
    }

    fn save(&self, dir: &Path, name: &str, values: &[Vec<f32>]) -> anyhow::Result<()> {
        file::save(dir, name, &self.config, &self.parameters, values)
    }
}

struct Forward<'a> {
    config: &'a IptConfig,
    weights: &'a Weights<'a>,
}

impl Forward<'_> {
    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        // ε is added to a variance, which is UNIT² times smaller than in the file's units.
        self.weights.norm(x, name, self.config.norm_eps / (UNIT * UNIT))
    }

    fn run(&self, x: &Tensor, task: usize) -> Result<Output> {
        let c = self.config;
        let map = self.head(x, task)?;
        let features = self.body(&ops::unfold(&map, c.patch)?, task)?;
        let map = (ops::fold(&features, c.window, c.window, c.patch)? + map)?;
        Ok(Output { pixels: self.tail(map, task)?, features: Some(features) })
    }

    /// (batch, window, window, 3) → (batch, window, window, features).
    fn head(&self, x: &Tensor, task: usize) -> Result<Tensor> {
        let mut map = self.weights.conv(x, &format!("head.{task}.0"))?;
        for block in 1..=HEAD_BLOCKS {
            let name = format!("head.{task}.{block}.body");
            let inner = self.weights.conv_relu(&map, &format!("{name}.0"))?;
            map = (map + self.weights.conv(&inner, &format!("{name}.2"))?)?;
        }
        Ok(map)
    }

    /// Tokens → tokens, (batch·tokens, dim).
    fn body(&self, tokens: &Tensor, task: usize) -> Result<Tensor> {
        let (c, w) = (self.config, self.weights);
        let x = (w.linear(tokens, "body.linear_encoding")? + tokens)?;
        let mut x = ops::add_rows(&x, w.get("body.position_encoding.pe.weight"))?;
        for layer in 0..c.encoder_layers {
            x = self.encoder_layer(x, &format!("body.encoder.layers.{layer}"))?;
        }
        let memory = x.clone();
        let query = w.get(&format!("body.query_embed.weight.{task}"));
        for layer in 0..c.decoder_layers {
            x = self.decoder_layer(x, &memory, query, &format!("body.decoder.layers.{layer}"))?;
        }
        let hidden = ops::activation(&w.linear(&x, "body.mlp_head.0")?, Activation::Relu)?;
        w.linear(&hidden, "body.mlp_head.3")? + x
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
        let (c, w) = (self.config, self.weights);
        let project = |x, part| ops::project(x, w.get(&format!("{name}.in_proj_weight.{part}")));
        let (q, k, v) = (project(q, "q")?, project(k, "k")?, project(v, "v")?);
        let mixed = ops::cross_attention(&q, &k, &v, c.tokens(), c.heads)?;
        ops::project(&mixed, w.get(&format!("{name}.out_proj.weight")))
    }

    fn mlp(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let hidden = self.weights.linear(x, &format!("{name}.linear1"))?;
        self.weights.linear(&ops::activation(&hidden, Activation::Relu)?, &format!("{name}.linear2"))
    }

    /// (batch, window, window, features) → (batch, window·scale, window·scale, 3).
    fn tail(&self, mut map: Tensor, task: usize) -> Result<Tensor> {
        for (step, factor) in self.config.tasks[task].upsampler().iter().enumerate() {
            let larger = self.weights.conv(&map, &format!("tail.{task}.0.{}", 2 * step))?;
            map = ops::pixel_shuffle(&larger, *factor)?;
        }
        self.weights.conv(&map, &format!("tail.{task}.1"))
    }
}
