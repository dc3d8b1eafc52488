//! Cost of one layer, and the layers that every transformer is made of.

use serde::Serialize;
use vitreous::tensor::{linear_bytes, padded, PanelLayout, Precision};
use vitreous::{Model, Stage};

use super::place::Place;

/// One layer of the network.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Name, after timm's tensors.
    pub name: String,
    /// What it does, with shapes.
    pub shape: String,
    /// Precision of its weights; `-` for layers without.
    pub precision: &'static str,
    /// Parameters.
    pub parameters: u64,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Bytes in the file.
    pub bytes: usize,
    /// The stages that do it.
    #[serde(skip)]
    pub place: Place,
}

/// `int8` or `f16`.
pub(super) fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Int8 => "int8",
        Precision::F16 => "f16",
    }
}

/// Makes the layers of a model.
pub(super) struct Maker {
    layout: PanelLayout,
    /// Tokens of an image or window.
    pub tokens: u64,
    /// Width of a token.
    pub dim: usize,
    pub heads: usize,
}

impl Maker {
    pub fn new(model: &Model, tokens: usize, dim: usize, heads: usize) -> Self {
        Self { layout: model.layout(), tokens: tokens as u64, dim, heads }
    }

    /// A linear layer on `rows` rows, whose inputs have no zero point.
    pub fn linear(
        &self,
        name: String,
        place: Place,
        [inputs, outputs]: [usize; 2],
        rows: u64,
        precision: Precision,
    ) -> Layer {
        Layer {
            name,
            shape: format!("linear {inputs} → {outputs}, {rows} rows"),
            precision: precision_name(precision),
            parameters: (inputs as u64 + 1) * outputs as u64,
            macs: rows * inputs as u64 * outputs as u64,
            bytes: self.weight_bytes([inputs, outputs], precision, false),
            place,
        }
    }

    /// Bytes of a layer's weights, scales and bias, and of the sums of int8 weights if its inputs have a zero
    /// point.
    pub fn weight_bytes(
        &self,
        [inputs, outputs]: [usize; 2],
        precision: Precision,
        zero_point: bool,
    ) -> usize {
        let sums = if zero_point && precision == Precision::Int8 { padded(4 * outputs) } else { 0 };
        linear_bytes(inputs, outputs, precision, self.layout) + sums
    }

    /// An f16 vector for each token.
    pub fn embedding(&self, name: String, place: Place) -> Layer {
        let parameters = self.tokens * self.dim as u64;
        Layer {
            name,
            shape: format!("{} × {}", self.tokens, self.dim),
            precision: "f16",
            parameters,
            macs: 0,
            bytes: padded(2 * parameters as usize),
            place,
        }
    }

    pub fn norm(&self, name: String, stage: Stage) -> Layer {
        Layer {
            name,
            shape: format!("layer norm {}", self.dim),
            precision: "f32",
            parameters: 2 * self.dim as u64,
            macs: 0,
            bytes: 2 * padded(4 * self.dim),
            place: Place::In(stage),
        }
    }

    /// Query, key, value, scores and projection; the file holds them head by head. `has_bias` counts biases
    /// among the parameters.
    pub fn attention(
        &self,
        name: &str,
        place: Place,
        [qkv, proj]: [Precision; 2],
        has_bias: bool,
    ) -> [Layer; 3] {
        let (dim, head_dim, tokens) = (self.dim, self.dim / self.heads, self.tokens);
        let rest = Place::In(place.attention());
        let projections = self.linear(format!("{name}.qkv"), place, [dim, 3 * dim], tokens, qkv);
        let out = self.linear(format!("{name}.proj"), rest, [dim, dim], tokens, proj);
        let scores = Layer {
            name: name.to_owned(),
            shape: format!("{} heads, {tokens} × {tokens} scores, {head_dim} wide", self.heads),
            precision: "-",
            parameters: 0,
            macs: 2 * tokens * tokens * dim as u64,
            bytes: 0,
            place: rest,
        };
        let inputs = (dim + usize::from(has_bias)) as u64;
        let qkv_bytes = 3 * self.heads * self.weight_bytes([dim, head_dim], qkv, false);
        let out_bytes = self.heads * self.weight_bytes([head_dim, dim], proj, false);
        [
            Layer { bytes: qkv_bytes, parameters: 3 * inputs * dim as u64, ..projections },
            scores,
            Layer { bytes: out_bytes, parameters: inputs * dim as u64, ..out },
        ]
    }

    /// The two layers of an MLP, `NAME.fc1` and `NAME.fc2`; what the second one reads has a zero point.
    pub fn mlp(&self, name: &str, stage: Stage, hidden: usize, [fc1, fc2]: [Precision; 2]) -> [Layer; 2] {
        let (dim, place) = (self.dim, Place::In(stage));
        let second = self.linear(format!("{name}.fc2"), place, [hidden, dim], self.tokens, fc2);
        [
            self.linear(format!("{name}.fc1"), place, [dim, hidden], self.tokens, fc1),
            Layer { bytes: self.weight_bytes([hidden, dim], fc2, true), ..second },
        ]
    }
}
