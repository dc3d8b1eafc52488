//! Cost of each layer of a restorer, for one task.

use vitreous::models::ipt::{Ipt, BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use vitreous::models::vit::linear_bytes;
use vitreous::tensor::{padded, PanelLayout, Precision};
use vitreous::Stage;

use super::{precision_name, Layer, Place};

/// Makes layers of a model.
struct Maker {
    layout: PanelLayout,
    /// Tokens of a window.
    tokens: u64,
    dim: usize,
    heads: usize,
}

/// A convolution.
struct Conv {
    /// Side of the kernel, inputs, outputs.
    shape: [usize; 3],
    /// Positions of it.
    pixels: usize,
    precision: Precision,
    /// Whether its activations have a zero point, and the file sums of its weights.
    sums: bool,
}

impl Maker {
    fn conv(&self, name: String, place: Place, conv: Conv) -> Layer {
        let Conv { shape: [kernel, inputs, outputs], pixels, precision, sums } = conv;
        let taps = kernel * kernel * inputs;
        Layer {
            name,
            shape: format!("conv {kernel}×{kernel}, {inputs} → {outputs}, {pixels} pixels"),
            precision: precision_name(precision),
            parameters: (taps as u64 + 1) * outputs as u64,
            macs: (pixels * taps * outputs) as u64,
            bytes: self.weight_bytes([taps, outputs], precision, sums),
            place,
        }
    }

    /// A linear layer on every token.
    fn linear(
        &self,
        name: String,
        place: Place,
        [inputs, outputs]: [usize; 2],
        precision: Precision,
        sums: bool,
    ) -> Layer {
        Layer {
            name,
            shape: format!("linear {inputs} → {outputs}, {} rows", self.tokens),
            precision: precision_name(precision),
            parameters: (inputs as u64 + 1) * outputs as u64,
            macs: self.tokens * inputs as u64 * outputs as u64,
            bytes: self.weight_bytes([inputs, outputs], precision, sums),
            place,
        }
    }

    fn weight_bytes(&self, [inputs, outputs]: [usize; 2], precision: Precision, sums: bool) -> usize {
        let sums = if sums && precision == Precision::Int8 { padded(4 * outputs) } else { 0 };
        linear_bytes(inputs, outputs, precision, self.layout) + sums
    }

    fn embedding(&self, name: String, place: Place) -> Layer {
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

    fn norm(&self, name: String, stage: Stage) -> Layer {
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

    /// Query, key, value, scores and projection, without biases; the file holds them head by head.
    fn attention(&self, name: &str, place: Place, [qkv, proj]: [Precision; 2]) -> [Layer; 3] {
        let (dim, head_dim) = (self.dim, self.dim / self.heads);
        let rest = Place::In(place.attention());
        let projections = self.linear(format!("{name}.qkv"), place, [dim, 3 * dim], qkv, false);
        let out = self.linear(format!("{name}.proj"), rest, [dim, dim], proj, false);
        let scores = Layer {
            name: name.to_owned(),
            shape: format!("{} heads, {1} × {1} scores, {head_dim} wide", self.heads, self.tokens),
            precision: "-",
            parameters: 0,
            macs: 2 * self.tokens * self.tokens * dim as u64,
            bytes: 0,
            place: rest,
        };
        let qkv_bytes = 3 * self.heads * self.weight_bytes([dim, head_dim], qkv, false);
        let out_bytes = self.heads * self.weight_bytes([head_dim, dim], proj, false);
        [
            Layer { bytes: qkv_bytes, parameters: 3 * (dim * dim) as u64, ..projections },
            scores,
            Layer { bytes: out_bytes, parameters: (dim * dim) as u64, ..out },
        ]
    }
}

/// All layers that a task runs through, in their order.
///
/// `task` is an index into the model's tasks.
pub fn restorer_layers(ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, body) = (ipt.config(), ipt.section().body());
    let dim = c.dim();
    let make = Maker { layout: ipt.model().layout(), tokens: c.tokens() as u64, dim, heads: c.heads };
    let mut all = head_layers(&make, ipt, task);
    let encode = Place::In(Stage::Encode);
    all.push(make.linear("encoding".into(), encode, [dim, dim], body.encoding, false));
    all.push(make.embedding("position_encoding".into(), encode));
    for layer in 0..c.encoder_layers + c.decoder_layers {
        all.extend(body_layers(&make, ipt, layer));
    }
    let decode = Place::In(Stage::Decode);
    all.push(make.linear("mlp_head.fc1".into(), decode, [dim, c.head_hidden], body.fc1, false));
    all.push(make.linear("mlp_head.fc2".into(), decode, [c.head_hidden, dim], body.fc2, true));
    // Every norm of the decoder adds the query; the first reads it first.
    let first_decoder = Place::In(Stage::Norm { layer: c.encoder_layers as u16 });
    all.push(make.embedding(format!("tail.{task}.query"), first_decoder));
    all.extend(tail_layers(&make, ipt, task));
    all
}

fn head_layers(make: &Maker, ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, precision) = (ipt.config(), ipt.section().task(task));
    let pixels = c.window * c.window;
    let entry = [OUTER_KERNEL, COLOURS, c.features];
    let entry = Conv { shape: entry, pixels, precision: Precision::F16, sums: false };
    let part = |part| Place::In(Stage::Conv { part });
    let mut all = vec![make.conv(format!("head.{task}.entry"), part(0), entry)];
    for (index, precision) in (0u16..).zip(precision.blocks) {
        let shape = [BLOCK_KERNEL, c.features, c.features];
        let conv = Conv { shape, pixels, precision, sums: index % 2 == 1 };
        // Two convolutions make a residual block.
        all.push(make.conv(format!("head.{task}.conv{index}"), part(1 + index / 2), conv));
    }
    all
}

/// A layer of encoder or decoder; the decoder's are counted on from the encoder's.
fn body_layers(make: &Maker, ipt: &Ipt, index: usize) -> Vec<Layer> {
    let (c, precision) = (ipt.config(), ipt.section().layer(index));
    let (dim, layer) = (c.dim(), index as u16);
    let decoder = index.checked_sub(c.encoder_layers);
    let name = decoder.map_or(format!("encoder.{index}"), |index| format!("decoder.{index}"));
    let mut all = vec![make.norm(format!("{name}.norm1"), Stage::Norm { layer })];
    let own = [precision.qkv, precision.proj];
    all.extend(make.attention(&format!("{name}.attn"), Place::Own(layer), own));
    if decoder.is_some() {
        all.push(make.norm(format!("{name}.norm2"), Stage::CrossNorm { layer }));
        let cross = [precision.cross_qkv, precision.cross_proj];
        all.extend(make.attention(&format!("{name}.cross_attn"), Place::Cross(layer), cross));
    }
    let mlp = Stage::Mlp { layer };
    all.push(make.norm(format!("{name}.mlp.norm"), mlp));
    all.push(make.linear(format!("{name}.fc1"), Place::In(mlp), [dim, c.hidden], precision.fc1, false));
    all.push(make.linear(format!("{name}.fc2"), Place::In(mlp), [c.hidden, dim], precision.fc2, true));
    all
}

fn tail_layers(make: &Maker, ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, precision) = (ipt.config(), ipt.section().task(task));
    let tail = Place::In(Stage::Tail);
    let (mut side, mut all) = (c.window, Vec::new());
    let steps = c.tasks.get(task).map_or(&[][..], |task| task.upsampler());
    for (index, (factor, precision)) in steps.iter().zip(precision.upsampler).enumerate() {
        let shape = [OUTER_KERNEL, c.features, c.features * factor * factor];
        let conv = Conv { shape, pixels: side * side, precision, sums: false };
        all.push(make.conv(format!("tail.{task}.conv{index}"), tail, conv));
        side *= factor;
    }
    let exit = [OUTER_KERNEL, c.features, COLOURS];
    let exit = Conv { shape: exit, pixels: side * side, precision: Precision::F16, sums: false };
    all.push(make.conv(format!("tail.{task}.exit"), tail, exit));
    all
}
