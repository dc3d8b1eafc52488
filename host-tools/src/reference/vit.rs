//! Float reference of the ViT.
use super::layers::{self, attention, layer_norm, Linear};
use super::{memory, vit_bytes, ReferenceError};
use crate::checkpoint::{FloatVit, Settings};
use candle_core::{Device, Result, Tensor};
use vitreous::format::Preprocess;
use vitreous::models::vit::{Pool, VitConfig};

/// γ and β of a norm, (dim) each.
pub type NormPair = (Vec<f32>, Vec<f32>);

/// Everything that one forward pass makes.
#[derive(Clone, Debug)]
pub struct ReferenceOutput {
    /// Residual stream after the embedding and after every block: depth + 1 times (tokens, dim).
    pub hidden: Vec<Vec<f32>>,
    /// Residual stream inside every block, between attention and MLP: depth times (tokens, dim).
    pub middle: Vec<Vec<f32>>,
    /// The pooled and normalised features (dim) that the head reads. Distilled: the class token's.
    pub features: Vec<f32>,
    /// (classes); empty without a head. Distilled: the mean of both heads.
    pub logits: Vec<f32>,
}

struct Block {
    norm1: (Tensor, Tensor),
    qkv: Linear,
    proj: Linear,
    norm2: (Tensor, Tensor),
    fc1: Linear,
    fc2: Linear,
}

/// A ViT that is executed in f32.
pub struct ReferenceVit {
    config: VitConfig,
    preprocess: Preprocess,
    settings: Settings,
    source_sha256: [u8; 32],
    labels: Vec<String>,
    patch_embed: Linear,
    /// Class and distillation token, (prefix, dim).
    prefix: Option<Tensor>,
    /// (tokens, dim).
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: Option<(Tensor, Tensor)>,
    fc_norm: Option<(Tensor, Tensor)>,
    head: Option<Linear>,
    head_dist: Option<Linear>,
}

/// What a batch's pass leaves.
struct Batch {
    /// (batch, tokens, dim) each; empty where not asked for.
    hidden: Vec<Tensor>,
    /// The same.
    middle: Vec<Tensor>,
    /// (batch, dim).
    features: Tensor,
    /// (batch, classes).
    logits: Option<Tensor>,
}

impl ReferenceVit {
    /// Takes over the weights of `model`.
    pub fn new(model: &FloatVit) -> std::result::Result<Self, ReferenceError> {
        Ok(Self::build(model)?)
    }

    fn build(model: &FloatVit) -> Result<Self> {
        let config = model.config;
        let get = |name: &str| -> Result<Option<Tensor>> {
            let Some(tensor) = model.get(name) else { return Ok(None) };
            Tensor::from_slice(&tensor.data, tensor.shape.as_slice(), &Device::Cpu).map(Some)
        };
        let pair = |name: &str| -> Result<Option<(Tensor, Tensor)>> {
            Ok(get(&format!("{name}.weight"))?.zip(get(&format!("{name}.bias"))?))
        };
        let needed = |name: &str| -> Result<(Tensor, Tensor)> {
            pair(name)?.ok_or_else(|| candle_core::Error::msg(format!("{}: no layer `{name}`", model.name)))
        };
        let linear = |name: &str| needed(name).and_then(|(weight, bias)| Linear::new(&weight, bias));
        let block = |index: usize| -> Result<Block> {
            let name = |layer: &str| format!("blocks.{index}.{layer}");
            Ok(Block {
                norm1: needed(&name("norm1"))?,
                qkv: linear(&name("attn.qkv"))?,
                proj: linear(&name("attn.proj"))?,
                norm2: needed(&name("norm2"))?,
                fc1: linear(&name("mlp.fc1"))?,
                fc2: linear(&name("mlp.fc2"))?,
            })
        };
        let prefix: Vec<_> = [get("cls_token")?, get("dist_token")?].into_iter().flatten().collect();
        let prefix = prefix.iter().map(|t| t.reshape((1, config.dim))).collect::<Result<Vec<_>>>()?;
        let pos_embed = get("pos_embed")?.ok_or_else(|| candle_core::Error::msg("no `pos_embed`"))?;
        Ok(Self {
            config,
            preprocess: model.preprocess,
            settings: model.settings.clone(),
            source_sha256: model.source_sha256,
            labels: model.labels.clone(),
            // (dim, channels, patch height, patch width): a patch is flattened in the same order, see
            // `patches`.
            patch_embed: {
                let (weight, bias) = needed("patch_embed.proj")?;
                Linear::new(&weight.flatten_from(1)?, bias)?
            },
            prefix: if prefix.is_empty() { None } else { Some(Tensor::cat(&prefix, 0)?) },
            pos_embed: pos_embed.squeeze(0)?,
            blocks: (0..config.depth).map(block).collect::<Result<_>>()?,
            norm: pair("norm")?,
            fc_norm: pair("fc_norm")?,
            head: pair("head")?.map(|(weight, bias)| Linear::new(&weight, bias)).transpose()?,
            head_dist: pair("head_dist")?.map(|(weight, bias)| Linear::new(&weight, bias)).transpose()?,
        })
    }

