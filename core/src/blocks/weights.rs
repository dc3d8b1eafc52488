//! The weights of a layer, read in place: where a section has them, and their check at load.

use crate::error::Error;
use crate::format::Cursor;
use crate::kernels::Activation;
use crate::tensor::{linear_bytes, padded, Linear, NormWeights, Precision};

/// Query, key, value `(head_dim, dim)` and projection `(dim, head_dim)` of one head.
#[derive(Clone, Copy)]
pub(crate) struct HeadWeights<'a> {
    pub query: Linear<'a>,
    pub key: Linear<'a>,
    pub value: Linear<'a>,
    pub proj: Linear<'a>,
}

impl HeadWeights<'_> {
    /// Width of a query, key or value.
    pub fn head_dim(&self) -> usize {
        self.key.outputs()
    }
}

/// The layers of an MLP.
pub(crate) struct MlpWeights<'a> {
    pub norm: Option<NormWeights<'a>>,
    pub fc1: Linear<'a>,
    pub fc2: Linear<'a>,
    pub activation: Activation,
    /// Width of the hidden layer.
    pub hidden: usize,
}

impl<'a> MlpWeights<'a> {
    /// Two layers, `dim` to `hidden` and back.
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

/// Precisions of an attention.
#[derive(Clone, Copy)]
pub(crate) struct AttentionPrecision {
    pub qkv: Precision,
    pub proj: Precision,
}

/// A layer in its section, which has, for each of its attentions, a norm and the heads; then the MLP with its
/// norm.
pub(crate) struct LayerSection<'a> {
    /// At the section's beginning.
    pub cursor: Cursor<'a>,
    pub dim: usize,
    pub heads: usize,
    pub hidden: usize,
    pub activation: Activation,
    pub norm_eps: f32,
    /// The self-attention.
    pub own: AttentionPrecision,
    /// The cross-attention behind it, if there is one.
    pub cross: Option<AttentionPrecision>,
    /// Of both layers of the MLP.
    pub mlp: [Precision; 2],
}

impl<'a> LayerSection<'a> {
    /// Checks the whole section.
    pub fn check(mut self) -> Result<(), Error> {
        for attention in [Some(self.own), self.cross].into_iter().flatten() {
            self.read_norm();
            for _ in 0..self.heads {
                self.read_head(attention);
            }
        }
        self.read_mlp();
        self.cursor.finish(())
    }

    /// The norm in front of the self-attention, or of the cross-attention.
    pub fn norm(mut self, is_cross: bool) -> Result<NormWeights<'a>, Error> {
        self.cursor.skip(if is_cross { self.attention_bytes(self.own) } else { 0 });
        let norm = self.read_norm();
        self.cursor.done(norm)
    }

    /// A head of the self-attention, or of the cross-attention.
    pub fn head(mut self, is_cross: bool, head: usize) -> Result<HeadWeights<'a>, Error> {
        let (before, attention) = match self.cross.filter(|_| is_cross) {
            Some(cross) => (self.attention_bytes(self.own), cross),
            None => (0, self.own),
        };
        self.cursor.skip(before + self.norm_bytes() + head * self.head_bytes(attention));
        let head = self.read_head(attention);
        self.cursor.done(head)
    }

    /// The MLP with its norm.
    pub fn mlp(mut self) -> Result<MlpWeights<'a>, Error> {
        let cross = self.cross.map_or(0, |cross| self.attention_bytes(cross));
        self.cursor.skip(self.attention_bytes(self.own) + cross);
        let mlp = self.read_mlp();
        self.cursor.done(mlp)
    }

    fn head_dim(&self) -> usize {
        self.dim.checked_div(self.heads).unwrap_or(0)
    }

    fn read_norm(&mut self) -> NormWeights<'a> {
        self.cursor.norm("norm", self.dim, self.norm_eps)
    }

    fn read_head(&mut self, AttentionPrecision { qkv, proj }: AttentionPrecision) -> HeadWeights<'a> {
        let (dim, head_dim, cursor) = (self.dim, self.head_dim(), &mut self.cursor);
        HeadWeights {
            query: cursor.linear("attn.query", dim, head_dim, qkv),
            key: cursor.linear("attn.key", dim, head_dim, qkv),
            value: cursor.linear("attn.value", dim, head_dim, qkv),
            proj: cursor.linear("attn.proj", head_dim, dim, proj),
        }
    }

    fn read_mlp(&mut self) -> MlpWeights<'a> {
        let Self { ref mut cursor, dim, hidden, activation, norm_eps, mlp, .. } = *self;
        let norm = Some(cursor.norm("mlp.norm", dim, norm_eps));
        MlpWeights::read(cursor, norm, ["mlp.fc1", "mlp.fc2"], [dim, hidden], activation, mlp)
    }

    fn norm_bytes(&self) -> usize {
        2 * padded(4 * self.dim)
    }

    /// Bytes of one head's weights; all heads of an attention are alike.
    fn head_bytes(&self, precision: AttentionPrecision) -> usize {
        let (dim, head_dim, layout) = (self.dim, self.head_dim(), self.cursor.layout());
        3 * linear_bytes(dim, head_dim, precision.qkv, layout)
            + linear_bytes(head_dim, dim, precision.proj, layout)
    }

    /// Bytes of an attention with its norm.
    fn attention_bytes(&self, precision: AttentionPrecision) -> usize {
        self.norm_bytes() + self.heads * self.head_bytes(precision)
    }
}
