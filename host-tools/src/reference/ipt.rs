//! Float reference of the IPT: plain framework operations on f32, independent of the engine's and the
//! trainer's code.
use super::layers::{attend, convolve, layer_norm, Linear};
use super::{ipt_bytes, memory, ReferenceError};
use crate::checkpoint::ipt::{FloatIpt, RGB_MEAN};
use candle_core::{Device, Result, Tensor};
use vitreous::models::ipt::{IptConfig, Task, COLOURS, HEAD_BLOCKS};

/// What one window's pass leaves, for comparisons stage by stage.
#[derive(Clone, Debug)]
pub struct IptStages {
    /// The head's output, (features, window, window).
    pub head: Vec<f32>,
    /// Residual stream after each layer of the encoder, (tokens, dim).
    pub encoder: Vec<Vec<f32>>,
    /// Residual stream after each layer of the decoder, (tokens, dim).
    pub decoder: Vec<Vec<f32>>,
    /// The body's output plus the head's, (features, window, window): what the tail reads.
    pub body: Vec<f32>,
    /// The restored window, (3, scale·window, scale·window), pixels of 0..255, neither rounded nor clamped.
    pub output: Vec<f32>,
}

/// Weights and biases of a convolution or a norm.
type Pair = (Tensor, Tensor);

struct Head {
    first: Pair,
    /// Two convolutions each.
    blocks: Vec<[Pair; 2]>,
}

struct Tail {
    /// Convolutions with the factor of the pixel shuffle behind each.
    upsampler: Vec<(Pair, usize)>,
    last: Pair,
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
}

struct Mlp {
    first: Linear,
    second: Linear,
}

struct EncoderLayer {
    norm1: Pair,
    attention: Attention,
    norm2: Pair,
    mlp: Mlp,
}

struct DecoderLayer {
    norm1: Pair,
    self_attention: Attention,
    norm2: Pair,
    cross_attention: Attention,
    norm3: Pair,
    mlp: Mlp,
}

/// An IPT that is executed in f32.
pub struct ReferenceIpt {
    config: IptConfig,
    heads: Vec<Head>,
    linear_encoding: Linear,
    /// (tokens, dim).
    positions: Tensor,
    encoder: Vec<EncoderLayer>,
    /// (tasks, tokens, dim).
    queries: Tensor,
    decoder: Vec<DecoderLayer>,
    mlp_head: Mlp,
    tails: Vec<Tail>,
}

/// Finds a model's tensors.
struct Weights<'a>(&'a FloatIpt);