    /// The model's hyperparameters.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// How images are prepared.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Where the values come from that the weights do not say.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One label per class, or none.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// SHA-256 of the file that the weights come from; zeros for weights from memory.
    pub fn source_sha256(&self) -> [u8; 32] {
        self.source_sha256
    }

    /// γ and β of the norm that makes the features, (dim) each; `None` if there is none.
    pub fn last_norm(&self) -> std::result::Result<Option<NormPair>, ReferenceError> {
        let Some((gamma, beta)) = self.fc_norm.as_ref().or(self.norm.as_ref()) else { return Ok(None) };
        Ok(Some((gamma.to_vec1()?, beta.to_vec1()?)))
    }

    /// Values of one image: height · width · channels.
    pub fn input_len(&self) -> usize {
        self.config.image_height * self.config.image_width * self.config.channels
    }

    /// `(pixel/255 − mean)/std` per channel: (height, width, channels) u8 to (channels, height, width) f32.
    pub fn normalise(&self, pixels: &[u8]) -> Vec<f32> {
        let channels = self.config.channels;
        let Preprocess { mean, std, .. } = self.preprocess;
        let channel = |c: usize| {
            pixels
                .iter()
                .skip(c)
                .step_by(channels)
                .map(move |&pixel| (f32::from(pixel) / 255.0 - mean[c]) / std[c])
        };
        (0..channels).flat_map(channel).collect()
    }

    /// One image of the model's size: pixels (height, width, channels).
    pub fn forward(&self, pixels: &[u8]) -> std::result::Result<ReferenceOutput, ReferenceError> {
        self.check_len(0, pixels.len(), self.input_len())?;
        self.forward_normalised(&self.normalise(pixels))
    }

    /// One normalised image (channels, height, width).
    pub fn forward_normalised(&self, input: &[f32]) -> std::result::Result<ReferenceOutput, ReferenceError> {
        self.check_len(0, input.len(), self.input_len())?;
        memory::check(vit_bytes(&self.config))?;
        let batch = self.run(input, 1, true)?;
        let all = |kept: &[Tensor]| kept.iter().map(|t| t.flatten_all()?.to_vec1()).collect::<Result<_>>();
        let (hidden, middle) = (all(&batch.hidden)?, all(&batch.middle)?);
        let features = batch.features.flatten_all()?.to_vec1()?;
        let logits = batch.logits.map(|t| t.flatten_all()?.to_vec1()).transpose()?.unwrap_or_default();
        Ok(ReferenceOutput { hidden, middle, features, logits })
    }

    /// The logits of several images (height, width, channels), or their features where the model has no head.
    /// Batches of 8 to 32 are fastest.
    pub fn logits_batch(&self, images: &[&[u8]]) -> std::result::Result<Vec<Vec<f32>>, ReferenceError> {
        let mut input = Vec::with_capacity(images.len() * self.input_len());
        for (index, pixels) in images.iter().enumerate() {
            self.check_len(index, pixels.len(), self.input_len())?;
            input.extend(self.normalise(pixels));
        }
        self.logits_batch_normalised(&input, images.len())
    }

