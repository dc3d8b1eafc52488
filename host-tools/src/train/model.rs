//! A trainable ViT: named parameters, their initialisation and the forward pass.

use super::ops;
use crate::checkpoint::tensor_shapes;
use candle_core::{Result, Tensor};
use rand::Rng;
use std::collections::HashMap;
use vitreous::models::vit::{Head, Pool, VitConfig};

/// What a parameter is, which decides how it starts and whether weight decay pulls on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Matrix with this many inputs and outputs: Xavier uniform, decayed.
    Matrix(usize, usize),
    /// Learned token or position: normal with σ = 0.02 (Dosovitskiy et al., arXiv 2010.11929), not decayed.
    Token,
    /// Layer norm's gain: 1, not decayed.
    Gain,
    /// Bias: 0, not decayed.
    Bias,
}

/// One parameter, under timm's tensor name.
#[derive(Clone, Debug)]
pub struct ParameterSpec {
    /// Tensor name in timm's `vision_transformer`.
    pub name: String,
    /// Shape in timm's order, for example (outputs, inputs).
    pub shape: Vec<usize>,
    role: Role,
}

impl ParameterSpec {
    /// A parameter whose name and shape say what it is.
    pub fn new(name: String, shape: Vec<usize>) -> Self {
        ParameterSpec { role: role(&name, &shape), name, shape }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether AdamW's weight decay applies: to matrices only, not to biases, norms, tokens and positions.
    pub fn decays(&self) -> bool {
        matches!(self.role, Role::Matrix(..))
    }

    /// Starting values.
    pub fn initial(&self, rng: &mut impl Rng) -> Vec<f32> {
        match self.role {
            Role::Matrix(inputs, outputs) => {
                let bound = (6.0 / (inputs + outputs) as f32).sqrt();
                (0..self.elements()).map(|_| rng.random_range(-bound..bound)).collect()
            }
            Role::Token => (0..self.elements()).map(|_| 0.02 * standard_normal(rng)).collect(),
            Role::Gain => vec![1.0; self.elements()],
            Role::Bias => vec![0.0; self.elements()],
        }
    }
}

/// Box and Muller's transform of two uniform numbers.
fn standard_normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (core::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

/// Every parameter of a model, in the order of the forward pass.
pub fn parameters(config: &VitConfig) -> Vec<ParameterSpec> {
    tensor_shapes(config).into_iter().map(|(name, shape)| ParameterSpec::new(name, shape)).collect()
}

fn role(name: &str, shape: &[usize]) -> Role {
    match shape {
        [_] if name.ends_with(".bias") => Role::Bias,
        [_] => Role::Gain,
        [1, _, _] => Role::Token,
        _ if name.contains("position_encoding") || name.contains("query_embed") => Role::Token,
        _ => Role::Matrix(shape[1..].iter().product(), shape[0]),
    }
}

/// The parameters of one step as tensors, by name.
pub struct Weights<'a> {
    config: &'a VitConfig,
    tensors: HashMap<&'a str, Tensor>,
}

impl<'a> Weights<'a> {
    /// Pairs the config's parameters with `tensors`, which come in the order of [`parameters`].
    pub fn new(config: &'a VitConfig, specs: &'a [ParameterSpec], tensors: &[Tensor]) -> Self {
        let tensors = specs.iter().map(|s| s.name.as_str()).zip(tensors.iter().cloned()).collect();
        Weights { config, tensors }
    }

    fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| unreachable!("`parameters` lists {name}"))
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        ops::linear(x, self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")))
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (gain, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        ops::layer_norm(x, gain, bias, self.config.norm_eps)
    }

    /// Patches to tokens: `patches` is (batch·patches, channels·patch area) → (batch·tokens, dim).
    fn embed(&self, patches: &Tensor) -> Result<Tensor> {
        let c = self.config;
        let weight = self.get("patch_embed.proj.weight").reshape((c.dim, c.patch_bytes()))?;
        let x = ops::linear(patches, &weight, self.get("patch_embed.proj.bias"))?;
        let positions = self.get("pos_embed").reshape((c.tokens(), c.dim))?;
        let token = |name| self.get(name).reshape((1, c.dim));
        match (c.class_token, c.distill_token) {
            (true, true) => {
                let prefix = Tensor::cat(&[token("cls_token")?, token("dist_token")?], 0)?;
                ops::embed_tokens(&x, &prefix, &positions)
            }
            (true, false) => ops::embed_tokens(&x, &token("cls_token")?, &positions),
            (false, true) => ops::embed_tokens(&x, &token("dist_token")?, &positions),
            (false, false) => {
                x.reshape(((), c.patches(), c.dim))?.broadcast_add(&positions)?.reshape(((), c.dim))
            }
        }
    }

    /// One pre-norm block: x + Attention(Norm(x)), then x + MLP(Norm(x)).
    fn block(&self, x: &Tensor, block: usize) -> Result<Tensor> {
        let c = self.config;
        let name = |part: &str| format!("blocks.{block}.{part}");
        let qkv = self.linear(&self.norm(x, &name("norm1"))?, &name("attn.qkv"))?;
        let mixed = ops::attention(&qkv, c.tokens(), c.heads)?;
        let x = (x + self.linear(&mixed, &name("attn.proj"))?)?;
        let hidden = self.linear(&self.norm(&x, &name("norm2"))?, &name("mlp.fc1"))?;
        let hidden = ops::activation(&hidden, c.activation)?;
        x + self.linear(&hidden, &name("mlp.fc2"))?
    }

    /// Logits of every classifier, each (batch, classes): one for [`Head::Linear`], two for
    /// [`Head::Distilled`].
    pub fn forward(&self, patches: &Tensor) -> Result<Vec<Tensor>> {
        let c = self.config;
        let mut x = self.embed(patches)?;
        for block in 0..c.depth {
            x = self.block(&x, block)?;
        }
        if c.head == Head::Distilled {
            let second = c.class_token as usize;
            return Ok(vec![self.classify(&x, 0, "head")?, self.classify(&x, second, "head_dist")?]);
        }
        Ok(vec![self.classify(&x, 0, "head")?])
    }

    /// Final norm, pooling and one linear classifier; `token` is the row that [`Pool::Token`] takes.
    fn classify(&self, x: &Tensor, token: usize, head: &str) -> Result<Tensor> {
        let c = self.config;
        let mut features = match c.pool {
            // A layer norm works row by row, so only the pooled row needs it.
            Pool::Token => {
                let row = ops::pool_tokens(x, c.tokens(), token..token + 1)?;
                if c.norm_before_pool {
                    self.norm(&row, "norm")?
                } else {
                    row
                }
            }
            Pool::Mean => {
                let x = if c.norm_before_pool { self.norm(x, "norm")? } else { x.clone() };
                ops::pool_tokens(&x, c.tokens(), c.prefix_tokens()..c.tokens())?
            }
        };
        if c.norm_after_pool {
            features = self.norm(&features, "fc_norm")?;
        }
        self.linear(&features, head)
    }
}
