//! The job that the host gives and the messages that the firmware answers with.

use serde::{Deserialize, Serialize};

/// The most floats in one [`Values`] message.
pub const VALUES_PER_FRAME: usize = 64;

/// The most bytes of restored rows in one [`Rows`] message.
pub const ROW_BYTES_PER_FRAME: usize = 256;

/// What to run. The images follow its frame in the job file, back to back, as [`Work`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Length of the model that was placed in the board's model region; 0 for the model that is linked in.
    pub model_bytes: u32,
    /// Number of images.
    pub images: u32,
    /// What to do with the images.
    pub work: Work,
    /// Whether to count a loop of known length first, to prove the instruction counter.
    pub calibrate: bool,
    /// A number that [`Hello`] returns, so that results are never taken for those of another job.
    pub job: u32,
}

/// What a job does with its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Computes the logits of a ViT. An image is `image_bytes` of pixels.
    Classify {
        /// Bytes of one image: height · width · channels.
        image_bytes: u32,
        /// Whether to send the features too.
        features: bool,
    },
    /// Restores images by an IPT. An image is its [`ImageSize`], then its pixels `(height, width, 3)`.
    Restore {
        /// Index of the task in the model.
        task: u32,
        /// Least overlap of neighbouring windows in pixels, or `None` for the engine's default.
        overlap: Option<u32>,
    },
}

/// Size of an image in pixels, which precedes the pixels in a job file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl ImageSize {
    /// Its length in the file.
    pub const BYTES: usize = 8;

    /// Both numbers, little-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let ([w0, w1, w2, w3], [h0, h1, h2, h3]) = (self.width.to_le_bytes(), self.height.to_le_bytes());
        [w0, w1, w2, w3, h0, h1, h2, h3]
    }

    /// Reads what [`ImageSize::to_bytes`] wrote.
    pub fn from_bytes([w0, w1, w2, w3, h0, h1, h2, h3]: [u8; Self::BYTES]) -> Self {
        Self { width: u32::from_le_bytes([w0, w1, w2, w3]), height: u32::from_le_bytes([h0, h1, h2, h3]) }
    }
}

/// What the firmware sends. A classified image's messages come in the order stages, values, output, a
/// restored image's in the order rows, stages, output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message<'a> {
    /// First message of a run, once the model is accepted.
    Hello(Hello),
    /// Time of one stage of one image.
    Stage(Stage),
    /// Some logits or features of one image.
    #[serde(borrow)]
    Values(Values<'a>),
    /// Some pixels of one restored image.
    #[serde(borrow)]
    Rows(Rows<'a>),
    /// Last message of an image.
    Output(Output),
    /// The run stops here.
    Failure(Failure),
    /// The firmware itself failed.
    Fault(Fault),
    /// All images were run.
    Done {
        /// Number of images.
        images: u32,
    },
}

/// The board and the model as the firmware sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Index of the board in [`BOARDS`](crate::BOARDS).
    pub board: u8,
    /// The job's own number.
    pub job: u32,
    /// CRC-32 of the model's name.
    pub model_name: u32,
    /// Arena bytes of the plan; the engine gets a slice of exactly this length.
    pub arena_bytes: u32,
    /// Bytes of stack that parsing and checking the model took.
    pub load_stack_bytes: u32,
    /// Ticks that parsing and checking the model took.
    pub load_ticks: u64,
    /// Bytes of `.data` and `.bss`: the application's own, since the engine has none.
    pub static_bytes: u32,
    /// Bytes of stack in all.
    pub stack_limit: u32,
    /// Ticks of the calibration loop, 0 if it was not requested.
    pub calibration_ticks: u64,
}

/// The stages of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StageKind {
    /// Pixels become tokens.
    Embed,
    /// Layer norm before attention.
    Norm,
    /// Keys and values of a head. Its name in JSON is older.
    #[serde(rename = "Project")]
    KeysValues,
    /// Queries, scores and weighted values of a head.
    Attention,
    /// The MLP with its layer norm.
    Mlp,
    /// Pooling and classifier.
    Head,
    /// The convolutional head of a restorer.
    Conv,
    /// Patches of feature maps become tokens.
    Encode,
    /// The encoder's output, quantized for the decoder.
    Memory,
    /// Layer norm before cross-attention.
    CrossNorm,
    /// Keys and values of a head of a cross-attention.
    #[serde(rename = "CrossProject")]
    CrossKeysValues,
    /// Queries, scores and weighted values of a head of a cross-attention.
    CrossAttention,
    /// The MLP behind the decoder; tokens become feature maps again.
    Decode,
    /// Upsampling and the last convolution, and the blending of windows.
    Tail,
}

