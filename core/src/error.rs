//! The engine's error type: what was wrong, where, and what was expected.

use core::fmt;

use crate::kernels;
use crate::source::SourceError;

/// Why a model was refused or a run stopped.
///
/// Offsets are bytes from the start of the `.vtr` file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// What stands behind a byte is copied byte by byte on cores without unaligned access: a result takes a word
// more, and is moved faster.
#[repr(u32)]
pub enum Error {
    /// The model's first byte is not aligned as its tensors require.
    ModelMisaligned {
        /// Required alignment in bytes.
        required: u32,
    },
    /// The file ends before the bytes that must be at `offset`.
    Truncated {
        /// Where the missing bytes begin.
        offset: u32,
        /// Length that the file must have at least.
        needed: u32,
        /// Length of the file.
        found: u32,
    },
    /// The first eight bytes are not those of a `.vtr` file.
    BadMagic,
    /// The file was written for another version of the container.
    FormatVersion {
        /// Version in the file.
        found: u16,
        /// Version that this engine reads.
        supported: u16,
    },
    /// The file was written for another version of the arithmetic contract (docs/numerics.md).
    NumericsVersion {
        /// Version in the file.
        found: u16,
        /// Version that this engine computes.
        supported: u16,
    },
    /// The model has another architecture than the one asked for.
    Architecture {
        /// Architecture id in the file.
        found: u32,
        /// Architecture id that was asked for.
        expected: u32,
    },
    /// The CRC-32 of header and section table does not match.
    HeaderChecksum {
        /// CRC-32 computed.
        computed: u32,
        /// CRC-32 stored.
        stored: u32,
    },
    /// The CRC-32 of a section does not match.
    SectionChecksum {
        /// Index in the section table.
        section: u16,
        /// Start of the section.
        offset: u32,
    },
    /// A section is not of the kind that belongs at its place.
    SectionKind {
        /// Index in the section table.
        section: u16,
        /// Kind found; `u32::MAX` when the table ends before it.
        found: u32,
        /// Kind expected.
        expected: u32,
    },
    /// A section does not begin where it must: at the next multiple of the alignment behind the section
    /// before.
    SectionOffset {
        /// Index in the section table.
        section: u16,
        /// Offset found.
        found: u32,
        /// Offset expected.
        expected: u32,
    },
    /// A section is longer or shorter than the architecture's tensors.
    SectionLength {
        /// Index in the section table.
        section: u16,
        /// Offset of the first byte that is missing or too many.
        offset: u32,
        /// Length in bytes found.
        found: u32,
        /// Least length in bytes that is needed.
        expected: u32,
    },
    /// A byte between two sections is not zero.
    Padding {
        /// Where it is.
        offset: u32,
    },
    /// A field has a value that the architecture or this engine does not allow.
    Field {
        /// Name of the field (docs/format.md).
        name: &'static str,
        /// Where the field is.
        offset: u32,
        /// Its value, as an unsigned number.
        value: u32,
    },
    /// A scale, bias, γ, β, embedding or f16 weight is infinite, not a number, or too small to be safe from
    /// underflow ([`crate::tensor::MIN_MAGNITUDE`]); or a scale is not positive, or a sum of weights is out
    /// of range.
    NotFinite {
        /// Name of the tensor.
        tensor: &'static str,
        /// Where the value is.
        offset: u32,
    },
    /// The kernels can't read the weight layout; convert the model for this target.
    Layout {
        /// Output columns per panel in the file.
        nr: u8,
        /// Inputs per group in the file.
        kr: u8,
    },
    /// The arena is smaller than the plan.
    ArenaTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// The arena's first byte is not aligned as the plan requires.
    ArenaMisaligned {
        /// Required alignment in bytes.
        required: usize,
    },
    /// The plan does not fit into the address space of this machine.
    PlanTooLarge,
    /// The number of rows per tile is zero or above the engine's limit.
    TileRows {
        /// Rows asked for.
        found: usize,
        /// The most rows that are allowed.
        limit: usize,
    },
    /// The model has no task with this number.
    Task {
        /// Task asked for, counted from 0.
        found: usize,
        /// Number of the model's tasks.
        tasks: usize,
    },
    /// The image has no pixels, or a side longer than the engine's limit.
    ImageSize {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The most pixels on a side.
        limit: usize,
    },
    /// The overlap of windows is more than half a window.
    Overlap {
        /// Pixels asked for.
        found: usize,
        /// The most pixels that are allowed.
        limit: usize,
    },
    /// The memory for row bands is smaller than the plan.
    BandTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// The source of pixels failed.
    Source(SourceError),
    /// The sink of pixels failed.
    Sink(SourceError),
    /// A step was asked for after the last one.
    Finished,
    /// The output was asked for before the last step.
    NotFinished,
    /// A broken invariant of the engine itself: a bug, to be reported.
    Internal(Fault),
}

