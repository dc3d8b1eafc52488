//! The memory plan of an IPT for one task: which activations exist when.

use super::config::{BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use super::weights::Ipt;
use crate::arena::Plan;
use crate::error::Error;
use crate::kernels::TableSpec;
pub use crate::models::vit::{DEFAULT_TILE_ROWS, MAX_TILE_ROWS};
use crate::tensor::{padded, Precision};

/// Phases. The first two are the convolutions before and behind the body; the others alternate in it.
const ENTRY: u8 = 0;
const TAIL: u8 = 1;
const NORM: u8 = 2;
const ATTENTION: u8 = 3;
const MLP: u8 = 4;

/// Rows of a ring that holds what a residual block's second convolution sees.
pub(super) const HIDDEN_ROWS: usize = BLOCK_KERNEL;

/// Numbers of the regions in the plan, in the order of [`Ipt::plan_with_tile_rows`].
pub(super) mod region {
    /// Feature maps: `(window, window, features)` f16. The head's output stays here until the body's is added
    /// to it.
    pub const MAP: usize = 0;
    /// Residual stream: `(tokens, dim)` f16.
    pub const TOKENS: usize = 1;
    /// The window's pixels: `(window, window, 3)` u8.
    pub const WINDOW: usize = 2;
    /// Scratch of [`crate::ops::ConvScratch`], in its order; the last for the kernel table's int8 linear
    /// layers.
    pub const CONV: [usize; 7] = [3, 4, 5, 6, 7, 8, 39];
    /// Rows between the convolutions of a residual block: `(HIDDEN_ROWS, window, features)` f16.
    pub const HIDDEN_ROWS: usize = 9;
    /// Rows behind the first step of the upsampler: `(factor + 2, width, features)` f16.
    pub const UPSAMPLED: [usize; 2] = [10, 11];
    /// An output row: `(window·scale, 3)` f32.
    pub const OUT_ROW: usize = 12;
    /// Normed tokens: `(tokens, dim)` i8, or f16 where their layers have f16 weights.
    pub const PLANE: usize = 13;
    pub const PLANE_SCALES: usize = 14;
    /// The same with the task's query added.
    pub const QUERY_PLANE: usize = 15;
    pub const QUERY_PLANE_SCALES: usize = 16;
    /// The encoder's output, as the decoder reads it.
    pub const MEMORY: usize = 17;
    pub const MEMORY_SCALES: usize = 18;
    /// One normed token: `(dim)` f32.
    pub const NORMED: usize = 19;
    /// Keys of one head, as the kernel table orders them: `(tokens, head_dim)` i8.
    pub const KEYS: usize = 20;
    pub const KEY_SCALES: usize = 21;
    /// Values of one head, as the kernel table orders them: `(tokens, head_dim)` i8.
    pub const VALUES: usize = 22;
    pub const VALUE_SCALES: usize = 23;
    /// Keys, values, queries or attended values of a tile: `(tile, head_dim)` f32, and quantized.
    pub const HEAD_ROWS: usize = 24;
    pub const HEAD_ROWS_I8: usize = 25;
    pub const HEAD_ROW_SCALES: usize = 26;
    /// Scores of the queries at work, their softmax weights, their weighted sums of values.
    pub const SCORES: usize = 27;
    pub const PROBABILITIES: usize = 28;
    pub const WEIGHTED_SUM: usize = 29;
    /// A tile of an f16 plane, widened, and quantized again for int8 weights.
    pub const WIDE_ROWS: usize = 30;
    pub const WIDE_CODES: usize = 31;
    pub const WIDE_SCALES: usize = 32;
    /// Inputs of an MLP or of the linear encoding: `(tile, dim)` f32, and quantized.
    pub const MLP_ROWS: usize = 33;
    pub const MLP_ROWS_I8: usize = 34;
    pub const MLP_SCALES: usize = 35;
    pub const MLP_ZERO_POINTS: usize = 36;
    /// Hidden layer, or output of the linear encoding: `(tile, widest)` f32, and quantized.
    pub const HIDDEN: usize = 37;
    pub const HIDDEN_I8: usize = 38;
    /// The same for the linear layers of the body.
    pub const ATTENTION_LINEAR: usize = 40;
    pub const MLP_LINEAR: usize = 41;
}

/// Largest needs of a task's convolutions.
#[derive(Default)]
struct ConvNeeds {
    /// Floats of the rows that an output row sees.
    band: usize,
    /// Bytes of one pixel's neighbourhood.
    neighbourhood: usize,
    /// Channels out.
    outputs: usize,
    /// Inputs of an output with int8 weights.
    int8_inputs: usize,
}

impl ConvNeeds {
    fn add(&mut self, kernel: usize, width: usize, inputs: usize, outputs: usize, precision: Precision) {
        let taps = kernel * kernel * inputs;
        let bytes = match precision {
            Precision::Int8 => padded(taps),
            Precision::F16 => 4 * taps,
        };
        if precision == Precision::Int8 {
            self.int8_inputs = self.int8_inputs.max(taps);
        }
        self.band = self.band.max(kernel * width * inputs);
        self.neighbourhood = self.neighbourhood.max(bytes);
        self.outputs = self.outputs.max(outputs);
    }
}

impl Ipt<'_> {
    /// The memory plan of a task with [`DEFAULT_TILE_ROWS`].
    ///
    /// # Errors
    /// [`Error::Task`] if the model has fewer tasks.
    pub fn plan(&self, task: usize) -> Result<Plan, Error> {
        self.plan_with_tile_rows(task, DEFAULT_TILE_ROWS)
    }

    /// The memory plan with a tile height of one's own; the result of a run is the same to the bit.
    ///
    /// # Errors
    /// [`Error::Task`], [`Error::TileRows`], [`Error::PlanTooLarge`].
    pub fn plan_with_tile_rows(&self, task: usize, tile: usize) -> Result<Plan, Error> {
        self.plan_for(task, tile, TableSpec::of_layout(self.model().layout()))
    }

    /// The memory plan of a run on a kernel table: tables may order keys and values differently, and take
    /// several queries at a time.
    ///
    /// # Errors
    /// As [`Ipt::plan_with_tile_rows`].
    pub fn plan_for(&self, task: usize, tile: usize, kernels: &TableSpec) -> Result<Plan, Error> {
        if tile == 0 || tile > MAX_TILE_ROWS {
            return Err(Error::TileRows { found: tile, limit: MAX_TILE_ROWS });
        }
        let mut plan = Plan::new(kernels.region_align);
        let (c, tokens, dim) = (self.config(), self.config().tokens(), self.config().dim());
        plan.add("feature maps", c.window * c.window * c.features, 2, ENTRY..=MLP);
        plan.add("tokens", tokens * dim, 2, NORM..=MLP);
        let conv_inputs = self.plan_convolutions(&mut plan, task, tile)?;
        self.plan_body(&mut plan, tile, kernels);
        let linear = |inputs: usize| (kernels.linear_scratch)(padded(inputs));
        plan.add("conv scratch", linear(conv_inputs), 4, ENTRY..=TAIL);
        plan.add("attention scratch", linear(dim), 4, ATTENTION..=ATTENTION);
        plan.add("mlp scratch", linear(self.widest()), 4, MLP..=MLP);
        plan.checked()
    }

    /// Returns the most inputs of an int8 convolution's output.
    fn plan_convolutions(&self, plan: &mut Plan, task: usize, tile: usize) -> Result<usize, Error> {
        let c = self.config();
        let found = Error::Task { found: task, tasks: c.tasks.len() };
        let (steps, precision) = (c.tasks.get(task).ok_or(found)?.upsampler(), self.section().task(task));
        let mut needs = ConvNeeds::default();
        needs.add(OUTER_KERNEL, c.window, COLOURS, c.features, Precision::F16);
        for precision in precision.blocks {
            needs.add(BLOCK_KERNEL, c.window, c.features, c.features, precision);
        }
        let mut width = c.window;
        let mut rings = [0; 2];
        for ((factor, precision), ring) in steps.iter().zip(precision.upsampler).zip(&mut rings) {
            needs.add(OUTER_KERNEL, width, c.features, c.features * factor * factor, precision);
            width *= factor;
            *ring = (factor + 2) * width * c.features;
        }
        needs.add(OUTER_KERNEL, width, c.features, COLOURS, Precision::F16);
        plan.add("window", c.window * c.window * COLOURS, 1, ENTRY..=ENTRY);
        plan.add("conv band", needs.band, 4, ENTRY..=TAIL);
        plan.add("conv codes", needs.band, 1, ENTRY..=TAIL);
        plan.add("conv neighbourhoods", tile * needs.neighbourhood, 1, ENTRY..=TAIL);
        plan.add("conv scales", tile, 4, ENTRY..=TAIL);
        plan.add("conv zero points", tile, 4, ENTRY..=TAIL);
        plan.add("conv out", tile * needs.outputs, 4, ENTRY..=TAIL);
        plan.add("conv hidden rows", HIDDEN_ROWS * c.window * c.features, 2, ENTRY..=ENTRY);
        plan.add("upsampled rows", rings[0], 2, TAIL..=TAIL);
        plan.add("upsampled rows 2", rings[1], 2, TAIL..=TAIL);
        plan.add("output row", width * COLOURS, 4, TAIL..=TAIL);
        Ok(needs.int8_inputs)
    }

    fn plan_body(&self, plan: &mut Plan, tile: usize, kernels: &TableSpec) {
        let c = self.config();
        let (tokens, dim, head_dim) = (c.tokens(), c.dim(), c.head_dim());
        let attention = (kernels.attention_memory)(tokens, head_dim);
        let layers = || (0..c.encoder_layers + c.decoder_layers).map(|layer| self.section().layer(layer));
        let own_f16 = layers().any(|l| l.qkv == Precision::F16);
        let cross_f16 = self.memory_is_f16();
        let row = |f16: bool| if f16 { padded(2 * dim) } else { padded(dim) };
        let wide = if own_f16 || cross_f16 { tile } else { 0 };
        plan.add("normed plane", tokens * row(own_f16), 1, NORM..=ATTENTION);
        plan.add("plane scales", tokens, 4, NORM..=ATTENTION);
        plan.add("query plane", tokens * row(own_f16 || cross_f16), 1, NORM..=ATTENTION);
        plan.add("query plane scales", tokens, 4, NORM..=ATTENTION);
        plan.add("memory", tokens * row(cross_f16), 1, NORM..=MLP);
        plan.add("memory scales", tokens, 4, NORM..=MLP);
        plan.add("normed row", dim, 4, NORM..=NORM);
        plan.add("keys", attention.keys, 1, ATTENTION..=ATTENTION);
        plan.add("key scales", tokens, 4, ATTENTION..=ATTENTION);
        plan.add("values", attention.values, 1, ATTENTION..=ATTENTION);
        plan.add("value scales", tokens, 4, ATTENTION..=ATTENTION);
        plan.add("head rows", tile * head_dim, 4, ATTENTION..=ATTENTION);
        plan.add("head rows i8", tile * padded(head_dim), 1, ATTENTION..=ATTENTION);
        plan.add("head row scales", tile, 4, ATTENTION..=ATTENTION);
        plan.add("scores", attention.scores, 1, ATTENTION..=ATTENTION);
        plan.add("probabilities", attention.weights, 1, ATTENTION..=ATTENTION);
        plan.add("weighted sum", attention.sums, 1, ATTENTION..=ATTENTION);
        plan.add("wide rows", wide * dim, 4, ATTENTION..=ATTENTION);
        plan.add("wide codes", wide * padded(dim), 1, ATTENTION..=ATTENTION);
        plan.add("wide scales", wide, 4, ATTENTION..=ATTENTION);
        let widest = self.widest();
        plan.add("mlp rows", tile * dim, 4, MLP..=MLP);
        plan.add("mlp rows i8", tile * padded(dim), 1, MLP..=MLP);
        plan.add("mlp scales", tile, 4, MLP..=MLP);
        plan.add("mlp zero points", tile, 4, MLP..=MLP);
        plan.add("hidden", tile * widest, 4, MLP..=MLP);
        plan.add("hidden i8", tile * padded(widest), 1, MLP..=MLP);
    }

    /// Elements of the longest row in the body.
    fn widest(&self) -> usize {
        let c = self.config();
        c.hidden.max(c.head_hidden).max(c.dim())
    }

    /// Whether the encoder's output is kept as f16: one cross-attention has f16 weights.
    pub(super) fn memory_is_f16(&self) -> bool {
        let c = self.config();
        let mut layers = c.encoder_layers..c.encoder_layers + c.decoder_layers;
        layers.any(|layer| self.section().layer(layer).cross_qkv == Precision::F16)
    }
}
