//! Cost of each layer of a restorer, for one task.

use vitreous::models::ipt::{Ipt, BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use vitreous::models::vit::linear_bytes;
use vitreous::tensor::{padded, PanelLayout, Precision};

use super::{precision_name, Layer};

/// Makes layers of a model.
struct Maker {
    layout: PanelLayout,
    /// Tokens of a window.
    tokens: u64,
    dim: usize,
}

impl Maker {
    fn conv(
        &self,
        name: String,
        (kernel, inputs, outputs): (usize, usize, usize),
        pixels: usize,
        precision: Precision,
        sums: bool,
    ) -> Layer {
        let taps = kernel * kernel * inputs;
        let sums = if sums && precision == Precision::Int8 { padded(4 * outputs) } else { 0 };
        Layer {
            name,
            shape: format!("conv {kernel}×{kernel}, {inputs} → {outputs}, {pixels} pixels"),
            precision: precision_name(precision),
            parameters: (taps as u64 + 1) * outputs as u64,
            macs: (pixels * taps * outputs) as u64,
            bytes: linear_bytes(taps, outputs, precision, self.layout) + sums,
        }
    }

    /// A linear layer on every token.
    fn linear(&self, name: String, inputs: usize, outputs: usize, precision: Precision, sums: bool) -> Layer {
        let sums = if sums && precision == Precision::Int8 { padded(4 * outputs) } else { 0 };
        Layer {
            name,
            shape: format!("linear {inputs} → {outputs}, {} rows", self.tokens),
            precision: precision_name(precision),
            parameters: (inputs as u64 + 1) * outputs as u64,
            macs: self.tokens * inputs as u64 * outputs as u64,
            bytes: linear_bytes(inputs, outputs, precision, self.layout) + sums,
        }
    }

    fn embedding(&self, name: String) -> Layer {
        let parameters = self.tokens * self.dim as u64;
        Layer {
            name,
            shape: format!("{} × {}", self.tokens, self.dim),
            precision: "f16",
            parameters,
            macs: 0,
            bytes: padded(2 * parameters as usize),
        }
    }

    fn norm(&self, name: String) -> Layer {
        Layer {
            name,
            shape: format!("layer norm {}", self.dim),
            precision: "f32",
            parameters: 2 * self.dim as u64,
            macs: 0,
            bytes: 2 * padded(4 * self.dim),
        }
    }

    /// Query, key, value, scores and projection; the file holds them head by head.
    fn attention(&self, name: &str, heads: usize, qkv: Precision, proj: Precision) -> [Layer; 3] {
        let (dim, head_dim) = (self.dim, self.dim / heads);
        let mut projections = self.linear(format!("{name}.qkv"), dim, 3 * dim, qkv, false);
        projections.bytes = 3 * heads * linear_bytes(dim, head_dim, qkv, self.layout);
        projections.parameters = 3 * (dim * dim) as u64;
        let mut out = self.linear(format!("{name}.proj"), dim, dim, proj, false);
        out.bytes = heads * linear_bytes(head_dim, dim, proj, self.layout);
        out.parameters = (dim * dim) as u64;
        let scores = Layer {
            name: name.to_owned(),
            shape: format!("{heads} heads, {0} × {0} scores, {head_dim} wide", self.tokens),
            precision: "-",
            parameters: 0,
            macs: 2 * self.tokens * self.tokens * dim as u64,
            bytes: 0,
        };
        [projections, scores, out]
    }
}

/// All layers that a task runs through, in their order.
pub(super) fn ipt_layers(ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, section) = (ipt.config(), ipt.section());
    let (features, dim) = (c.features, c.dim());
    let make = Maker { layout: ipt.model().layout(), tokens: c.tokens() as u64, dim };
    let pixels = c.window * c.window;
    let precision = section.task(task);
    let entry = (OUTER_KERNEL, COLOURS, features);
    let mut all = vec![make.conv(format!("head.{task}.entry"), entry, pixels, Precision::F16, false)];
    for (index, precision) in precision.blocks.iter().enumerate() {
        let name = format!("head.{task}.conv{index}");
        all.push(make.conv(name, (BLOCK_KERNEL, features, features), pixels, *precision, index % 2 == 1));
    }
    all.push(make.linear("encoding".into(), dim, dim, section.body().encoding, false));
    all.push(make.embedding("position_encoding".into()));
    for layer in 0..c.encoder_layers + c.decoder_layers {
        let precision = section.layer(layer);
        let decoder = layer.checked_sub(c.encoder_layers);
        let name = decoder.map_or(format!("encoder.{layer}"), |layer| format!("decoder.{layer}"));
        all.push(make.norm(format!("{name}.norm1")));
        all.extend(make.attention(&format!("{name}.attn"), c.heads, precision.qkv, precision.proj));
        if decoder.is_some() {
            all.push(make.norm(format!("{name}.norm2")));
            let cross = (precision.cross_qkv, precision.cross_proj);
            all.extend(make.attention(&format!("{name}.cross_attn"), c.heads, cross.0, cross.1));
        }
        all.push(make.norm(format!("{name}.mlp.norm")));
        all.push(make.linear(format!("{name}.fc1"), dim, c.hidden, precision.fc1, false));
        all.push(make.linear(format!("{name}.fc2"), c.hidden, dim, precision.fc2, true));
    }
    all.push(make.linear("mlp_head.fc1".into(), dim, c.head_hidden, section.body().fc1, false));
    all.push(make.linear("mlp_head.fc2".into(), c.head_hidden, dim, section.body().fc2, true));
    all.push(make.embedding(format!("tail.{task}.query")));
    let mut side = c.window;
    let steps = c.tasks.get(task).map_or(&[][..], |task| task.upsampler());
    for (index, (factor, precision)) in steps.iter().zip(precision.upsampler).enumerate() {
        let shape = (OUTER_KERNEL, features, features * factor * factor);
        all.push(make.conv(format!("tail.{task}.conv{index}"), shape, side * side, precision, false));
        side *= factor;
    }
    let exit = (OUTER_KERNEL, features, COLOURS);
    all.push(make.conv(format!("tail.{task}.exit"), exit, side * side, Precision::F16, false));
    all
}