/// An assumption of the engine that does not hold, although a model was loaded and a plan made. But for
/// [`Fault::Pool`] this has never been seen. It is an error and not a panic, so that no panic is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// As wide as a word for the same reason as [`Error`].
#[repr(u32)]
pub enum Fault {
    /// Slots of the arena that are in use at the same time overlap, or a slot exceeds the arena.
    Slot = 1,
    /// There are fewer rows of activations than a layer needs.
    Shape = 2,
    /// Activations have another form than the weights take.
    Form = 3,
    /// A step belongs to another architecture.
    Stage = 4,
    /// Weights that the loader has checked are missing.
    Weights = 5,
    /// A [`ForkJoin`](crate::ForkJoin) has not run a piece of work that it was given. That is a fault of the
    /// pool, not of the engine.
    Pool = 6,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Internal(fault)
    }
}

impl Error {
    /// A stable number for each kind of error, for protocols that carry no text.
    pub const fn code(&self) -> u16 {
        match self {
            Error::ModelMisaligned { .. } => 1,
            Error::Truncated { .. } => 2,
            Error::BadMagic => 3,
            Error::FormatVersion { .. } => 4,
            Error::NumericsVersion { .. } => 5,
            Error::Architecture { .. } => 6,
            Error::HeaderChecksum { .. } => 7,
            Error::SectionChecksum { .. } => 8,
            Error::SectionKind { .. } => 9,
            Error::SectionOffset { .. } => 10,
            Error::SectionLength { .. } => 11,
            Error::Padding { .. } => 12,
            Error::Field { .. } => 13,
            Error::NotFinite { .. } => 14,
            Error::Layout { .. } => 15,
            Error::ArenaTooSmall { .. } => 16,
            Error::ArenaMisaligned { .. } => 17,
            Error::PlanTooLarge => 18,
            Error::TileRows { .. } => 19,
            Error::Source(_) => 20,
            Error::Finished => 21,
            Error::NotFinished => 22,
            Error::Internal(_) => 23,
            Error::Task { .. } => 24,
            Error::ImageSize { .. } => 25,
            Error::Overlap { .. } => 26,
            Error::BandTooSmall { .. } => 27,
            Error::Sink(_) => 28,
        }
    }

