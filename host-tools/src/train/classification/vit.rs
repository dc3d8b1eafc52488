//! The forward pass of a ViT (Dosovitskiy et al., arXiv 2010.11929, eq. 1 to 4) on fused operators, with
//! timm's tensor names.

use crate::checkpoint::tensor_shapes;
use crate::train::ops;
use crate::train::parameter::ParameterSpec;
use crate::train::weights::Weights;
use candle_core::{Result, Tensor};
use vitreous::models::vit::{Head, Pool, VitConfig};

/// Every parameter of a model, in the order of the forward pass.
pub fn parameters(config: &VitConfig) -> Vec<ParameterSpec> {
    tensor_shapes(config).into_iter().map(|(name, shape)| ParameterSpec::new(name, shape)).collect()
}

/// Logits of every classifier, each (batch, classes), from patches (batch·patches, channels·patch area).
/// [`Head::Linear`] has one classifier, [`Head::Distilled`] two.
pub fn logits(config: &VitConfig, weights: &Weights, patches: &Tensor) -> Result<Vec<Tensor>> {
    Forward { config, weights }.run(patches)
}

struct Forward<'a> {
    config: &'a VitConfig,
    weights: &'a Weights<'a>,
}

impl Forward<'_> {
    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        self.weights.norm(x, name, self.config.norm_eps)
    }

    /// Patches to tokens: `patches` is (batch·patches, channels·patch area) → (batch·tokens, dim).
    fn embed(&self, patches: &Tensor) -> Result<Tensor> {
        let c = self.config;
        let weight = self.weights.get("patch_embed.proj.weight").reshape((c.dim, c.patch_bytes()))?;
        let x = ops::linear(patches, &weight, self.weights.get("patch_embed.proj.bias"))?;
        let positions = self.weights.get("pos_embed").reshape((c.tokens(), c.dim))?;
        let token = |name| self.weights.get(name).reshape((1, c.dim));
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
        let qkv = self.weights.linear(&self.norm(x, &name("norm1"))?, &name("attn.qkv"))?;
        let mixed = ops::attention(&qkv, c.tokens(), c.heads)?;
        let x = (x + self.weights.linear(&mixed, &name("attn.proj"))?)?;
        let hidden = self.weights.linear(&self.norm(&x, &name("norm2"))?, &name("mlp.fc1"))?;
        let hidden = ops::activation(&hidden, c.activation)?;
        x + self.weights.linear(&hidden, &name("mlp.fc2"))?
    }

    fn run(&self, patches: &Tensor) -> Result<Vec<Tensor>> {
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
        self.weights.linear(&features, head)
    }
}
