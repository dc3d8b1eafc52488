//! The interface of the firmware and the host tool: the boards, the job, the messages and their framing.
//!
//! The host writes one job file ([`Job`] as a frame, then the images, back to back) and starts the firmware,
//! which reads it over semihosting and appends [`Message`] frames to a result file. The target formats
//! nothing: it sends numbers, and the host prints them.
#![no_std]

pub mod board;
pub mod frame;
mod message;

pub use board::{Board, BOARDS, COUNT_INSTRUCTIONS};
pub use message::{
    Failure, Fault, FaultKind, Hello, ImageSize, Job, Message, Output, Phase, Rows, Sent, Stage, StageKind,
    ValueKind, Values, Work, ROW_BYTES_PER_FRAME, VALUES_PER_FRAME,
};

/// Version of jobs, messages and framing together. Firmware and host tool must have the same.
pub const VERSION: u8 = 2;

/// Name of the job file, relative to the directory that semihosting works in.
pub const JOB_FILE: &core::ffi::CStr = c"vitreous-job.bin";

/// Name of the result file, relative to the directory that semihosting works in.
pub const RESULT_FILE: &core::ffi::CStr = c"vitreous-results.bin";

/// Exit codes of the firmware, as the emulator's process returns them.
pub mod exit {
    /// All images were run.
    pub const DONE: i32 = 0;
    /// The run stopped with a `Failure` message.
    pub const FAILURE: i32 = 10;
    /// A panic.
    pub const PANIC: i32 = 11;
    /// A hard fault or an unexpected exception.
    pub const FAULT: i32 = 12;
    /// The results could not be written.
    pub const OUTPUT: i32 = 13;
}

/// Instructions of the loop that the firmware counts at its start to prove its counter.
pub const CALIBRATION_INSTRUCTIONS: u32 = 1_000_000;
