//! Runs any `.vtr` model on an emulated microcontroller.
//!
//! The host places the model in memory (or it is linked in), writes a job file and starts the emulator. This application
//! reads the job over semihosting, runs the images one after another and appends its results to a file, as the frames of
//! `vitreous-protocol`. It formats nothing and allocates nothing.
#![no_std]
#![no_main]

mod clock;
mod engine;
mod file;
mod job;
mod memory;
mod report;
mod stack;
mod start;
mod times;

use core::ptr::addr_of_mut;

use times::Times;
use vitreous_protocol::{exit, Board, Failure, Message, Phase, BOARDS};

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
    let mut run = || -> Result<u32, Failure> {
        let (file, job, first_image) = job::open()?;
        let model = memory::model(job.model_bytes)?;
        engine::run_job(job::Images::new(file, &job, first_image), &job, model, times, &mut report)
    };
    match run() {
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

/// A failure outside of any image.
fn failure(phase: Phase, code: u16, context: [u32; 2]) -> Failure {
    Failure { phase, image: 0, code, context }
}
