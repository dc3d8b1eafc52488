//! Queries with keys, values with the projection, channel by channel.

use super::norm::{balance_norm, Extent, Norm};
use super::{balance_outputs, both_sides, Layer};

/// The linear layers of an attention.
pub(super) struct Attention {
    /// `(dim, dim)` each.
    pub query: Layer,
    pub key: Layer,
    pub value: Layer,
    pub projection: Layer,
}

impl Attention {
    /// Packed query, key and value `(3·dim, dim)` in parts.
    pub fn new(packed: &Layer, projection: Layer) -> Self {
        let (dim, inputs) = (packed.bias.len() / 3, packed.inputs());
        let part = |index: usize| Layer {
            weights: packed.weights[index * dim * inputs..][..dim * inputs].to_vec(),
            bias: packed.bias[index * dim..][..dim].to_vec(),
        };
        Self { query: part(0), key: part(1), value: part(2), projection }
    }

    /// Query, key and value packed, and the projection.
    pub fn into_packed(self) -> (Layer, Layer) {
        let parts = [self.query, self.key, self.value];
        let weights = parts.iter().flat_map(|part| &part.weights).copied().collect();
        (Layer { weights, bias: parts.into_iter().flat_map(|part| part.bias).collect() }, self.projection)
    }

    /// Balances a self-attention and the norm that it alone reads; its layers, packed, and the projection.
    pub fn balanced_with(mut self, norm: &mut Norm, extent: &Extent) -> (Layer, Layer) {
        self.balance([&norm.amplitude(extent); 3]);
        let (mut packed, projection) = self.into_packed();
        balance_norm(norm, extent, &mut [&mut packed]);
        (packed, projection)
    }

    /// Balances them, where the inputs of query, key and value carry so much.
    ///
    /// Scores are products of a query's channel with a key's, so these may be shared anew; so may a value's
    /// channel and the projection's column, since an attention's output is a weighted mean. For the same
    /// reasons a key's bias adds one number to all scores of a query, which softmax does not see: it is
    /// dropped. A value's bias passes the mean as it is: it becomes the projection's.
    pub fn balance(&mut self, [asked, keyed, valued]: [&[f64]; 3]) {
        self.key.bias.fill(0.0);
        let (divide, multiply) = both_sides(&self.query.amplitude(asked), &self.key.amplitude(keyed));
        self.query.scale_outputs(&divide);
        self.key.scale_outputs(&multiply);
        self.projection.add_constant(&self.value.bias);
        self.value.bias.fill(0.0);
        let carried = self.value.amplitude(valued);
        balance_outputs(&mut self.value, &carried, &mut self.projection.weights);
    }
}
