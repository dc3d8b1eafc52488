//! Runs a ViT on the job's images: the calls of a product's application, with measurements around them.
//!
//! The calls into the engine are functions of their own, never inlined, so that the size report can tell the
//! engine's code from the application's.

use vitreous::models::vit::{Run, Vit};
use vitreous::{Error, Model, Progress, Stage};
use vitreous_protocol::{frame, Failure, Phase, Sent, ValueKind};

use crate::clock::Clock;
use crate::job::{Images, Strips};
use crate::memory::ArenaRegion;
use crate::session::{self, engine_failure, measured_load, Depth, Session};
use crate::times::Times;
use crate::{failure, stack, BOARD};

/// Loads the model and runs all images, `image_bytes` each.
///
/// Never inlined, so that a job of the other kind does not pay for this one's stack.
#[inline(never)]
pub fn run(
    mut session: Session<'_>,
    mut images: Images,
    model: &'static [u8],
    image_bytes: u32,
    features: bool,
) -> Result<(), Failure> {
    let ((vit, model_name), cost) = measured_load(|| load(model))?;
    let arena_bytes = vit.plan().arena_bytes();
    session.greet(model_name, arena_bytes, &cost);
    session::check_layers(vit.config().depth)?;
    let (row_bytes, rows) = checked_size(&vit, &session, image_bytes)?;
    // SAFETY: the only call, since an application runs one job.
    let mut region = unsafe { ArenaRegion::take() };
    let too_small = failure(Phase::Plan, Failure::ARENA_BYTES, [arena_bytes as u32, BOARD.arena.bytes]);
    let arena = region.cut(arena_bytes).ok_or(too_small)?;
    for image in 0..session.job.images {
        session.times.clear();
        session::paint(arena);
        let stack_top = stack::pointer();
        stack::paint();
        let source = images.pixels(row_bytes, rows);
        let (sent, depth, ticks) = run_image(&vit, arena, source, image, features, &mut session, stack_top)?;
        session.end_image(image, sent, &depth, arena, ticks);
    }
    Ok(())
}

/// Bytes of an image row and number of rows, after checking that the job's images have the model's size.
fn checked_size(vit: &Vit<'_>, session: &Session<'_>, found: u32) -> Result<(u64, u64), Failure> {
    let config = vit.config();
    let row_bytes = config.image_width.wrapping_mul(config.channels);
    let image_bytes = row_bytes.wrapping_mul(config.image_height) as u32;
    if session.job.images > 0 && image_bytes != found {
        return Err(failure(Phase::Plan, Failure::IMAGE_BYTES, [image_bytes, found]));
    }
    Ok((row_bytes as u64, config.image_height as u64))
}

/// Runs one image and sends all results except the closing message, whose contents it returns.
#[inline(never)]
fn run_image(
    vit: &Vit<'_>,
    arena: &mut [u8],
    mut source: Strips<'_>,
    image: u32,
    features: bool,
    session: &mut Session<'_>,
    stack_top: usize,
) -> Result<(Sent, Depth, u64), Failure> {
    let failed = |error| engine_failure(Phase::Run, image, error);
    let mut clock = Clock::start();
    let mut run = begin(vit, arena).map_err(failed)?;
    finish(&mut run, &mut source, session.times, &mut clock).map_err(failed)?;
    let ticks = clock.ticks();
    let depth = session::depth(stack_top, image)?;
    session.times.send(image, session.report);
    let outputs = run.logits().and_then(|logits| Ok((logits, run.features()?)));
    let (logits, features) = match outputs.map_err(failed)? {
        (logits, kept) if features => (logits, kept),
        (logits, _) => (logits, [].as_slice()),
    };
    session.report.send_values(image, ValueKind::Logits, logits);
    session.report.send_values(image, ValueKind::Features, features);
    let sent = Sent::Values { logits: logits.len() as u32, features: features.len() as u32 };
    Ok((sent, depth, ticks))
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
