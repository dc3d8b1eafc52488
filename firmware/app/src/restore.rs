//! Runs an IPT on the job's images, row band by row band: the calls of a product's application, with
//! measurements around them.
//!
//! As for classification, the calls into the engine are functions of their own, never inlined.

use vitreous::models::ipt::{Ipt, COLOURS};
use vitreous::pipeline::{BandPlan, Restore, RestoreOptions};
use vitreous::{Error, Model, PixelSink, Progress, RunOptions, SourceError, Stage};
use vitreous_protocol::{frame, Failure, ImageSize, Phase, Sent};

use crate::clock::Clock;
use crate::job::{Images, Strips};
use crate::memory::ArenaRegion;
use crate::report::Report;
use crate::session::{self, engine_failure, measured_load, Depth, Session};
use crate::times::Times;
use crate::{failure, stack, BOARD};

/// What all images of a job have in common.
struct Setup {
    ipt: Ipt<'static>,
    task: usize,
    overlap: Option<u32>,
}

/// Loads the model and restores all images.
///
/// Never inlined, so that a job of the other kind does not pay for this one's stack.
#[inline(never)]
pub fn run(
    mut session: Session<'_>,
    mut images: Images,
    model: &'static [u8],
    task: u32,
    overlap: Option<u32>,
) -> Result<(), Failure> {
    let ((ipt, model_name), cost) = measured_load(|| load(model))?;
    let setup = Setup { ipt, task: task as usize, overlap };
    let arena_bytes = arena_bytes(&setup).map_err(|error| engine_failure(Phase::Plan, 0, error))?;
    session.greet(model_name, arena_bytes, &cost);
    let config = setup.ipt.config();
    session::check_layers(config.encoder_layers + config.decoder_layers)?;
    // SAFETY: the only call, since an application runs one job.
    let mut region = unsafe { ArenaRegion::take() };
    for image in 0..session.job.images {
        let size = images.size().map_err(|_| failure(Phase::Job, Failure::JOB, [3, image]))?;
        let source = images.pixels(u64::from(size.width) * COLOURS as u64, u64::from(size.height));
        let band_bytes = band_bytes(&setup, size).map_err(|e| engine_failure(Phase::Run, image, e))?;
        let (arena, band) = cut(&mut region, arena_bytes, band_bytes)?;
        session.times.clear();
        session::paint(arena);
        session::paint(band);
        let stack_top = stack::pointer();
        stack::paint();
        let restored = run_image(&setup, size, arena, band, source, image, &mut session, stack_top)?;
        let sent = Sent::Rows {
            bytes: restored.bytes,
            band_bytes: band_bytes as u32,
            band_touched: session::touched(band),
            ticks: restored.send_ticks,
        };
        session.end_image(image, sent, &restored.depth, arena, restored.ticks);
    }
    Ok(())
}

/// The arena, and behind it the memory for row bands.
fn cut(region: &mut ArenaRegion, arena: usize, band: usize) -> Result<(&mut [u8], &mut [u8]), Failure> {
    let available = BOARD.arena.bytes as usize;
    let Some(rest) = available.checked_sub(arena) else {
        return Err(failure(Phase::Plan, Failure::ARENA_BYTES, [arena as u32, available as u32]));
    };
    let too_small = failure(Phase::Plan, Failure::BAND_BYTES, [band as u32, rest as u32]);
    let both = arena.checked_add(band).and_then(|both| region.cut(both)).ok_or(too_small)?;
    both.split_at_mut_checked(arena).ok_or(too_small)
}

/// The cost of one image.
struct Restored {
    bytes: u32,
    send_ticks: u64,
    depth: Depth,
    ticks: u64,
}

/// Restores one image; sends its rows as they are completed, then its times.
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "all of them live longer than one image")]
fn run_image(
    setup: &Setup,
    size: ImageSize,
    arena: &mut [u8],
    band: &mut [u8],
    mut source: Strips<'_>,
    image: u32,
    session: &mut Session<'_>,
    stack_top: usize,
) -> Result<Restored, Failure> {
    let failed = |error| engine_failure(Phase::Run, image, error);
    let mut clock = Clock::start();
    let mut run = begin(setup, size, arena, band).map_err(failed)?;
    let mut sink = Sender { report: session.report, image, bytes: 0, ticks: 0 };
    finish(&mut run, &mut source, &mut sink, session.times, &mut clock).map_err(failed)?;
    let ticks = clock.ticks().wrapping_sub(sink.ticks);
    let (bytes, send_ticks) = (sink.bytes, sink.ticks);
    let depth = session::depth(stack_top, image)?;
    session.times.send(image, session.report);
    Ok(Restored { bytes, send_ticks, depth, ticks })
}

/// Sends rows, and measures the time that sending takes.
struct Sender<'a> {
    report: &'a mut Report,
    image: u32,
    bytes: u32,
    ticks: u64,
}

impl PixelSink for Sender<'_> {
    fn write_rows(&mut self, _first_row: usize, rows: &[u8]) -> Result<(), SourceError> {
        let mut clock = Clock::start();
        self.report.send_rows(self.image, self.bytes, rows);
        self.bytes = self.bytes.wrapping_add(rows.len() as u32);
        self.ticks = self.ticks.wrapping_add(clock.ticks());
        Ok(())
    }
}

/// Parses and checks the model; returns it with the CRC-32 of its name.
#[inline(never)]
fn load(bytes: &'static [u8]) -> Result<(Ipt<'static>, u32), Error> {
    let model = Model::parse(bytes)?;
    Ok((Ipt::new(&model)?, frame::checksum(model.name().as_bytes())))
}

#[inline(never)]
fn arena_bytes(setup: &Setup) -> Result<usize, Error> {
    let options = RunOptions::default();
    Ok(setup.ipt.plan_for(setup.task, options.tile_rows, options.kernels.spec, 1)?.arena_bytes())
}

#[inline(never)]
fn band_bytes(setup: &Setup, size: ImageSize) -> Result<usize, Error> {
    let config = setup.ipt.config();
    let scale = config.tasks.get(setup.task).map_or(1, |task| task.scale);
    Ok(BandPlan::new(config.window, scale, size.width as usize)?.bytes())
}

#[inline(never)]
fn begin<'r>(
    setup: &'r Setup,
    size: ImageSize,
    arena: &'r mut [u8],
    band: &'r mut [u8],
) -> Result<Restore<'r, 'static>, Error> {
    let mut options = RestoreOptions::new(&setup.ipt);
    options.overlap = setup.overlap.map_or(options.overlap, |pixels| pixels as usize);
    let size = (size.width as usize, size.height as usize);
    Restore::begin(&setup.ipt, setup.task, size, arena, band, options)
}

#[inline(never)]
fn finish(
    run: &mut Restore<'_, '_>,
    source: &mut Strips<'_>,
    sink: &mut Sender<'_>,
    times: &mut Times,
    clock: &mut Clock,
) -> Result<(), Error> {
    let (mut before, mut sending) = (clock.ticks(), sink.ticks);
    loop {
        let progress = run.step(source, sink)?;
        let now = clock.ticks();
        let (stage, done) = match progress {
            Progress::Running(stage) => (stage, false),
            Progress::Done => (Stage::Tail, true),
        };
        times.add(stage, now.wrapping_sub(before).wrapping_sub(sink.ticks.wrapping_sub(sending)));
        if done {
            return Ok(());
        }
        (before, sending) = (now, sink.ticks);
    }
}