impl StageKind {
    /// All kinds, in the order of their numbers: a classifier's in the order in which a pass first meets
    /// them, then those that only restorers have.
    pub const ALL: [StageKind; 14] = [
        StageKind::Embed,
        StageKind::Norm,
        StageKind::KeysValues,
        StageKind::Attention,
        StageKind::Mlp,
        StageKind::Head,
        StageKind::Conv,
        StageKind::Encode,
        StageKind::Memory,
        StageKind::CrossNorm,
        StageKind::CrossKeysValues,
        StageKind::CrossAttention,
        StageKind::Decode,
        StageKind::Tail,
    ];
}

/// Time spent in one stage of one image, summed over heads and over the windows of a restoration. Sending
/// results is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Index of the image.
    pub image: u32,
    /// The stage.
    pub kind: StageKind,
    /// The layer; a decoder's numbers follow the encoder's. For [`StageKind::Conv`] it is the part of the
    /// head; it is 0 where there are no layers.
    pub layer: u16,
    /// Tiles, that is calls of `step()`.
    pub tiles: u32,
    /// Ticks of the board's counter.
    pub ticks: u64,
}

/// The kind of vector that [`Values`] hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueKind {
    /// The classifier's output.
    Logits,
    /// The pooled features.
    Features,
}

/// A piece of an output vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values<'a> {
    /// Index of the image.
    pub image: u32,
    /// Which vector.
    pub kind: ValueKind,
    /// Index of the first value.
    pub first: u32,
    /// The values' exact bits, four bytes each, little-endian.
    pub bits: &'a [u8],
}

/// A piece of a restored image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows<'a> {
    /// Index of the image.
    pub image: u32,
    /// Place of the first byte in the restored image `(height·scale, width·scale, 3)`.
    pub first: u32,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The end of an image, with what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Index of the image.
    pub image: u32,
    /// What was sent of the image before this message.
    pub sent: Sent,
    /// Greatest depth of the stack below the call that runs the engine, measured by painting.
    pub stack_bytes: u32,
    /// Greatest depth of the stack from its first byte, including the model's view and the application.
    pub total_stack_bytes: u32,
    /// Bytes of the arena up to the last that was written, measured by painting.
    pub arena_touched: u32,
    /// Ticks from before the first step to after the last, minus those of sending rows.
    pub ticks: u64,
}

/// What was sent of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sent {
    /// Vectors.
    Values {
        /// Number of logits.
        logits: u32,
        /// Number of features.
        features: u32,
    },
    /// A restored image.
    Rows {
        /// Its bytes.
        bytes: u32,
        /// Bytes of memory for row bands; the engine gets a slice of exactly this length.
        band_bytes: u32,
        /// Bytes of it up to the last that was written, measured by painting.
        band_touched: u32,
        /// Ticks that sending took.
        ticks: u64,
    },
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Reading the job file.
    Job,
    /// Parsing and checking the model.
    Load,
    /// Planning memory: the arena of this board against the plan.
    Plan,
    /// Running an image.
    Run,
}

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done.
    pub phase: Phase,
    /// Index of the image in [`Phase::Run`].
    pub image: u32,
    /// The engine's `Error::code`, or one of the constants here.
    pub code: u16,
    /// Two numbers that give details of the code.
    pub context: [u32; 2],
}

impl Failure {
    /// Codes from here on are the application's own; lower codes are the engine's.
    pub const FIRST_OWN: u16 = 0xff00;
    /// The job file is missing or damaged.
    pub const JOB: u16 = 0xff00;
    /// No model is linked in, and none was placed in memory.
    pub const NO_MODEL: u16 = 0xff01;
    /// The model is longer than the board's model region: the context is the length needed and the length
    /// available.
    pub const MODEL_BYTES: u16 = 0xff02;
    /// The plan needs more than the board's arena: the context is the length needed and the length available.
    pub const ARENA_BYTES: u16 = 0xff03;
    /// Images have another length than the model's: the context is the length needed and the length found.
    pub const IMAGE_BYTES: u16 = 0xff04;
    /// The stack reached its end.
    pub const STACK: u16 = 0xff05;
    /// The model has more layers than the application can count: the context is their number and the limit.
    pub const LAYERS: u16 = 0xff06;
    /// The row bands do not fit behind the arena: the context is the length needed and the length available.
    pub const BAND_BYTES: u16 = 0xff07;
    /// The application was built without this kind of [`Work`].
    pub const NOT_BUILT_IN: u16 = 0xff08;
}

/// How the firmware itself failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// A Rust panic: `a` is the line, `b` the column.
    Panic,
    /// A hard fault or trap: `a` is the program counter, `b` the status (CFSR on Arm, mcause on RISC-V).
    Exception,
}

/// A panic or an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// First number.
    pub a: u32,
    /// Second number.
    pub b: u32,
}
