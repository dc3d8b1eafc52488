//! The weights of a layer, read in place: where they lie in its section, and their check at load.

use crate::error::Error;
use crate::format::Cursor;
use crate::kernels::Activation;
use crate::tensor::Precision::{self, Int8};
use crate::tensor::{linear_bytes, padded, quotient, Linear, NormWeights};

/// The weights of one head: query, key and value `(head_dim, dim)`, and projection `(dim, head_dim)`.
#[derive(Clone, Copy)]
pub(crate) struct HeadWeights<'a> {
    pub query: Linear<'a>,
    pub key: Linear<'a>,
    pub value: Linear<'a>,
    pub proj: Linear<'a>,
}

/// The weights of an MLP: `(hidden, dim)` and `(dim, hidden)`, perhaps with a norm in front.
pub(crate) struct MlpWeights<'a> {
    pub norm: Option<NormWeights<'a>>,
    pub fc1: Linear<'a>,
    pub fc2: Linear<'a>,
    pub activation: Activation,
    /// Width of the hidden layer.
    pub hidden: usize,
}

impl<'a> MlpWeights<'a> {
    /// Reads both layers, from `dim` to `hidden` and back.
    pub fn read(
        cursor: &mut Cursor<'a>,
        norm: Option<NormWeights<'a>>,
        [first, second]: [&'static str; 2],
        [dim, hidden]: [usize; 2],
        activation: Activation,
        [fc1, fc2]: [Precision; 2],
    ) -> Self {
        let fc1 = cursor.linear(first, dim, hidden, fc1);
        let fc2 = cursor.linear_for_zero_points(second, hidden, dim, fc2);
        Self { norm, fc1, fc2, activation, hidden }
    }
}

/// Precisions of the linear layers of a transformer layer. Without a cross-attention `cross_qkv` and
/// `cross_proj` are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LayerPrecision {
    /// Query, key and value of the self-attention.
    pub qkv: Precision,
    /// The projection of the self-attention's output.
    pub proj: Precision,
    /// The MLP's first layer.
    pub fc1: Precision,
    /// The MLP's second layer.
    pub fc2: Precision,
    /// Query, key and value of the cross-attention.
    pub cross_qkv: Precision,
    /// The projection of the cross-attention's output.
    pub cross_proj: Precision,
}

impl LayerPrecision {
    /// All int8.
    pub const INT8: Self =
        Self { qkv: Int8, proj: Int8, fc1: Int8, fc2: Int8, cross_qkv: Int8, cross_proj: Int8 };

    /// Bit i is set where layer i, in the order of the fields, keeps f16 weights.
    pub fn to_word(self) -> u32 {
        let Self { qkv, proj, fc1, fc2, cross_qkv, cross_proj } = self;
        Precision::to_word([qkv, proj, fc1, fc2, cross_qkv, cross_proj])
    }

    pub(crate) fn from_word(word: u32) -> Self {
        let [qkv, proj, fc1, fc2, cross_qkv, cross_proj] = Precision::from_word(word);
        Self { qkv, proj, fc1, fc2, cross_qkv, cross_proj }
    }
}

/// The section of a layer. It has a norm and the heads for each attention, then a norm and the MLP.
pub(crate) struct LayerSection<'a> {
    /// Stands at the beginning of the section.
    pub cursor: Cursor<'a>,
    pub dim: usize,
    pub heads: usize,
    pub hidden: usize,
    pub activation: Activation,
    pub norm_eps: f32,
    pub precision: LayerPrecision,
    /// Whether a cross-attention follows the self-attention.
    pub has_cross: bool,
}

impl<'a> LayerSection<'a> {
    /// Checks the whole section.
    pub fn check(mut self) -> Result<(), Error> {
        for is_cross in [false, true] {
            if is_cross && !self.has_cross {
                continue;
            }
            self.read_norm();
            for _ in 0..self.heads {
                self.read_head(is_cross);
            }
        }
        self.read_mlp();
        self.cursor.finish(())
    }

    /// The norm in front of the self-attention, or of the cross-attention.
    pub fn norm(mut self, is_cross: bool) -> Result<NormWeights<'a>, Error> {
        self.cursor.skip(if is_cross { self.attention_bytes(false) } else { 0 });
        let norm = self.read_norm();
        self.cursor.done(norm)
    }

    /// A head of the self-attention, or of the cross-attention.
    pub fn head(mut self, is_cross: bool, head: usize) -> Result<HeadWeights<'a>, Error> {
        let before = if is_cross { self.attention_bytes(false) } else { 0 };
        self.cursor.skip(before + self.norm_bytes() + head * self.head_bytes(is_cross));
        let head = self.read_head(is_cross);
        self.cursor.done(head)
    }

    /// The MLP with its norm.
    pub fn mlp(mut self) -> Result<MlpWeights<'a>, Error> {
        let cross = if self.has_cross { self.attention_bytes(true) } else { 0 };
        self.cursor.skip(self.attention_bytes(false) + cross);
        let mlp = self.read_mlp();
        self.cursor.done(mlp)
    }

    /// Precisions of query, key and value and of the projection.
    fn attention(&self, is_cross: bool) -> [Precision; 2] {
        let LayerPrecision { qkv, proj, cross_qkv, cross_proj, .. } = self.precision;
        if is_cross {
            [cross_qkv, cross_proj]
        } else {
            [qkv, proj]
        }
    }

    fn head_dim(&self) -> usize {
        quotient(self.dim, self.heads)
    }

    fn read_norm(&mut self) -> NormWeights<'a> {
        self.cursor.norm("norm", self.dim, self.norm_eps)
    }

    fn read_head(&mut self, is_cross: bool) -> HeadWeights<'a> {
        let [qkv, proj] = self.attention(is_cross);
        let (dim, head_dim, cursor) = (self.dim, self.head_dim(), &mut self.cursor);
        HeadWeights {
            query: cursor.linear("attn.query", dim, head_dim, qkv),
            key: cursor.linear("attn.key", dim, head_dim, qkv),
            value: cursor.linear("attn.value", dim, head_dim, qkv),
            proj: cursor.linear("attn.proj", head_dim, dim, proj),
        }
    }

    fn read_mlp(&mut self) -> MlpWeights<'a> {
        let Self { ref mut cursor, dim, hidden, activation, norm_eps, precision, .. } = *self;
        let LayerPrecision { fc1, fc2, .. } = precision;
        let norm = Some(cursor.norm("mlp.norm", dim, norm_eps));
        MlpWeights::read(cursor, norm, ["mlp.fc1", "mlp.fc2"], [dim, hidden], activation, [fc1, fc2])
    }

    fn norm_bytes(&self) -> usize {
        2 * padded(4 * self.dim)
    }

    /// Bytes of one head's weights; all heads of an attention are alike.
    fn head_bytes(&self, is_cross: bool) -> usize {
        let (dim, head_dim, layout) = (self.dim, self.head_dim(), self.cursor.layout());
        let [qkv, proj] = self.attention(is_cross);
        3 * linear_bytes(dim, head_dim, qkv, layout) + linear_bytes(head_dim, dim, proj, layout)
    }

    /// Bytes of an attention's weights with those of its norm.
    fn attention_bytes(&self, is_cross: bool) -> usize {
        self.norm_bytes() + self.heads * self.head_bytes(is_cross)
    }
}
