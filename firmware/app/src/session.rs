//! The common part of both kinds of jobs: measurements around the calls into the engine, and their report.

use vitreous::Error;
use vitreous_protocol::{Failure, Hello, Job, Message, Output, Phase, Sent};

use crate::clock::{self, Clock};
use crate::report::Report;
use crate::times::{Times, MAX_LAYERS};
use crate::{failure, stack, BOARD_INDEX};

/// The byte that memory is filled with, to see how much of it is used and to prove that nothing relies on
/// zeros.
const PAINT: u8 = 0xa5;

/// A job in progress.
pub struct Session<'s> {
    /// The job.
    pub job: Job,
    /// Ticks of the current image.
    pub times: &'s mut Times,
    /// The result file.
    pub report: &'s mut Report,
    calibration_ticks: u64,
}

/// The cost of loading the model.
pub struct LoadCost {
    stack_bytes: u32,
    ticks: u64,
}

/// Depth of the stack while an image was run.
pub struct Depth {
    stack_bytes: u32,
    total_stack_bytes: u32,
}

impl<'s> Session<'s> {
    /// Calibrates the clock if the job asks for it.
    pub fn new(job: Job, times: &'s mut Times, report: &'s mut Report) -> Self {
        let calibration_ticks = if job.calibrate { clock::calibrate() } else { 0 };
        Self { job, times, report, calibration_ticks }
    }

    /// Reports that the model is accepted.
    pub fn greet(&mut self, model_name: u32, arena_bytes: usize, load: &LoadCost) {
        self.report.send(&Message::Hello(Hello {
            board: BOARD_INDEX as u8,
            job: self.job.job,
            model_name,
            arena_bytes: arena_bytes as u32,
            load_stack_bytes: load.stack_bytes,
            load_ticks: load.ticks,
            static_bytes: stack::static_bytes() as u32,
            stack_limit: stack::limit() as u32,
            calibration_ticks: self.calibration_ticks,
        }));
    }

    /// Ends an image; `arena` is the memory that its run was given.
    pub fn end_image(&mut self, image: u32, sent: Sent, depth: &Depth, arena: &[u8], ticks: u64) {
        self.report.send(&Message::Output(Output {
            image,
            sent,
            stack_bytes: depth.stack_bytes,
            total_stack_bytes: depth.total_stack_bytes,
            arena_touched: touched(arena),
            ticks,
        }));
    }
}

/// Loads a model by `load`.
pub fn measured_load<T>(load: impl FnOnce() -> Result<T, Error>) -> Result<(T, LoadCost), Failure> {
    let stack_top = stack::pointer();
    stack::paint();
    let mut clock = Clock::start();
    let loaded = load().map_err(|error| engine_failure(Phase::Load, 0, error))?;
    let ticks = clock.ticks();
    Ok((loaded, LoadCost { stack_bytes: (stack_top - stack::deepest()) as u32, ticks }))
}

/// The stack's greatest depth since it was painted, counted from `stack_top`.
pub fn depth(stack_top: usize, image: u32) -> Result<Depth, Failure> {
    let deepest = stack::deepest();
    if stack::is_overflow(deepest) {
        let context = [stack::limit() as u32, 0];
        return Err(Failure { phase: Phase::Run, image, code: Failure::STACK, context });
    }
    let bytes_below = |top: usize| (top - deepest) as u32;
    Ok(Depth { stack_bytes: bytes_below(stack_top), total_stack_bytes: bytes_below(stack::top()) })
}

/// Checks that the stages of that many layers can be counted separately.
pub fn check_layers(layers: usize) -> Result<(), Failure> {
    if layers > MAX_LAYERS {
        return Err(failure(Phase::Plan, Failure::LAYERS, [layers as u32, MAX_LAYERS as u32]));
    }
    Ok(())
}

/// Fills memory that the engine will be given.
pub fn paint(memory: &mut [u8]) {
    memory.fill(PAINT);
}

/// Bytes of painted memory up to the last byte that was written.
pub fn touched(memory: &[u8]) -> u32 {
    memory.iter().rposition(|&byte| byte != PAINT).map_or(0, |last| last as u32 + 1)
}

/// The engine's error, as it is sent.
pub fn engine_failure(phase: Phase, image: u32, error: Error) -> Failure {
    Failure { phase, image, code: error.code(), context: error.context() }
}