impl Weights<'_> {
    fn get(&self, name: &str) -> Result<Tensor> {
        let tensor = self.0.tensors.get(name);
        let tensor =
            tensor.ok_or_else(|| candle_core::Error::msg(format!("{}: no tensor `{name}`", self.0.name)))?;
        Tensor::from_slice(&tensor.data, tensor.shape.as_slice(), &Device::Cpu)
    }

    fn pair(&self, name: &str) -> Result<Pair> {
        Ok((self.get(&format!("{name}.weight"))?, self.get(&format!("{name}.bias"))?))
    }

    fn linear(&self, name: &str) -> Result<Linear> {
        let (weight, bias) = self.pair(name)?;
        Linear::new(&weight, bias)
    }

    fn mlp(&self, first: &str, second: &str) -> Result<Mlp> {
        Ok(Mlp { first: self.linear(first)?, second: self.linear(second)? })
    }

    fn attention(&self, name: &str) -> Result<Attention> {
        let packed = self.get(&format!("{name}.in_proj_weight"))?;
        let dim = packed.dim(1)?;
        let part = |index: usize| Linear::without_bias(&packed.narrow(0, index * dim, dim)?);
        let out = Linear::without_bias(&self.get(&format!("{name}.out_proj.weight"))?)?;
        Ok(Attention { query: part(0)?, key: part(1)?, value: part(2)?, out })
    }

    fn head(&self, task: usize) -> Result<Head> {
        let block = |block: usize| -> Result<[Pair; 2]> {
            let name = format!("head.{task}.{block}.body");
            Ok([self.pair(&format!("{name}.0"))?, self.pair(&format!("{name}.2"))?])
        };
        let blocks = (1..=HEAD_BLOCKS).map(block).collect::<Result<_>>()?;
        Ok(Head { first: self.pair(&format!("head.{task}.0"))?, blocks })
    }

    fn tail(&self, index: usize, task: &Task) -> Result<Tail> {
        let step = |(step, factor): (usize, &usize)| -> Result<(Pair, usize)> {
            Ok((self.pair(&format!("tail.{index}.0.{}", 2 * step))?, *factor))
        };
        let upsampler = task.upsampler().iter().enumerate().map(step).collect::<Result<_>>()?;
        Ok(Tail { upsampler, last: self.pair(&format!("tail.{index}.1"))? })
    }

    fn encoder_layer(&self, index: usize) -> Result<EncoderLayer> {
        let name = |part: &str| format!("body.encoder.layers.{index}.{part}");
        Ok(EncoderLayer {
            norm1: self.pair(&name("norm1"))?,
            attention: self.attention(&name("self_attn"))?,
            norm2: self.pair(&name("norm2"))?,
            mlp: self.mlp(&name("linear1"), &name("linear2"))?,
        })
    }

    fn decoder_layer(&self, index: usize) -> Result<DecoderLayer> {
        let name = |part: &str| format!("body.decoder.layers.{index}.{part}");
        Ok(DecoderLayer {
            norm1: self.pair(&name("norm1"))?,
            self_attention: self.attention(&name("self_attn"))?,
            norm2: self.pair(&name("norm2"))?,
            cross_attention: self.attention(&name("multihead_attn"))?,
            norm3: self.pair(&name("norm3"))?,
            mlp: self.mlp(&name("linear1"), &name("linear2"))?,
        })
    }
}

/// What a batch's pass keeps.
#[derive(Default)]
struct Kept {
    head: Option<Tensor>,
    encoder: Vec<Tensor>,
    decoder: Vec<Tensor>,
    body: Option<Tensor>,
}

impl ReferenceIpt {
    /// Takes over the weights of `model`.
    ///
    /// # Errors
    /// The framework's own.
    pub fn new(model: &FloatIpt) -> std::result::Result<Self, ReferenceError> {
        Ok(Self::build(model)?)
    }

    fn build(model: &FloatIpt) -> Result<Self> {
        let (c, weights) = (&model.config, Weights(model));
        let tails = c.tasks.iter().enumerate().map(|(index, task)| weights.tail(index, task));
        Ok(Self {
            heads: (0..c.tasks.len()).map(|task| weights.head(task)).collect::<Result<_>>()?,
            linear_encoding: weights.linear("body.linear_encoding")?,
            positions: weights.get("body.position_encoding.pe.weight")?,
            encoder: (0..c.encoder_layers).map(|i| weights.encoder_layer(i)).collect::<Result<_>>()?,
            queries: weights.get("body.query_embed.weight")?.reshape((c.tasks.len(), c.tokens(), c.dim()))?,
            decoder: (0..c.decoder_layers).map(|i| weights.decoder_layer(i)).collect::<Result<_>>()?,
            mlp_head: weights.mlp("body.mlp_head.0", "body.mlp_head.3")?,
            tails: tails.collect::<Result<_>>()?,
            config: c.clone(),
        })
    }

    /// The model's hyperparameters.
    pub fn config(&self) -> &IptConfig {
        &self.config
    }

    /// Values of one window: window · window · 3.
    pub fn input_len(&self) -> usize {
        self.config.window * self.config.window * COLOURS
    }

