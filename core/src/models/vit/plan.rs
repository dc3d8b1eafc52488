//! The memory of a ViT: which activations exist in which phase.

use super::config::VitConfig;
use super::section::ConfigSection;
use crate::arena::{slots, Phases, Plan, Slot};
use crate::blocks::{AttentionShape, LayerSlots, MlpSlots, PlaneSlots};
use crate::run::Machine;
use crate::tensor::{padded, Precision};

/// Phases of a forward pass. Norm, attention and MLP repeat; only the tokens live from one block to the next.
const EMBED: u8 = 0;
const NORM: u8 = 1;
const ATTENTION: u8 = 2;
const MLP: u8 = 3;
const HEAD: u8 = 4;

/// Everything that a run keeps in the arena.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    /// The residual stream, and the attentions' memory.
    pub layer: LayerSlots,
    /// The pixels of one row of patches: `(patch_height, image_width·channels)`.
    pub strip: Slot<u8>,
    pub embed: EmbedSlots,
    /// Normed tokens.
    pub plane: PlaneSlots,
    pub mlp: MlpSlots,
    /// Pooled features: `(dim)`.
    pub features: Slot<f32>,
    /// `(classes)`.
    pub logits: Slot<f32>,
    pub head: HeadSlots,
}

slots! {
    /// Memory for a tile of the patch embedding.
    tile EmbedSlots => EmbedRows {
        /// The patches as `pixel − 128`: `(tile, patch_bytes)`.
        patches: Rows<i8>,
        /// Scales of the patches, all 1: `(tile)`.
        scales: Rows<f32>,
        /// Scratch of the linear layer.
        scratch: PerWorker<i32>,
    }
}

slots! {
    /// Memory for pooling and classifiers.
    tile HeadSlots => HeadRows {
        /// A normed token, for the mean or for the second classifier: `(dim)`.
        input: Rows<f32>,
        /// The input of a classifier, quantized: `(dim)`.
        codes: Rows<i8>,
        /// Logits of the second classifier: `(classes)`, or empty.
        second_logits: Rows<f32>,
        /// Scratch of the linear layers.
        scratch: PerWorker<i32>,
    }
}

/// Plans the memory of a run. `plan` is empty before.
#[inline(never)]
pub(super) fn plan(plan: &mut Plan, c: &VitConfig, section: &ConfigSection, m: &Machine) -> Slots {
    let phases = |alive: Phases| if m.has_room() { Phases::through(EMBED, HEAD) } else { alive };
    let is_f16 = (0..c.depth).any(|layer| section.block(layer).qkv == Precision::F16);
    let shape = AttentionShape {
        tokens: c.tokens(),
        dim: c.dim,
        heads: c.heads,
        is_widened: is_f16,
        is_requantized: false,
    };
    let tokens = plan.slot("tokens", c.tokens(), c.dim, Phases::through(EMBED, HEAD));
    let strip = plan.slot("strip", c.patch_height, c.image_width * c.channels, phases(Phases::only(EMBED)));
    let mut area = plan.area(phases(Phases::only(EMBED)));
    let embed = EmbedSlots {
        patches: area.slot("patches", m.tile, padded(c.patch_bytes())),
        scales: area.slot("patch scales", m.tile, 1),
        scratch: area.slot("embed scratch", m.workers, m.linear_scratch(c.patch_bytes())),
        area: area.place(),
    };
    let names = ["normed plane", "plane scales"];
    let plane =
        PlaneSlots::plan(plan, names, (c.tokens(), c.dim), is_f16, phases(Phases::through(NORM, ATTENTION)));
    let layer_phases = [NORM, ATTENTION].map(|phase| phases(Phases::only(phase)));
    let layer = LayerSlots::plan(plan, m, tokens, &shape, layer_phases);
    let mlp = MlpSlots::plan(plan, m, c.dim, c.hidden, Phases::only(MLP));
    let features = plan.slot("features", 1, c.dim, Phases::only(HEAD));
    let logits = plan.slot("logits", 1, c.classes, Phases::only(HEAD));
    let mut area = plan.area(Phases::only(HEAD));
    let head = HeadSlots {
        input: area.slot("head input", 1, c.dim),
        codes: area.slot("head input i8", 1, padded(c.dim)),
        second_logits: area.slot("logits dist", 1, c.classes * usize::from(c.second_head_token().is_some())),
        scratch: area.slot("head scratch", m.workers, m.linear_scratch(c.dim)),
        area: area.place(),
    };
    Slots { layer, strip, embed, plane, mlp, features, logits, head }
}
