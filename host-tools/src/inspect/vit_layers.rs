//! Cost of each layer of a classifier.

use vitreous::models::vit::{Head, Vit};
use vitreous::tensor::{padded, Precision};
use vitreous::Stage;

use super::layer::{Layer, Maker};
use super::place::Place;

/// All layers of a ViT, in the order in which they run.
pub fn classifier_layers(vit: &Vit) -> Vec<Layer> {
    let c = vit.config();
    let make = Maker::new(vit.model(), c.tokens(), c.dim, c.heads);
    let (embed, head) = (Place::In(Stage::Embed), Place::In(Stage::Head));
    let patch_embed = [c.patch_bytes(), c.dim];
    let patches = c.patches() as u64;
    let positions = make.embedding("tokens, pos_embed".into(), embed);
    let mut all = vec![
        make.linear("patch_embed".into(), embed, patch_embed, patches, Precision::Int8),
        Layer {
            parameters: positions.parameters + (c.prefix_tokens() * c.dim) as u64,
            // The file holds the tokens with their positions.
            bytes: padded(2 * c.prefix_tokens() * c.dim) + padded(2 * c.patches() * c.dim),
            ..positions
        },
    ];
    for block in 0..c.depth {
        all.extend(block_layers(&make, vit, block));
    }
    for (there, name) in [(c.norm_before_pool, "norm"), (c.norm_after_pool, "fc_norm")] {
        if there {
            all.push(make.norm(name.into(), Stage::Head));
        }
    }
    for (there, name) in [(c.head != Head::None, "head"), (c.second_head_token().is_some(), "head_dist")] {
        if there {
            all.push(make.linear(name.into(), head, [c.dim, c.classes], 1, vit.head_precision()));
        }
    }
    all
}

fn block_layers(make: &Maker, vit: &Vit, block: usize) -> Vec<Layer> {
    let (layer, precision) = (block as u16, vit.block_precision(block));
    let name = |part: &str| format!("blocks.{block}.{part}");
    let mlp = Stage::Mlp { layer };
    let mut all = vec![make.norm(name("norm1"), Stage::Norm { layer })];
    let attention = [precision.qkv, precision.proj];
    all.extend(make.attention(&name("attn"), Place::Own(layer), attention, true));
    all.push(make.norm(name("norm2"), mlp));
    all.extend(make.mlp(&name("mlp"), mlp, vit.config().hidden, [precision.fc1, precision.fc2]));
    all
}