    /// Restores windows (batch, window, window, 3) of 8-bit pixels: (batch, side, side, 3) with side =
    /// scale·window, pixels of 0..255, neither rounded nor clamped. Batches of 8 to 32 are fastest.
    ///
    /// # Errors
    /// No such task; no whole number of windows.
    pub fn restore(&self, windows: &[u8], task: &Task) -> std::result::Result<Vec<f32>, ReferenceError> {
        let task = self.task_index(task)?;
        let batch = windows.len() / self.input_len();
        if windows.len() != batch * self.input_len() {
            let found = windows.len() % self.input_len();
            return Err(ReferenceError::InputLength { index: batch, found, expected: self.input_len() });
        }
        if batch == 0 {
            return Ok(vec![]);
        }
        memory::check(memory::ipt_bytes_of_outputs(&self.config).saturating_mul(batch as u64))?;
        let output = self.run(windows, batch, task, None)?;
        Ok(output.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()?)
    }

    /// One window (window, window, 3) with what each stage makes of it.
    ///
    /// # Errors
    /// No such task; a window of another size.
    pub fn stages(&self, window: &[u8], task: &Task) -> std::result::Result<IptStages, ReferenceError> {
        let task = self.task_index(task)?;
        if window.len() != self.input_len() {
            let expected = self.input_len();
            return Err(ReferenceError::InputLength { index: 0, found: window.len(), expected });
        }
        memory::check(ipt_bytes(&self.config))?;
        let mut kept = Kept::default();
        let output = self.run(window, 1, task, Some(&mut kept))?;
        let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1();
        let all = |tensors: &[Tensor]| tensors.iter().map(flat).collect::<Result<Vec<Vec<f32>>>>();
        let one = |tensor: &Option<Tensor>| tensor.as_ref().map_or(Ok(vec![]), flat);
        Ok(IptStages {
            head: one(&kept.head)?,
            encoder: all(&kept.encoder)?,
            decoder: all(&kept.decoder)?,
            body: one(&kept.body)?,
            output: flat(&output)?,
        })
    }

    fn task_index(&self, task: &Task) -> std::result::Result<usize, ReferenceError> {
        self.config.tasks.iter().position(|t| t == task).ok_or_else(|| {
            let known: Vec<_> = self.config.tasks.iter().map(Task::to_string).collect();
            ReferenceError::Task { task: task.to_string(), known: known.join(", ") }
        })
    }

    /// (batch, window, window, 3) to (batch, 3, side, side).
    fn run(&self, windows: &[u8], batch: usize, task: usize, mut kept: Option<&mut Kept>) -> Result<Tensor> {
        let side = self.config.window;
        let mean = RGB_MEAN.map(|mean| 255.0 * mean);
        let values = windows.iter().zip((0..COLOURS).cycle()).map(|(p, c)| f32::from(*p) - mean[c]).collect();
        let input = Tensor::from_vec(values, (batch, side, side, COLOURS), &Device::Cpu)?;
        // (batch, features, window, window)
        let head = self.head(&input.permute((0, 3, 1, 2))?.contiguous()?, task)?;
        let x = self.unfold(&head)?; // (batch, tokens, dim)
        let x = self.encode(&x, &mut kept)?;
        let x = self.decode(&x, task, &mut kept)?;
        let x = (self.mlp_head.forward(&x)? + x)?;
        let maps = (self.fold(&x)? + &head)?;
        if let Some(kept) = kept {
            (kept.head, kept.body) = (Some(head), Some(maps.clone()));
        }
        let mean = Tensor::new(&mean, &Device::Cpu)?.reshape((1, COLOURS, 1, 1))?;
        self.tail(&maps, task)?.broadcast_add(&mean)
    }

    /// A convolution, then residual blocks (§3.1 of the paper; the blocks of Lim et al., arXiv 1707.02921,
    /// without their factor).
    fn head(&self, input: &Tensor, task: usize) -> Result<Tensor> {
        let head = &self.heads[task];
        let mut x = convolve(input, &head.first)?;
        for [first, second] in &head.blocks {
            let y = convolve(&x, first)?.relu()?;
            x = (x + convolve(&y, second)?)?;
        }
        Ok(x)
    }

