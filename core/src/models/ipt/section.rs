//! The configuration section of an IPT: how it is stored, and how it is checked.

use heapless::Vec;

use super::config::{IptConfig, Task, TaskKind, BLOCK_KERNEL, COLOURS, MAX_TASKS, OUTER_KERNEL};
use crate::blocks::LayerPrecision;
use crate::error::Error;
use crate::format::{u32_at, Words};
use crate::run::MAX_TILE_ROWS;
use crate::tensor::Precision::{self, Int8};
use crate::tensor::{MAX_DEPTH, MAX_INPUTS, MAX_TOKENS, MIN_MAGNITUDE};

/// Words (u32) before those of the tasks.
const FIXED_WORDS: usize = 16;
/// Words of a task.
const TASK_WORDS: usize = 4;
/// The most feature maps.
const MAX_FEATURES: usize = 1024;
/// Shortest side of a window in pixels: more than the sum of the radii of a block's kernel and of an outer
/// kernel.
const MIN_WINDOW: usize = BLOCK_KERNEL / 2 + OUTER_KERNEL / 2 + 1;
/// Longest side of a window in pixels.
const MAX_WINDOW: usize = 1024;
/// Longest side of a patch in pixels.
const MAX_PATCH: usize = 64;
/// Widest token.
const MAX_DIM: usize = 16_384;
/// The most attention heads.
const MAX_HEADS: usize = 1024;
/// Widest hidden layer.
const MAX_HIDDEN: usize = 65_535;

/// Every product that the engine makes of these numbers fits into 32 bits, even if all are at their largest.
/// So no product needs a check where it stands. (Bytes of tensors and regions are checked where they are
/// added up: by the cursor against the section's length, by the plan against the address space.)
const _: () = {
    const LIMIT: u64 = u32::MAX as u64;
    // Elements of feature maps, positions, a query or the residual stream: `tokens·dim = window²·features`.
    let map = (MAX_WINDOW * MAX_WINDOW * MAX_FEATURES) as u64;
    assert!(map <= LIMIT);
    // Bytes of a plane of f16 rows, each padded to 16 bytes.
    assert!(2 * map + 15 * MAX_TOKENS as u64 <= LIMIT);
    // The number of tokens (`window²` at most) and a token's width, before they are compared with bounds.
    assert!(
        (MAX_WINDOW * MAX_WINDOW) as u64 <= LIMIT && (MAX_FEATURES * MAX_PATCH * MAX_PATCH) as u64 <= LIMIT
    );
    // Inputs of a convolution and of an MLP's second layer: the integer sums of so many products are exact.
    assert!(BLOCK_KERNEL * BLOCK_KERNEL * MAX_FEATURES <= MAX_INPUTS && MAX_HIDDEN <= MAX_INPUTS);
    // Bytes of a tile of neighbourhoods, of a tile's hidden layer, and of a tile's outputs in the upsampler.
    let tile = MAX_TILE_ROWS as u64;
    assert!(tile * 4 * (BLOCK_KERNEL * BLOCK_KERNEL * MAX_FEATURES) as u64 <= LIMIT);
    assert!(tile * 4 * (MAX_HIDDEN + 15) as u64 <= LIMIT);
    assert!(tile * 4 * (9 * MAX_FEATURES) as u64 <= LIMIT);
    // Bytes of the band of a tail's last convolution, four times as wide as the window, and of its ring.
    assert!((5 * 4 * MAX_WINDOW * MAX_FEATURES) as u64 * 4 <= LIMIT);
};

/// Precisions of a task's own convolutions. The first convolution of the head and the last of the tail always
/// have f16 weights, since the picture itself goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TaskPrecision {
    /// The four convolutions of the head's residual blocks.
    pub blocks: [Precision; 4],
    /// The convolutions of the upsampler.
    pub upsampler: [Precision; 2],
}

