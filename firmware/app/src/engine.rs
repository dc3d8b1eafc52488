//! The engine's run on the job's images: what an application of a product would do, with measurements around it.
//!
//! The calls into the engine are functions of their own, never inlined, so that the size report can tell the engine's
//! code from the application's.

use vitreous::models::vit::{Run, Vit};
use vitreous::{Error, Model, Progress, Stage};
use vitreous_protocol::{frame, Failure, Hello, Job, Message, Output, Phase, ValueKind};

use crate::clock::{self, Clock};
use crate::job::{Images, Strips};
use crate::memory::ArenaRegion;
use crate::report::Report;
use crate::times::{Times, MAX_LAYERS};
use crate::{failure, stack, BOARD, BOARD_INDEX};

/// What the arena is filled with, to see how far it gets used and to prove that nothing relies on zeros.
const ARENA_PAINT: u8 = 0xa5;

/// Loads the model, runs all images and returns their number.
pub fn run_job(
    mut images: Images,
    job: &Job,
    model: &'static [u8],
    times: &mut Times,
    report: &mut Report,
) -> Result<u32, Failure> {
    let calibration_ticks = if job.calibrate { clock::calibrate() } else { 0 };
    let stack_top = stack::pointer();
    stack::paint();
    let mut clock = Clock::start();
    let (vit, model_name) = load(model).map_err(|error| engine_failure(Phase::Load, 0, error))?;
    let load_ticks = clock.ticks();
    let load_stack_bytes = (stack_top - stack::deepest()) as u32;
    let arena_bytes = vit.plan().arena_bytes();
    report.send(&Message::Hello(Hello {
        board: BOARD_INDEX as u8,
        job: job.job,
        model_name,
        arena_bytes: arena_bytes as u32,
        load_stack_bytes,
        load_ticks,
        static_bytes: stack::static_bytes() as u32,
        stack_limit: stack::limit() as u32,
        calibration_ticks,
    }));
    let row_bytes = checked_row_bytes(&vit, job)?;
    // SAFETY: the only call, and `run_job` is called once.
    let mut region = unsafe { ArenaRegion::take() };
    let too_small = failure(Phase::Plan, Failure::ARENA_BYTES, [arena_bytes as u32, BOARD.arena.bytes]);
    let arena = region.cut(arena_bytes).ok_or(too_small)?;
    for index in 0..job.images {
        times.clear();
        arena.fill(ARENA_PAINT);
        let stack_top = stack::pointer();
        stack::paint();
        let source = images.image(index, row_bytes);
        let mut output = run_image(&vit, arena, source, index, job.features, times, report, stack_top)?;
        output.arena_touched = touched(arena);
        report.send(&Message::Output(output));
    }
    Ok(job.images)
}

/// Bytes of an image row, once the job's images are known to be of the model's size.
fn checked_row_bytes(vit: &Vit<'_>, job: &Job) -> Result<usize, Failure> {
    let config = vit.config();
    let row_bytes = config.image_width.wrapping_mul(config.channels);
    let image_bytes = row_bytes.wrapping_mul(config.image_height) as u32;
    if config.depth > MAX_LAYERS {
        return Err(failure(Phase::Plan, Failure::LAYERS, [config.depth as u32, MAX_LAYERS as u32]));
    }
    if job.images > 0 && image_bytes != job.image_bytes {
        return Err(failure(Phase::Plan, Failure::IMAGE_BYTES, [image_bytes, job.image_bytes]));
    }
    Ok(row_bytes)
}

/// Runs one image and sends all that it gave but the closing message, which is returned.
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "all of them live longer than one image")]
fn run_image(
    vit: &Vit<'_>,
    arena: &mut [u8],
    mut source: Strips<'_>,
    image: u32,
    features: bool,
    times: &mut Times,
    report: &mut Report,
    stack_top: usize,
) -> Result<Output, Failure> {
    let mut clock = Clock::start();
    let mut run = begin(vit, arena).map_err(|error| engine_failure(Phase::Run, image, error))?;
    finish(&mut run, &mut source, times, &mut clock)
        .map_err(|error| engine_failure(Phase::Run, image, error))?;
    let ticks = clock.ticks();
    let deepest = stack::deepest();
    if stack::is_overflow(deepest) {
        return Err(Failure {
            phase: Phase::Run,
            image,
            code: Failure::STACK,
            context: [stack::limit() as u32, 0],
        });
    }
    times.send(image, report);
    let outputs = run.logits().and_then(|logits| Ok((logits, run.features()?)));
    let (logits, features) = match outputs.map_err(|error| engine_failure(Phase::Run, image, error))? {
        (logits, kept) if features => (logits, kept),
        (logits, _) => (logits, [].as_slice()),
    };
    report.send_values(image, ValueKind::Logits, logits);
    report.send_values(image, ValueKind::Features, features);
    Ok(Output {
        image,
        logits: logits.len() as u32,
        features: features.len() as u32,
        stack_bytes: (stack_top - deepest) as u32,
        total_stack_bytes: (stack::top() - deepest) as u32,
        arena_touched: 0,
        ticks,
    })
}

/// Parses and checks the model; returns it with the CRC-32 of its name.
#[inline(never)]
fn load(bytes: &'static [u8]) -> Result<(Vit<'static>, u32), Error> {
    let model = Model::parse(bytes)?;
    Ok((Vit::new(&model)?, frame::checksum(model.name().as_bytes())))
}

#[inline(never)]
fn begin<'r, 'a>(vit: &'r Vit<'a>, arena: &'r mut [u8]) -> Result<Run<'r, 'a>, Error> {
    vit.begin(arena)
}

#[inline(never)]
fn finish(
    run: &mut Run<'_, '_>,
    source: &mut Strips<'_>,
    times: &mut Times,
    clock: &mut Clock,
) -> Result<(), Error> {
    let mut before = clock.ticks();
    loop {
        let progress = run.step(source)?;
        let now = clock.ticks();
        let (stage, done) = match progress {
            Progress::Running(stage) => (stage, false),
            Progress::Done => (Stage::Head, true),
        };
        times.add(stage, now.wrapping_sub(before));
        if done {
            return Ok(());
        }
        before = now;
    }
}

fn touched(arena: &[u8]) -> u32 {
    arena.iter().rposition(|&byte| byte != ARENA_PAINT).map_or(0, |last| last as u32 + 1)
}

fn engine_failure(phase: Phase, image: u32, error: Error) -> Failure {
    Failure { phase, image, code: error.code(), context: error.context() }
}
