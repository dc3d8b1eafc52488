//! The memory of an IPT for one task: which activations exist in which phase.

use half::f16;

use super::config::{IptConfig, Task, BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use super::section::IptSection;
use crate::arena::{Phases, Plan, Slot};
use crate::blocks::{AttentionShape, LayerSlots, MlpSlots, PlaneSlots};
use crate::ops::{ConvNeeds, ConvSlots};
use crate::run::Machine;
use crate::tensor::Precision;

/// Phases of a window: the first two are convolutions before and behind the body. The others repeat in it.
const ENTRY: u8 = 0;
const TAIL: u8 = 1;
const NORM: u8 = 2;
const ATTENTION: u8 = 3;
const MLP: u8 = 4;

/// Rows of the ring from which a residual block's second convolution reads: as many as its kernel is high.
pub(super) const HIDDEN_ROWS: usize = BLOCK_KERNEL;

/// Everything that a run keeps in the arena.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    /// Feature maps: `(window, window·features)`. The head's output stays here until the body's output is
    /// added to it.
    pub map: Slot<f16>,
    /// The residual stream, and the attentions' memory.
    pub layer: LayerSlots,
    /// The window's pixels: `(window, window·3)`.
    pub window: Slot<u8>,
    pub conv: ConvSlots,
    /// Rows between the convolutions of a residual block: a ring of `(HIDDEN_ROWS, window·features)`.
    pub hidden_rows: Slot<f16>,
    /// Rows behind each step of the upsampler: a ring of `(factor + 2, width·features)`.
    pub upsampled: [Slot<f16>; 2],
    /// An output row: `(window·scale, 3)`.
    pub out_row: Slot<f32>,
    /// Normed tokens.
    pub plane: PlaneSlots,
    /// Normed tokens plus the task's query.
    pub query_plane: PlaneSlots,
    /// The encoder's output, of which the decoder makes keys and values.
    pub memory: PlaneSlots,
    /// Memory of the MLPs and of the linear encoding.
    pub mlp: MlpSlots,
}

/// Plans the memory for windows of `task`, which has number `index` in the model. `plan` is empty before.
#[inline(never)]
pub(super) fn plan(
    plan: &mut Plan,
    c: &IptConfig,
    section: &IptSection,
    (index, task): (usize, &Task),
    m: &Machine,
) -> Slots {
    let phases = |alive: Phases| if m.has_room() { Phases::through(ENTRY, MLP) } else { alive };
    let (tokens, dim, row) = (c.tokens(), c.dim(), c.window * c.features);
    let layers = c.encoder_layers + c.decoder_layers;
    let own_f16 = (0..layers).any(|layer| section.layer(layer).qkv == Precision::F16);
    // The encoder's output is kept once for all layers of the decoder: as f16 if one of them needs it so.
    let cross_f16 = (c.encoder_layers..layers).any(|layer| section.layer(layer).cross_qkv == Precision::F16);
    let shape = AttentionShape {
        tokens,
        dim,
        heads: c.heads,
        is_widened: own_f16 || cross_f16,
        is_requantized: own_f16 || cross_f16,
    };
    let map = plan.slot("feature maps", c.window, row, Phases::through(ENTRY, MLP));
    let tokens_slot = plan.slot("tokens", tokens, dim, Phases::through(NORM, MLP));
    let (needs, rings, width) = conv_needs(c, section, index, task);
    let window = plan.slot("window", c.window, c.window * COLOURS, Phases::only(ENTRY));
    let conv = needs.plan(plan, m, Phases::through(ENTRY, TAIL));
    let hidden_rows = plan.slot("conv hidden rows", HIDDEN_ROWS, row, Phases::only(ENTRY));
    let mut ring = |name, (rows, width): (usize, usize)| plan.slot(name, rows, width, Phases::only(TAIL));
    let upsampled = [ring("upsampled rows", rings[0]), ring("upsampled rows 2", rings[1])];
    let out_row = plan.slot("output row", 1, width * COLOURS, Phases::only(TAIL));
    let mut planned = |names, is_f16, phases| PlaneSlots::plan(plan, names, (tokens, dim), is_f16, phases);
    let planes = phases(Phases::through(NORM, ATTENTION));
    // Slots that live longest come first, so that no hole is left that is too small for an area.
    let memory = planned(["memory", "memory scales"], cross_f16, Phases::through(NORM, MLP));
    let plane = planned(["normed plane", "plane scales"], own_f16, planes);
    let query_plane = planned(["query plane", "query plane scales"], own_f16 || cross_f16, planes);
    let layer_phases = [NORM, ATTENTION].map(|phase| phases(Phases::only(phase)));
    let layer = LayerSlots::plan(plan, m, tokens_slot, &shape, layer_phases);
    let widest = c.hidden.max(c.head_hidden).max(dim);
    let mlp = MlpSlots::plan(plan, m, dim, widest, Phases::only(MLP));
    Slots { map, layer, window, conv, hidden_rows, upsampled, out_row, plane, query_plane, memory, mlp }
}

/// What the convolutions need, the shapes of the upsampler's rings, and the width of the output in pixels.
fn conv_needs(
    c: &IptConfig,
    section: &IptSection,
    index: usize,
    task: &Task,
) -> (ConvNeeds, [(usize, usize); 2], usize) {
    let precision = section.task(index);
    let mut needs = ConvNeeds::default();
    needs.add(OUTER_KERNEL, c.window, COLOURS, c.features, Precision::F16);
    for precision in precision.blocks {
        needs.add(BLOCK_KERNEL, c.window, c.features, c.features, precision);
    }
    let mut width = c.window;
    let mut rings = [(0, 0); 2];
    for ((factor, precision), ring) in task.upsampler().iter().zip(precision.upsampler).zip(&mut rings) {
        needs.add(OUTER_KERNEL, width, c.features, c.features * factor * factor, precision);
        width *= factor;
        *ring = (factor + 2, width * c.features);
    }
    needs.add(OUTER_KERNEL, width, c.features, COLOURS, Precision::F16);
    (needs, rings, width)
}
