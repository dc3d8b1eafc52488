//! The weights of a layer, read in place: where a section has them, and their check at load.

use crate::error::Error;
use crate::format::Cursor;
use crate::kernels::Activation;
use crate::tensor::{linear_bytes, padded, Linear, NormWeights, PanelLayout, Precision};

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

/// Precisions of an attention.
#[derive(Clone, Copy)]
pub(crate) struct AttentionPrecision {
    pub qkv: Precision,
    pub proj: Precision,
}

/// The shape of a layer. Its section has, for each of its attentions, a norm and the heads; then the MLP with
/// its norm.
#[derive(Clone, Copy)]
pub(crate) struct LayerShape {
    pub dim: usize,
    pub heads: usize,
    pub hidden: usize,
    pub activation: Activation,
    pub norm_eps: f32,
    pub layout: PanelLayout,
    /// The self-attention.
    pub own: AttentionPrecision,
    /// The cross-attention behind it, if there is one.
    pub cross: Option<AttentionPrecision>,
    /// Of both layers of the MLP.
    pub mlp: [Precision; 2],
}

impl LayerShape {
    fn head_dim(&self) -> usize {
        self.dim.checked_div(self.heads).unwrap_or(0)
    }

    /// Checks a whole section.
    pub fn check(&self, mut cursor: Cursor) -> Result<(), Error> {
        for attention in [Some(self.own), self.cross].into_iter().flatten() {
            cursor.norm("norm", self.dim, self.norm_eps);
            for _ in 0..self.heads {
                self.read_head(&mut cursor, attention);
            }
        }
        self.read_mlp(&mut cursor);
        cursor.finish(())
    }

    /// The norm in front of the self-attention, or of the cross-attention, of a section that `cursor` has not
    /// begun.
    pub fn norm<'a>(&self, mut cursor: Cursor<'a>, is_cross: bool) -> Result<NormWeights<'a>, Error> {
        cursor.skip(if is_cross { self.attention_bytes(self.own) } else { 0 });
        let norm = cursor.norm("norm", self.dim, self.norm_eps);
        cursor.done(norm)
    }

    /// A head of the self-attention, or of the cross-attention.
    pub fn head<'a>(
        &self,
        mut cursor: Cursor<'a>,
        is_cross: bool,
        head: usize,
    ) -> Result<HeadWeights<'a>, Error> {
        let (before, attention) = match self.cross.filter(|_| is_cross) {
            Some(cross) => (self.attention_bytes(self.own), cross),
            None => (0, self.own),
        };
        cursor.skip(before + self.norm_bytes() + head * self.head_bytes(attention));
        let head = self.read_head(&mut cursor, attention);
        cursor.done(head)
    }

    /// The MLP.
    pub fn mlp<'a>(&self, mut cursor: Cursor<'a>) -> Result<MlpWeights<'a>, Error> {
        let cross = self.cross.map_or(0, |cross| self.attention_bytes(cross));
        cursor.skip(self.attention_bytes(self.own) + cross);
        let mlp = self.read_mlp(&mut cursor);
        cursor.done(mlp)
    }

    fn read_head<'a>(&self, cursor: &mut Cursor<'a>, precision: AttentionPrecision) -> HeadWeights<'a> {
        let (dim, head_dim) = (self.dim, self.head_dim());
        let AttentionPrecision { qkv, proj } = precision;
        HeadWeights {
            query: cursor.linear("attn.query", dim, head_dim, qkv),
            key: cursor.linear("attn.key", dim, head_dim, qkv),
            value: cursor.linear("attn.value", dim, head_dim, qkv),
            proj: cursor.linear("attn.proj", head_dim, dim, proj),
        }
    }

    fn read_mlp<'a>(&self, cursor: &mut Cursor<'a>) -> MlpWeights<'a> {
        let Self { dim, hidden, activation, mlp: [fc1, fc2], .. } = *self;
        MlpWeights {
            norm: Some(cursor.norm("mlp.norm", dim, self.norm_eps)),
            fc1: cursor.linear("mlp.fc1", dim, hidden, fc1),
            fc2: cursor.linear_for_zero_points("mlp.fc2", hidden, dim, fc2),
            activation,
            hidden,
        }
    }

    fn norm_bytes(&self) -> usize {
        2 * padded(4 * self.dim)
    }

    /// Bytes of one head's weights; all heads of an attention are alike.
    fn head_bytes(&self, precision: AttentionPrecision) -> usize {
        let (dim, head_dim, layout) = (self.dim, self.head_dim(), self.layout);
        3 * linear_bytes(dim, head_dim, precision.qkv, layout)
            + linear_bytes(head_dim, dim, precision.proj, layout)
    }

    /// Bytes of an attention with its norm.
    fn attention_bytes(&self, precision: AttentionPrecision) -> usize {
        self.norm_bytes() + self.heads * self.head_bytes(precision)
    }
}
