//! Restoration on a target.

use std::path::Path;

use vitreous::models::ipt::{Ipt, COLOURS};
use vitreous::pipeline::{BandPlan, Restore, RestoreOptions};
use vitreous::{Error, Model};
use vitreous_protocol::{ImageSize, Work};

use super::job::{execute, TargetJob};
use super::{RunOptions, Target, TargetError, TargetRestored, TargetRun};
use crate::degrade::Picture;
use crate::vtr::{AlignedBytes, ModelBytes};

/// Restores images, in one start of the emulator. `task` is an index into the model's tasks
/// ([`Restorer::task_index`](crate::restorer::Restorer::task_index)), `overlap` the least overlap of windows
/// in pixels, if not the engine's default.
///
/// The pixels that come back equal those of [`Restorer::restore`](crate::restorer::Restorer::restore), byte
/// for byte.
///
/// # Errors
/// See [`TargetError`].
pub fn restore_on_target(
    target: Target,
    model_path: &Path,
    task: usize,
    images: &[Picture],
    overlap: Option<usize>,
    mut options: RunOptions<'_>,
) -> Result<TargetRun<TargetRestored>, TargetError> {
    let scale = scale(model_path, task);
    let lengths: Vec<usize> = images.iter().map(|image| scale * scale * image.data.len()).collect();
    let mut progress = options.progress.take();
    let mut on_progress = |done: usize, bytes: usize| {
        if let Some(progress) = &mut progress {
            progress(lengths.iter().take(done).sum::<usize>() + bytes, lengths.iter().sum());
        }
    };
    let job = TargetJob {
        target,
        model_path,
        work: Work::Restore { task: word(task), overlap: overlap.map(word) },
        images: images.len() as u32,
        body: body(images)?,
        replay: &|index| why_refused(model_path, task, images.get(index), overlap),
    };
    let run = execute(job, &options, &mut on_progress)?;
    if let Some(index) = run.results.iter().zip(&lengths).position(|(r, length)| r.pixels.len() != *length) {
        let what =
            format!("image {index} came back with {} bytes of pixels", run.results[index].pixels.len());
        return Err(TargetError::Protocol { board: target.name(), what });
    }
    let mut sizes = images.iter().map(|image| (image.width * scale, image.height * scale));
    Ok(run.map(|r| {
        let (width, height) = sizes.next().unwrap_or_default();
        TargetRestored { image: Picture { width, height, data: r.pixels }, band: r.band, cost: r.cost }
    }))
}

/// Each image's size and pixels.
fn body(images: &[Picture]) -> Result<Vec<u8>, TargetError> {
    let mut bytes = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let (expected, found) = (image.width * image.height * COLOURS, image.data.len());
        if found != expected {
            return Err(TargetError::ImageLength { index, expected, found });
        }
        let size = ImageSize { width: word(image.width), height: word(image.height) };
        bytes.extend_from_slice(&size.to_bytes());
        bytes.extend_from_slice(&image.data);
    }
    Ok(bytes)
}

/// What is too large for the protocol is too large for the engine too, which then says so.
fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The task's scale; 1 where the target will refuse model or task.
fn scale(model: &Path, task: usize) -> usize {
    let Ok(bytes) = ModelBytes::open(model) else { return 1 };
    let ipt = Model::parse(bytes.as_slice()).and_then(|model| Ipt::new(&model));
    ipt.ok().and_then(|ipt| ipt.config().tasks.get(task).map(|task| task.scale)).unwrap_or(1)
}

fn why_refused(model: &Path, task: usize, image: Option<&Picture>, overlap: Option<usize>) -> Option<Error> {
    let bytes = ModelBytes::open(model).ok()?;
    let begin = || -> Result<(), Error> {
        let ipt = Ipt::new(&Model::parse(bytes.as_slice())?)?;
        let plan = ipt.plan(task)?;
        let Some(image) = image else { return Ok(()) };
        let (config, mut options) = (ipt.config(), RestoreOptions::new(&ipt));
        options.overlap = overlap.unwrap_or(options.overlap);
        let scale = config.tasks.get(task).map_or(1, |task| task.scale);
        let band = BandPlan::new(config.window, scale, image.width)?;
        let (mut arena, mut band) =
            (AlignedBytes::zeroed(plan.arena_bytes()), AlignedBytes::zeroed(band.bytes()));
        let size = (image.width, image.height);
        Restore::begin(&ipt, task, size, arena.as_mut_slice(), band.as_mut_slice(), options).map(drop)
    };
    begin().err()
}