    /// The two numbers that say most about the error, such as an offset, or what was found and needed, for
    /// protocols without text.
    pub const fn context(&self) -> [u32; 2] {
        match *self {
            Error::ModelMisaligned { required } => [required, 0],
            Error::Truncated { needed, found, .. } => [needed, found],
            Error::FormatVersion { found, supported } | Error::NumericsVersion { found, supported } => {
                [found as u32, supported as u32]
            }
            Error::Architecture { found, expected } => [found, expected],
            Error::HeaderChecksum { computed, stored } => [computed, stored],
            Error::SectionChecksum { section, offset } => [section as u32, offset],
            Error::SectionKind { found, expected, .. } => [found, expected],
            Error::SectionOffset { found, expected, .. } => [found, expected],
            Error::SectionLength { found, expected, .. } => [found, expected],
            Error::Padding { offset } => [offset, 0],
            Error::Field { offset, value, .. } => [offset, value],
            Error::NotFinite { offset, .. } => [offset, 0],
            Error::Layout { nr, kr } => [nr as u32, kr as u32],
            Error::ArenaTooSmall { needed, found } => [needed as u32, found as u32],
            Error::ArenaMisaligned { required } => [required as u32, 0],
            Error::TileRows { found, limit } => [found as u32, limit as u32],
            Error::Task { found, tasks } => [found as u32, tasks as u32],
            Error::ImageSize { width, height, .. } => [width as u32, height as u32],
            Error::Overlap { found, limit } => [found as u32, limit as u32],
            Error::BandTooSmall { needed, found } => [needed as u32, found as u32],
            Error::Source(SourceError { code }) | Error::Sink(SourceError { code }) => [code, 0],
            Error::Internal(fault) => [fault as u32, 0],
            Error::BadMagic | Error::PlanTooLarge | Error::Finished | Error::NotFinished => [0, 0],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::ModelMisaligned { required } => {
                write!(
                    f,
                    "the model must start at a multiple of {required} bytes: put it into an aligned static"
                )
            }
            Error::Truncated { offset, needed, found } => {
                write!(
                    f,
                    "the file ends at byte {found}, but what begins at byte {offset} needs {needed} bytes \
                     in all"
                )
            }
            Error::BadMagic => write!(f, "not a .vtr file: the first eight bytes differ"),
            Error::FormatVersion { found, supported } => {
                write!(
                    f,
                    "format version {found}, but this engine reads version {supported}: convert the model \
                     again"
                )
            }
            Error::NumericsVersion { found, supported } => {
                write!(
                    f,
                    "made for numerics version {found}, but this engine computes version {supported}: \
                     convert the model again"
                )
            }
            Error::Architecture { found, expected } => {
                let name = |id| match id {
                    1 => "a ViT",
                    2 => "an IPT",
                    _ => "an unknown architecture",
                };
                write!(f, "{} ({found}) where {} ({expected}) was asked for", name(found), name(expected))
            }
            Error::HeaderChecksum { computed, stored } => {
                write!(f, "header damaged: CRC-32 {computed:#010x}, stored {stored:#010x}")
            }
            Error::SectionChecksum { section, offset } => {
                write!(f, "section {section} at byte {offset} is damaged: its CRC-32 does not match")
            }
            Error::SectionKind { section, found, expected } => {
                write!(f, "section {section} is of kind {found}, expected kind {expected}")
            }
            Error::SectionOffset { section, found, expected } => {
                write!(f, "section {section} begins at byte {found}, expected byte {expected}")
            }
            Error::SectionLength { section, offset, found, expected } => {
                write!(
                    f,
                    "section {section} has {found} bytes where the architecture needs {expected} (at byte \
                     {offset})"
                )
            }
            Error::Padding { offset } => write!(f, "byte {offset} is padding and must be zero"),
            Error::Field { name, offset, value } => {
                write!(f, "field `{name}` at byte {offset} has the unusable value {value}")
            }
            Error::NotFinite { tensor, offset } => {
                write!(
                    f,
                    "`{tensor}` holds an unusable number at byte {offset} (infinite, not a number, below \
                     2^-40 but not zero, or a scale that is not positive)"
                )
            }
            Error::Layout { nr, kr } => {
                write!(
                    f,
                    "weights are packed {nr}x{kr}, which these kernels can't read: convert the model with \
                     --for {}",
                    kernels::convert_for()
                )
            }
            Error::ArenaTooSmall { needed, found } => {
                write!(f, "the arena has {found} bytes, the plan needs {needed}")
            }
            Error::ArenaMisaligned { required } => {
                write!(f, "the arena must start at a multiple of {required} bytes: use vitreous::Arena")
            }
            Error::PlanTooLarge => {
                write!(f, "the memory plan exceeds this machine's address space, or MAX_REGIONS")
            }
            Error::TileRows { found, limit } => write!(f, "{found} rows per tile: must be 1 to {limit}"),
            Error::Task { found, tasks } => {
                write!(f, "task {found} of a model with {tasks} tasks, counted from 0")
            }
            Error::ImageSize { width, height, limit } => {
                write!(f, "an image of {width}×{height} pixels: each side must be 1 to {limit}")
            }
            Error::Overlap { found, limit } => {
                write!(f, "windows can't overlap by {found} pixels: at most by {limit}, half of a window")
            }
            Error::BandTooSmall { needed, found } => {
                write!(f, "the memory for row bands has {found} bytes, the plan needs {needed}")
            }
            Error::Sink(error) => write!(f, "the sink of pixels failed with code {}", error.code),
            Error::Source(error) => write!(f, "the source of pixels failed with code {}", error.code),
            Error::Finished => write!(f, "the run is over: begin a new one"),
            Error::NotFinished => write!(f, "the run is not over: step until it is done"),
            Error::Internal(Fault::Pool) => write!(f, "the pool has not run all work that it was given"),
            Error::Internal(fault) => write!(f, "internal error {}: please report it", fault as u32),
        }
    }
}

impl core::error::Error for Error {}