    fn tail(&self, maps: &Tensor, task: usize) -> Result<Tensor> {
        let tail = &self.tails[task];
        let mut x = maps.clone();
        for (convolution, factor) in &tail.upsampler {
            x = candle_nn::ops::pixel_shuffle(&convolve(&x, convolution)?, *factor)?;
        }
        convolve(&x, &tail.last)
    }

    /// Patches to tokens, each in the order channel, row, column: (batch, features, window, window) to
    /// (batch, tokens, dim).
    fn unfold(&self, maps: &Tensor) -> Result<Tensor> {
        let IptConfig { features, patch, .. } = self.config;
        let (batch, columns) = (maps.dim(0)?, self.config.token_columns());
        maps.reshape([batch, features, columns, patch, columns, patch].as_slice())?
            .permute([0, 2, 4, 1, 3, 5].as_slice())?
            .reshape((batch, columns * columns, self.config.dim()))
    }

    /// The inverse of [`unfold`](Self::unfold).
    fn fold(&self, tokens: &Tensor) -> Result<Tensor> {
        let IptConfig { features, patch, window, .. } = self.config;
        let (batch, columns) = (tokens.dim(0)?, self.config.token_columns());
        tokens
            .reshape([batch, columns, columns, features, patch, patch].as_slice())?
            .permute([0, 3, 1, 4, 2, 5].as_slice())?
            .reshape((batch, features, window, window))
    }

    /// Equation 2 of the paper, without biases in attention.
    fn encode(&self, x: &Tensor, kept: &mut Option<&mut Kept>) -> Result<Tensor> {
        let x = (self.linear_encoding.forward(x)? + x)?;
        let mut x = x.broadcast_add(&self.positions)?;
        for layer in &self.encoder {
            let y = self.norm(&x, &layer.norm1)?;
            x = (x + layer.attention.forward(&y, &y, &y, self.config.heads)?)?;
            x = (&x + layer.mlp.forward(&self.norm(&x, &layer.norm2)?)?)?;
            if let Some(kept) = kept {
                kept.encoder.push(x.clone());
            }
        }
        Ok(x)
    }

    /// Equation 3 of the paper: the decoder begins with the encoder's output, which its cross-attention reads
    /// as well.
    fn decode(&self, memory: &Tensor, task: usize, kept: &mut Option<&mut Kept>) -> Result<Tensor> {
        let (heads, query) = (self.config.heads, self.queries.get(task)?); // (tokens, dim)
        let mut x = memory.clone();
        for layer in &self.decoder {
            let y = self.norm(&x, &layer.norm1)?;
            let asked = y.broadcast_add(&query)?;
            x = (x + layer.self_attention.forward(&asked, &asked, &y, heads)?)?;
            let asked = self.norm(&x, &layer.norm2)?.broadcast_add(&query)?;
            x = (x + layer.cross_attention.forward(&asked, memory, memory, heads)?)?;
            x = (&x + layer.mlp.forward(&self.norm(&x, &layer.norm3)?)?)?;
            if let Some(kept) = kept {
                kept.decoder.push(x.clone());
            }
        }
        Ok(x)
    }

    fn norm(&self, x: &Tensor, (weight, bias): &Pair) -> Result<Tensor> {
        layer_norm(x, weight, bias, self.config.norm_eps)
    }
}

impl Attention {
    /// (batch, tokens, dim) each, and the result.
    fn forward(&self, query: &Tensor, key: &Tensor, value: &Tensor, heads: usize) -> Result<Tensor> {
        let (query, key) = (self.query.forward(query)?, self.key.forward(key)?);
        self.out.forward(&attend(&query, &key, &self.value.forward(value)?, heads)?)
    }
}

impl Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.first.forward(x)?.relu()?)
    }
}
