//! The memory plan of a ViT: which activations exist when.

use core::ops::RangeInclusive;

use super::weights::Vit;
use crate::arena::Plan;
use crate::error::Error;
use crate::kernels::TableSpec;
use crate::tensor::{padded, Precision, ALIGN};

/// Rows per tile where nothing else is said: two blocks of the microcontrollers' kernels, so that what a tile
/// takes besides is shared by both.
pub const DEFAULT_TILE_ROWS: usize = 8;
/// Most rows per tile.
pub const MAX_TILE_ROWS: usize = 256;

/// Phases of a forward pass. Attention and MLP alternate; nothing but the tokens lives from one block to the
/// next.
const EMBED: u8 = 0;
const NORM: u8 = 1;
const ATTENTION: u8 = 2;
const MLP: u8 = 3;
const HEAD: u8 = 4;

/// Numbers of the regions in the plan, in the order of [`Vit::plan_with_tile_rows`].
pub(super) mod region {
    /// Residual stream: `(tokens, dim)` f16.
    pub const TOKENS: usize = 0;
    /// One row of patches: `(patch_height, image_width, channels)` u8.
    pub const STRIP: usize = 1;
    /// Pixels − 128 of a tile of patches: `(tile, patch_bytes)` i8.
    pub const PATCHES: usize = 2;
    /// Their scales, all 1: `(tile)` f32.
    pub const PATCH_SCALES: usize = 3;
    /// Normed tokens: `(tokens, dim)` i8, or f16 where a block keeps f16 weights for query, key and value.
    pub const PLANE: usize = 4;
    /// Their scales: `(tokens)` f32.
    pub const PLANE_SCALES: usize = 5;
    /// Normed tokens, as many as the kernels take together (one on the portable ones): `(rows, dim)` f32.
    pub const NORMED: usize = 6;
    /// Keys of the heads at work, one without threads, as the kernel table orders them: `(heads, tokens,
    /// head_dim)` i8.
    pub const KEYS: usize = 7;
    /// Their scales: `(heads, tokens)` f32.
    pub const KEY_SCALES: usize = 8;
    /// Values of the same heads, as the kernel table orders them: `(heads, tokens, head_dim)` i8.
    pub const VALUES: usize = 9;
    /// Their scales: `(heads, tokens)` f32; relative to the head's largest once all its values are there.
    pub const VALUE_SCALES: usize = 10;
    /// Keys, values, queries or attended values of a tile: `(tile, head_dim)` f32.
    pub const HEAD_ROWS: usize = 11;
    /// The same, quantized.
    pub const HEAD_ROWS_I8: usize = 12;
    /// Their scales: `(tile)` f32.
    pub const HEAD_ROW_SCALES: usize = 13;
    /// Scores of the queries at work, one on the portable kernels: `(tokens)` f32.
    pub const SCORES: usize = 14;
    /// Their softmax weights: `(tokens)` i16.
    pub const PROBABILITIES: usize = 15;
    /// Their weighted sums of values: `(head_dim)` i32.
    pub const WEIGHTED_SUM: usize = 16;
    /// A tile of the plane, widened for f16 weights: `(tile, dim)` f32.
    pub const WIDE_ROWS: usize = 17;
    /// Normed tokens of a tile: `(tile, dim)` f32.
    pub const MLP_ROWS: usize = 18;
    /// The same, quantized.
    pub const MLP_ROWS_I8: usize = 19;
    /// Scales of either quantized tile: `(tile)` f32.
    pub const MLP_SCALES: usize = 20;
    /// Zero points of the hidden layer: `(tile)` i32.
    pub const MLP_ZERO_POINTS: usize = 21;
    /// Hidden layer of a tile: `(tile, hidden)` f32.
    pub const HIDDEN: usize = 22;
    /// The same, quantized.
    pub const HIDDEN_I8: usize = 23;
    /// Pooled features: `(dim)` f32.
    pub const FEATURES: usize = 24;
    /// A row on its way to a classifier: `(dim)` f32.
    pub const HEAD_INPUT: usize = 25;
    /// The same, quantized.
    pub const HEAD_INPUT_I8: usize = 26;
    /// Logits: `(classes)` f32.
    pub const LOGITS: usize = 27;
    /// Logits of the distillation head: `(classes)` f32.
    pub const LOGITS_DIST: usize = 28;
    /// What the kernel table's int8 linear layers work in, phase by phase.
    pub const EMBED_LINEAR: usize = 29;
    pub const ATTENTION_LINEAR: usize = 30;
    pub const MLP_LINEAR: usize = 31;
    pub const HEAD_LINEAR: usize = 32;
}

/// Most heads whose keys and values exist at a time. Without threads there is no use for more than one.
pub(super) const MAX_HEADS_TOGETHER: usize = if cfg!(feature = "parallel") { 16 } else { 1 };

/// Whether memory may be spent on fewer forks, and on cores that don't take each other's cache lines.
fn has_room(kernels: &TableSpec, workers: usize) -> bool {
    kernels.has_room && workers > 1
}

/// Heads whose keys and values exist at a time.
pub(super) fn heads_together(heads: usize, kernels: &TableSpec, workers: usize) -> usize {
    if has_room(kernels, workers) {
        heads.clamp(1, MAX_HEADS_TOGETHER)
    } else {
        1
    }
}