impl TaskPrecision {
    /// All int8.
    pub const INT8: Self = Self { blocks: [Int8; 4], upsampler: [Int8; 2] };

    /// Bit i is set where convolution i keeps f16 weights. Those of the blocks come before the upsampler's.
    pub fn to_word(self) -> u32 {
        Precision::to_word(self.blocks.into_iter().chain(self.upsampler))
    }

    fn from_word(word: u32) -> Self {
        let [a, b, c, d, e, f] = Precision::from_word(word);
        Self { blocks: [a, b, c, d], upsampler: [e, f] }
    }
}

/// Precisions of the layers around encoder and decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BodyPrecision {
    /// The linear encoding of the patches.
    pub encoding: Precision,
    /// First layer of the MLP behind the decoder.
    pub fc1: Precision,
    /// Its second layer.
    pub fc2: Precision,
}

impl BodyPrecision {
    /// All int8.
    pub const INT8: Self = Self { encoding: Int8, fc1: Int8, fc2: Int8 };

    /// Bit i is set where layer i, in the order of the fields, keeps f16 weights.
    pub fn to_word(self) -> u32 {
        Precision::to_word([self.encoding, self.fc1, self.fc2])
    }

    fn from_word(word: u32) -> Self {
        let [encoding, fc1, fc2] = Precision::from_word(word);
        Self { encoding, fc1, fc2 }
    }
}

/// The configuration section, read in place: precisions are read when they are needed.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IptSection<'a> {
    bytes: &'a [u8],
    tasks: usize,
}

impl<'a> IptSection<'a> {
    /// The fixed words and those of the tasks, for the converter. The precision words of the encoder's, then
    /// of the decoder's layers follow. `mean` is the colour that is subtracted from pixels, in grey levels.
    pub fn words(
        config: &IptConfig,
        mean: [f32; COLOURS],
        body: BodyPrecision,
        tasks: &[TaskPrecision],
    ) -> Vec<u32, { FIXED_WORDS + TASK_WORDS * MAX_TASKS }> {
        let c = config;
        let sizes = [c.features, c.window, c.patch, c.heads, c.hidden, c.head_hidden];
        let layers = [c.encoder_layers, c.decoder_layers, c.tasks.len()];
        let sizes = sizes.into_iter().chain(layers).map(|size| size as u32);
        let [red, green, blue] = mean.map(f32::to_bits);
        let others = [c.norm_eps.to_bits(), red, green, blue, body.to_word(), 0, 0];
        let task = |(task, precision): (&Task, &TaskPrecision)| {
            [task.kind as u32, task.scale as u32, task.strength as u32, precision.to_word()]
        };
        let of_tasks = c.tasks.iter().zip(tasks).flat_map(task);
        // The capacity is enough for the most tasks.
        let mut words = Vec::new();
        words.extend(sizes.chain(others).chain(of_tasks));
        words
    }

    const fn bytes(tasks: usize, layers: usize) -> usize {
        4 * (FIXED_WORDS + TASK_WORDS * tasks + layers)
    }

