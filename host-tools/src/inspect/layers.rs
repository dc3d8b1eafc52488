//! Cost of each layer.

use serde::Serialize;
use vitreous::models::vit::{linear_bytes, Head, Vit};
use vitreous::tensor::{padded, Precision};

use super::precision_name;

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
}

/// All layers of a ViT, in the order in which they run.
pub fn layers(vit: &Vit) -> Vec<Layer> {
    let c = vit.config();
    let layout = vit.model().layout();
    let (n, d) = (c.tokens() as u64, c.dim as u64);
    let linear = |name: String, inputs: usize, outputs: usize, rows: u64, precision: Precision| Layer {
        name,
        shape: format!("linear {inputs} → {outputs}, {rows} rows"),
        precision: precision_name(precision),
        parameters: (inputs as u64 + 1) * outputs as u64,
        macs: rows * inputs as u64 * outputs as u64,
        bytes: linear_bytes(inputs, outputs, precision, layout),
    };
    let norm = |name: String| Layer {
        name,
        shape: format!("layer norm {}", c.dim),
        precision: "f32",
        parameters: 2 * d,
        macs: 0,
        bytes: 2 * padded(4 * c.dim),
    };
    let mut all =
        vec![linear("patch_embed".into(), c.patch_bytes(), c.dim, c.patches() as u64, Precision::Int8)];
    all.push(Layer {
        name: "tokens, pos_embed".into(),
        shape: format!("{n} × {d}"),
        precision: "f16",
        parameters: n * d + c.prefix_tokens() as u64 * d,
        macs: 0,
        bytes: padded(2 * c.prefix_tokens() * c.dim) + padded(2 * c.patches() * c.dim),
    });
    for block in 0..c.depth {
        let precision = vit.block_precision(block);
        let name = |part: &str| format!("blocks.{block}.{part}");
        // The file holds these layers head by head, each with its own bias.
        let per_head = |mut layer: Layer, bytes: usize| {
            layer.bytes = bytes * c.heads;
            layer
        };
        all.push(norm(name("norm1")));
        let qkv = 3 * linear_bytes(c.dim, c.head_dim(), precision.qkv, layout);
        all.push(per_head(linear(name("attn.qkv"), c.dim, 3 * c.dim, n, precision.qkv), qkv));
        all.push(Layer {
            name: name("attn"),
            shape: format!("{} heads, {n} × {n} scores, {} wide", c.heads, c.head_dim()),
            precision: "-",
            parameters: 0,
            macs: 2 * n * n * d,
            bytes: 0,
        });
        let proj = linear_bytes(c.head_dim(), c.dim, precision.proj, layout);
        all.push(per_head(linear(name("attn.proj"), c.dim, c.dim, n, precision.proj), proj));
        all.push(norm(name("norm2")));
        all.push(linear(name("mlp.fc1"), c.dim, c.hidden, n, precision.fc1));
        let mut fc2 = linear(name("mlp.fc2"), c.hidden, c.dim, n, precision.fc2);
        if precision.fc2 == Precision::Int8 {
            fc2.bytes += padded(4 * c.dim);
        }
        all.push(fc2);
    }
    if c.norm_before_pool {
        all.push(norm("norm".into()));
    }
    if c.norm_after_pool {
        all.push(norm("fc_norm".into()));
    }
    for (there, name) in [(c.head != Head::None, "head"), (c.head == Head::Distilled, "head_dist")] {
        if there {
            all.push(linear(name.into(), c.dim, c.classes, 1, vit.head_precision()));
        }
    }
    all
}
