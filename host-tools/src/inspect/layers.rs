//! Cost of each layer.

use serde::Serialize;
use vitreous::models::vit::{linear_bytes, Head, Vit};
use vitreous::tensor::{padded, Precision};
use vitreous::Stage;

use super::{precision_name, Place};

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

/// All layers of a ViT, in the order in which they run.
pub fn layers(vit: &Vit) -> Vec<Layer> {
    let c = vit.config();
    let (n, d) = (c.tokens() as u64, c.dim as u64);
    let (embed, head) = (Place::In(Stage::Embed), Place::In(Stage::Head));
    let patches = c.patches() as u64;
    let patch_embed = [c.patch_bytes(), c.dim];
    let mut all = vec![linear(vit, "patch_embed".into(), embed, patch_embed, patches, Precision::Int8)];
    all.push(Layer {
        name: "tokens, pos_embed".into(),
        shape: format!("{n} × {d}"),
        precision: "f16",
        parameters: n * d + c.prefix_tokens() as u64 * d,
        macs: 0,
        bytes: padded(2 * c.prefix_tokens() * c.dim) + padded(2 * c.patches() * c.dim),
        place: embed,
    });
    for block in 0..c.depth {
        all.extend(block_layers(vit, block));
    }
    if c.norm_before_pool {
        all.push(norm(vit, "norm".into(), head));
    }
    if c.norm_after_pool {
        all.push(norm(vit, "fc_norm".into(), head));
    }
    for (there, name) in [(c.head != Head::None, "head"), (c.second_head_token().is_some(), "head_dist")] {
        if there {
            all.push(linear(vit, name.into(), head, [c.dim, c.classes], 1, vit.head_precision()));
        }
    }
    all
}

fn block_layers(vit: &Vit, block: usize) -> [Layer; 7] {
    let (c, layout) = (vit.config(), vit.model().layout());
    let (n, d) = (c.tokens() as u64, c.dim as u64);
    let precision = vit.block_precision(block);
    let name = |part: &str| format!("blocks.{block}.{part}");
    let layer = block as u16;
    let (attention, mlp) = (Place::In(Stage::Attention { layer, head: 0 }), Place::In(Stage::Mlp { layer }));
    // The file holds query, key, value and projection head by head, each with its own bias.
    let qkv = linear(vit, name("attn.qkv"), Place::Own(layer), [c.dim, 3 * c.dim], n, precision.qkv);
    let qkv_bytes = 3 * c.heads * linear_bytes(c.dim, c.head_dim(), precision.qkv, layout);
    let proj = linear(vit, name("attn.proj"), attention, [c.dim, c.dim], n, precision.proj);
    let proj_bytes = c.heads * linear_bytes(c.head_dim(), c.dim, precision.proj, layout);
    let fc2 = linear(vit, name("mlp.fc2"), mlp, [c.hidden, c.dim], n, precision.fc2);
    let sums = if precision.fc2 == Precision::Int8 { padded(4 * c.dim) } else { 0 };
    [
        norm(vit, name("norm1"), Place::In(Stage::Norm { layer })),
        Layer { bytes: qkv_bytes, ..qkv },
        Layer {
            name: name("attn"),
            shape: format!("{} heads, {n} × {n} scores, {} wide", c.heads, c.head_dim()),
            precision: "-",
            parameters: 0,
            macs: 2 * n * n * d,
            bytes: 0,
            place: attention,
        },
        Layer { bytes: proj_bytes, ..proj },
        norm(vit, name("norm2"), mlp),
        linear(vit, name("mlp.fc1"), mlp, [c.dim, c.hidden], n, precision.fc1),
        Layer { bytes: fc2.bytes + sums, ..fc2 },
    ]
}

fn linear(
    vit: &Vit,
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
        bytes: linear_bytes(inputs, outputs, precision, vit.model().layout()),
        place,
    }
}

fn norm(vit: &Vit, name: String, place: Place) -> Layer {
    let dim = vit.config().dim;
    Layer {
        name,
        shape: format!("layer norm {dim}"),
        precision: "f32",
        parameters: 2 * dim as u64,
        macs: 0,
        bytes: 2 * padded(4 * dim),
        place,
    }
}
