//! What can go wrong between host and target, and what to do about it.

use std::io;
use std::path::PathBuf;

use vitreous_protocol::frame::FrameError;
use vitreous_protocol::{Phase, BOARDS, VERSION};

/// Why a run on a target failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No target has this name.
    #[error("unknown target `{name}`: there are {}", names())]
    UnknownTarget {
        /// The name asked for.
        name: String,
    },
    /// The emulator is not installed.
    #[error(
        "{board} needs {program}, which is not in PATH. Run `cargo xtask setup`, or install it: {advice}"
    )]
    EmulatorMissing {
        /// The target.
        board: &'static str,
        /// The program.
        program: &'static str,
        /// How to install it.
        advice: String,
    },
    /// There is no firmware for the target and it could not be built.
    #[error("no firmware for {board} at {}: {reason}", path.display())]
    FirmwareMissing {
        /// The target.
        board: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// Why it is not there, and what to do.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The model file has no bytes.
    #[error("{} is empty: it is no .vtr file", path.display())]
    ModelEmpty {
        /// The file.
        path: PathBuf,
    },
    /// The model does not fit into the board's memory for models.
    #[error("{} has {bytes} bytes, but {board} holds models of up to {limit} bytes", path.display())]
    ModelTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The target.
        board: &'static str,
        /// Length of the board's memory for models.
        limit: u64,
    },
    /// The memory plan does not fit into the board's arena.
    #[error("the model needs an arena of {needed} bytes, but {board} has {limit}")]
    ArenaTooLarge {
        /// The target.
        board: &'static str,
        /// Bytes that the plan needs.
        needed: u32,
        /// Bytes that the board has.
        limit: u32,
    },
    /// The row bands do not fit behind the arena.
    #[error("the row bands of the image need {needed} bytes beside the arena, but {board} has {limit}")]
    BandTooLarge {
        /// The target.
        board: &'static str,
        /// Bytes that an image of this width needs.
        needed: u32,
        /// Bytes that the board has beside the arena.
        limit: u32,
    },
    /// An image does not have the length that the model or the other images have.
    #[error("image {index} has {found} bytes where {expected} are needed (height x width x channels)")]
    ImageLength {
        /// Its index.
        index: usize,
        /// Length needed.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// The engine on the target refused the model or stopped.
    #[error("{board}: the engine stopped {}: {text}", place(phase, image))]
    Engine {
        /// The target.
        board: &'static str,
        /// What was being done.
        phase: Phase,
        /// The image, while running one.
        image: u32,
        /// The engine's error code.
        code: u16,
        /// The code in words.
        text: String,
    },
    /// The stack was too small.
    #[error("{board}: image {image} used up all {limit} bytes of stack")]
    StackOverflow {
        /// The target.
        board: &'static str,
        /// The image.
        image: u32,
        /// Bytes of stack that there are.
        limit: u32,
    },
    /// The firmware refused the job for another reason.
    #[error("{board}: the firmware refused the job: code {code:#06x}, context {context:?}")]
    Refused {
        /// The target.
        board: &'static str,
        /// One of the protocol's codes.
        code: u16,
        /// Numbers that explain it.
        context: [u32; 2],
    },
    /// The firmware panicked or met an exception.
    #[error("{board}: the firmware crashed: {text}{}", quoted(messages))]
    Crash {
        /// The target.
        board: &'static str,
        /// What happened.
        text: String,
        /// What the emulator said.
        messages: String,
    },
    /// The emulator could not be started or failed.
    #[error("{program} failed: {reason}{}", quoted(messages))]
    Emulator {
        /// The program.
        program: String,
        /// What happened.
        reason: String,
        /// What it said.
        messages: String,
    },
    /// The firmware speaks another version of the protocol.
    #[error(
        "the firmware speaks protocol version {found}, this tool speaks {VERSION}: build it from the tool's \
         own sources by `cargo xtask firmware`"
    )]
    ProtocolVersion {
        /// The firmware's version.
        found: u8,
    },
    /// The results are damaged or not in order.
    #[error("{board}: unusable results: {what}")]
    Protocol {
        /// The target.
        board: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A frame could not be made.
    #[error("the job does not fit into a frame: {error:?}")]
    Frame {
        /// Why.
        error: FrameError,
    },
    /// The emulator took too long and was ended.
    #[error("{board} was not done after {seconds} s: give it more time, or fewer images")]
    Timeout {
        /// The target.
        board: &'static str,
        /// The limit.
        seconds: u64,
    },
}

impl TargetError {
    pub(super) fn file(path: impl Into<PathBuf>, error: io::Error) -> Self {
        TargetError::File { path: path.into(), error }
    }

    /// Whether something must be installed or built before this target can be used, so that a test may be
    /// skipped.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, TargetError::EmulatorMissing { .. } | TargetError::FirmwareMissing { .. })
    }
}

fn names() -> String {
    BOARDS.map(|board| board.name).join(", ")
}

fn place(phase: &Phase, image: &u32) -> String {
    match phase {
        Phase::Job => "reading the job".into(),
        Phase::Load => "loading the model".into(),
        Phase::Plan => "planning memory".into(),
        Phase::Run => format!("at image {image}"),
    }
}

fn quoted(messages: &str) -> String {
    let messages = messages.trim();
    if messages.is_empty() {
        String::new()
    } else {
        format!("\nthe emulator said: {messages}")
    }
}
