//! Runs any `.vtr` model on an emulated microcontroller.
//!
//! The host places the model in memory (or it is linked in), writes a job file and starts the emulator. This
//! application reads the job over semihosting, runs the images one after another and appends its results to a
//! file, as the frames of `vitreous-protocol`. It formats nothing and allocates nothing.
#![no_std]
#![no_main]

#[cfg(feature = "classify")]
mod classify;
mod clock;
mod file;
mod job;
mod memory;
mod report;
#[cfg(feature = "restore")]
mod restore;
mod session;
mod stack;
mod start;
mod times;

use core::ptr::addr_of_mut;

use session::Session;
use times::Times;
use vitreous_protocol::{exit, Board, Failure, Message, Phase, Work, BOARDS};

include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// The board that this image is for.
const BOARD: &Board = &BOARDS[BOARD_INDEX];

/// Runs the job and returns the exit code.
fn application() -> i32 {
    /// Not on the stack, whose depth is measured.
    static mut TIMES: Times = Times::new();
    // SAFETY: the only reference, as the entry point calls this once.
    let times = unsafe { &mut *addr_of_mut!(TIMES) };
    let Ok(mut report) = report::Report::create() else { return exit::OUTPUT };
    match run(times, &mut report) {
        Ok(images) => {
            report.send(&Message::Done { images });
            exit::DONE
        }
        Err(failure) => {
            report.send(&Message::Failure(failure));
            exit::FAILURE
        }
    }
}

/// Reads the job, runs it and returns the number of its images.
fn run(times: &mut Times, report: &mut report::Report) -> Result<u32, Failure> {
    let (images, job) = job::open()?;
    let model = memory::model(job.model_bytes)?;
    let session = Session::new(job, times, report);
    match job.work {
        #[cfg(feature = "classify")]
        Work::Classify { image_bytes, features } => {
            classify::run(session, images, model, image_bytes, features)?
        }
        #[cfg(feature = "restore")]
        Work::Restore { task, overlap } => restore::run(session, images, model, task, overlap)?,
        #[allow(unreachable_patterns, reason = "with all features there is no other work")]
        _ => return Err(failure(Phase::Job, Failure::NOT_BUILT_IN, [0, 0])),
    }
    Ok(job.images)
}

/// A failure outside of any image.
fn failure(phase: Phase, code: u16, context: [u32; 2]) -> Failure {
    Failure { phase, image: 0, code, context }
}