    /// Reads and checks the section, given by its offset in the file and its bytes.
    pub(super) fn parse(section: (u32, &'a [u8])) -> Result<(Self, IptConfig), Error> {
        let words = Words::new(section, Self::bytes(0, 0))?;
        let tasks = words.size("tasks", 8, 1, MAX_TASKS);
        let mut config = IptConfig {
            features: words.size("features", 0, COLOURS, MAX_FEATURES),
            window: words.size("window", 1, MIN_WINDOW, MAX_WINDOW),
            patch: words.size("patch", 2, 1, MAX_PATCH),
            heads: words.size("heads", 3, 1, MAX_HEADS),
            hidden: words.size("hidden", 4, 1, MAX_HIDDEN),
            head_hidden: words.size("head_hidden", 5, 1, MAX_HIDDEN),
            encoder_layers: words.size("encoder_layers", 6, 1, MAX_DEPTH),
            decoder_layers: words.size("decoder_layers", 7, 1, MAX_DEPTH),
            tasks: Vec::new(),
            norm_eps: f32::from_bits(words.word(9)),
        };
        words.done()?;
        words.expect_length(Self::bytes(tasks, config.encoder_layers + config.decoder_layers))?;
        check_relations(&words, &config);
        for index in 0..tasks {
            let task = parse_task(&words, FIXED_WORDS + TASK_WORDS * index);
            words.check(config.tasks.push(task).is_ok(), "tasks", 8);
        }
        let first_layer = FIXED_WORDS + TASK_WORDS * tasks;
        for layer in 0..config.encoder_layers + config.decoder_layers {
            let limit = if layer < config.encoder_layers { 16 } else { 64 };
            let word = first_layer + layer;
            words.check(words.word(word) < limit, "precision", word);
        }
        words.done()?;
        Ok((Self { bytes: section.1, tasks }, config))
    }

    fn word(&self, index: usize) -> u32 {
        u32_at(self.bytes, index.saturating_mul(4))
    }

    /// The colour that is subtracted from pixels, in grey levels.
    pub fn mean(&self) -> [f32; COLOURS] {
        [10, 11, 12].map(|word| f32::from_bits(self.word(word)))
    }

    /// Precisions of the layers around encoder and decoder.
    pub fn body(&self) -> BodyPrecision {
        BodyPrecision::from_word(self.word(13))
    }

    /// Precisions of a task's convolutions. They mean nothing for a task that the model does not have.
    pub fn task(&self, task: usize) -> TaskPrecision {
        let word = task.saturating_mul(TASK_WORDS).saturating_add(FIXED_WORDS + 3);
        TaskPrecision::from_word(self.word(word))
    }

    /// Precisions of a layer. The decoder's layers are numbered after the encoder's.
    pub fn layer(&self, layer: usize) -> LayerPrecision {
        LayerPrecision::from_word(self.word(layer.saturating_add(FIXED_WORDS + TASK_WORDS * self.tasks)))
    }
}

fn parse_task(words: &Words, at: usize) -> Task {
    const KINDS: [TaskKind; 4] =
        [TaskKind::Denoise, TaskKind::SuperResolve, TaskKind::Derain, TaskKind::Jpeg];
    let kind = words.one_of("task_kind", at, &KINDS, TaskKind::Denoise);
    let (least, most) = if kind == TaskKind::SuperResolve { (2, 4) } else { (1, 1) };
    let (weakest, strongest) = match kind {
        TaskKind::Denoise => (1, 255),
        TaskKind::Jpeg => (1, 100),
        TaskKind::SuperResolve | TaskKind::Derain => (0, 0),
    };
    words.check(words.word(at + 3) < 64, "task_precision", at + 3);
    Task {
        kind,
        scale: words.size("task_scale", at + 1, least, most),
        strength: words.size("task_strength", at + 2, weakest, strongest),
    }
}

/// Checks relations between the fields. The bounds of [`IptSection::parse`] keep every product below 2^32.
fn check_relations(words: &Words, c: &IptConfig) {
    words.check(c.window.is_multiple_of(c.patch), "patch", 2);
    words.check(c.tokens() <= MAX_TOKENS, "window", 1);
    words.check(c.dim() <= MAX_DIM, "features", 0);
    words.check(c.dim().is_multiple_of(c.heads), "heads", 3);
    words.check(c.norm_eps >= MIN_MAGNITUDE && c.norm_eps <= 1.0, "norm_eps", 9);
    for word in 10..13 {
        let mean = f32::from_bits(words.word(word));
        words.check(mean == 0.0 || (MIN_MAGNITUDE..=255.0).contains(&mean), "mean", word);
    }
    words.check(words.word(13) < 8, "body_precision", 13);
    words.check(words.word(14) == 0, "reserved", 14);
    words.check(words.word(15) == 0, "reserved", 15);
}