    /// [`logits_batch`](Self::logits_batch) on normalised images (batch, channels, height, width).
    pub fn logits_batch_normalised(
        &self,
        input: &[f32],
        batch: usize,
    ) -> std::result::Result<Vec<Vec<f32>>, ReferenceError> {
        self.check_len(0, input.len(), batch * self.input_len())?;
        if batch == 0 {
            return Ok(vec![]);
        }
        memory::check(memory::vit_bytes_of_outputs(&self.config).saturating_mul(batch as u64))?;
        let result = self.run(input, batch, false)?;
        Ok(result.logits.unwrap_or(result.features).to_vec2()?)
    }

    fn check_len(
        &self,
        index: usize,
        found: usize,
        expected: usize,
    ) -> std::result::Result<(), ReferenceError> {
        if found == expected {
            return Ok(());
        }
        Err(ReferenceError::InputLength { index, found, expected })
    }

    /// `input` is (batch, channels, height, width).
    fn run(&self, input: &[f32], batch: usize, keep_hidden: bool) -> Result<Batch> {
        let config = &self.config;
        let (mut hidden, mut middle) = (Vec::new(), Vec::new());
        let mut x = self.embed(input, batch)?; // (batch, tokens, dim)
        for block in &self.blocks {
            if keep_hidden {
                hidden.push(x.clone());
            }
            let y = self.norm(&x, &block.norm1)?;
            let qkv = block.qkv.forward(&y)?; // (batch, tokens, 3·dim)
            let y = attention(&qkv, config.heads)?; // (batch, tokens, dim)
            x = (x + block.proj.forward(&y)?)?;
            if keep_hidden {
                middle.push(x.clone());
            }
            let y = self.norm(&x, &block.norm2)?;
            let y = layers::activate(&block.fc1.forward(&y)?, config.activation)?; // (batch, tokens, hidden)
            x = (x + block.fc2.forward(&y)?)?;
        }
        if keep_hidden {
            hidden.push(x.clone());
        }
        let (features, logits) = self.classify(&x)?;
        Ok(Batch { hidden, middle, features, logits })
    }

    /// Patches to tokens: (batch, channels, height, width) to (batch, tokens, dim).
    fn embed(&self, input: &[f32], batch: usize) -> Result<Tensor> {
        let c = &self.config;
        let (rows, columns) = (c.image_height / c.patch_height, c.image_width / c.patch_width);
        let split = [batch, c.channels, rows, c.patch_height, columns, c.patch_width];
        let patches = Tensor::from_slice(input, split.as_slice(), &Device::Cpu)?
            .permute([0, 2, 4, 1, 3, 5].as_slice())?
            .reshape((batch, rows * columns, c.patch_bytes()))?;
        let tokens = self.patch_embed.forward(&patches)?;
        let tokens = match &self.prefix {
            None => tokens,
            Some(prefix) => {
                let prefix = prefix.unsqueeze(0)?.broadcast_as((batch, c.prefix_tokens(), c.dim))?;
                Tensor::cat(&[&prefix.contiguous()?, &tokens], 1)?
            }
        };
        tokens.broadcast_add(&self.pos_embed)
    }

    /// (batch, tokens, dim) to features (batch, dim) and logits (batch, classes).
    fn classify(&self, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let prefix = self.config.prefix_tokens();
        let x = self.optional_norm(x, &self.norm)?;
        let pooled = match self.config.pool {
            Pool::Token => x.narrow(1, 0, 1)?.squeeze(1)?,
            Pool::Mean => x.narrow(1, prefix, self.config.patches())?.mean(1)?,
        };
        let features = self.optional_norm(&pooled, &self.fc_norm)?;
        let Some(head) = &self.head else { return Ok((features, None)) };
        let logits = head.forward(&features)?;
        let logits = match (&self.head_dist, self.config.second_head_token()) {
            (Some(head_dist), Some(token)) => {
                let row = x.narrow(1, token, 1)?.squeeze(1)?;
                ((logits + head_dist.forward(&row)?)? * 0.5)?
            }
            _ => logits,
        };
        Ok((features, Some(logits)))
    }

    fn norm(&self, x: &Tensor, (weight, bias): &(Tensor, Tensor)) -> Result<Tensor> {
        layer_norm(x, weight, bias, self.config.norm_eps)
    }

    fn optional_norm(&self, x: &Tensor, norm: &Option<(Tensor, Tensor)>) -> Result<Tensor> {
        match norm {
            Some(norm) => self.norm(&x.contiguous()?, norm),
            None => Ok(x.clone()),
        }
    }
}