impl Vit<'_> {
    /// The memory plan with [`DEFAULT_TILE_ROWS`] on the kernel table that the file is meant for, which is
    /// what the model's header states.
    pub fn plan(&self) -> Plan {
        // Checked when the model was loaded.
        self.plan_with_tile_rows(DEFAULT_TILE_ROWS).unwrap_or(Plan::new(ALIGN))
    }

    /// The memory plan with a tile height of one's own: more rows share each weight that is read, and need
    /// more memory. The result of a run is the same to the bit.
    ///
    /// # Errors
    /// [`Error::TileRows`], [`Error::PlanTooLarge`].
    pub fn plan_with_tile_rows(&self, tile: usize) -> Result<Plan, Error> {
        self.plan_for(tile, TableSpec::of_layout(self.model().layout()), 1)
    }

    /// The memory plan of a run on a kernel table and a number of workers: tables may order keys and values
    /// differently and take several queries at a time, and each worker has scratch of its own. Several
    /// workers may have keys and values of several heads, and no memory that serves two purposes
    /// ([`TableSpec::has_room`]).
    ///
    /// # Errors
    /// As [`Vit::plan_with_tile_rows`].
    pub fn plan_for(&self, tile: usize, kernels: &TableSpec, workers: usize) -> Result<Plan, Error> {
        if tile == 0 || tile > MAX_TILE_ROWS {
            return Err(Error::TileRows { found: tile, limit: MAX_TILE_ROWS });
        }
        let c = self.config();
        let (tokens, head_dim) = (c.tokens(), c.head_dim());
        let attention = (kernels.attention_memory)(tokens, head_dim);
        let any_f16 = (0..c.depth).any(|layer| self.block_precision(layer).qkv == Precision::F16);
        let plane_row = if any_f16 { padded(2 * c.dim) } else { padded(c.dim) };
        let linear = |pitches: &[usize]| {
            let widest = pitches.iter().copied().max().unwrap_or(0);
            workers * (kernels.linear_scratch)(padded(widest))
        };
        let has_room = has_room(kernels, workers);
        let phases = |phases: RangeInclusive<u8>| if has_room { EMBED..=HEAD } else { phases };
        let together = heads_together(c.heads, kernels, workers);
        let dist_classes = if c.second_head_token().is_some() { c.classes } else { 0 };
        let mut plan = Plan::new(kernels.region_align);
        plan.add("tokens", tokens * c.dim, 2, EMBED..=HEAD);
        plan.add("strip", c.patch_height * c.image_width * c.channels, 1, phases(EMBED..=EMBED));
        plan.add("patches", tile * padded(c.patch_bytes()), 1, phases(EMBED..=EMBED));
        plan.add("patch scales", tile, 4, phases(EMBED..=EMBED));
        plan.add("normed plane", tokens * plane_row, 1, phases(NORM..=ATTENTION));
        plan.add("plane scales", tokens, 4, phases(NORM..=ATTENTION));
        plan.add("normed row", workers * kernels.norm_rows.min(tile) * c.dim, 4, phases(NORM..=NORM));
        plan.add("keys", together * attention.keys, 1, phases(ATTENTION..=ATTENTION));
        plan.add("key scales", together * tokens, 4, phases(ATTENTION..=ATTENTION));
        plan.add("values", together * attention.values, 1, phases(ATTENTION..=ATTENTION));
        plan.add("value scales", together * tokens, 4, phases(ATTENTION..=ATTENTION));
        plan.add("head rows", tile * head_dim, 4, phases(ATTENTION..=ATTENTION));
        plan.add("head rows i8", tile * padded(head_dim), 1, phases(ATTENTION..=ATTENTION));
        plan.add("head row scales", tile, 4, phases(ATTENTION..=ATTENTION));
        plan.add("scores", attention.scores, workers, phases(ATTENTION..=ATTENTION));
        plan.add("probabilities", attention.weights, workers, phases(ATTENTION..=ATTENTION));
        plan.add("weighted sum", attention.sums, workers, phases(ATTENTION..=ATTENTION));
        plan.add("wide rows", if any_f16 { tile * c.dim } else { 0 }, 4, phases(ATTENTION..=ATTENTION));
        plan.add("mlp rows", tile * c.dim, 4, phases(MLP..=MLP));
        plan.add("mlp rows i8", tile * padded(c.dim), 1, phases(MLP..=MLP));
        plan.add("mlp scales", tile, 4, phases(MLP..=MLP));
        plan.add("mlp zero points", tile, 4, phases(MLP..=MLP));
        plan.add("hidden", tile * c.hidden, 4, phases(MLP..=MLP));
        plan.add("hidden i8", tile * padded(c.hidden), 1, phases(MLP..=MLP));
        plan.add("features", c.dim, 4, phases(HEAD..=HEAD));
        plan.add("head input", c.dim, 4, phases(HEAD..=HEAD));
        plan.add("head input i8", padded(c.dim), 1, phases(HEAD..=HEAD));
        plan.add("logits", c.classes, 4, phases(HEAD..=HEAD));
        plan.add("logits dist", dist_classes, 4, phases(HEAD..=HEAD));
        plan.add("embed scratch", linear(&[c.patch_bytes()]), 4, phases(EMBED..=EMBED));
        plan.add("attention scratch", linear(&[c.dim, head_dim]), 4, phases(ATTENTION..=ATTENTION));
        plan.add("mlp scratch", linear(&[c.dim, c.hidden]), 4, phases(MLP..=MLP));
        plan.add("head scratch", linear(&[c.dim]), 4, phases(HEAD..=HEAD));
        plan.checked()
    }
}
