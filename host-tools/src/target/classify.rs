//! Classification on a target.

use std::path::Path;

use vitreous::models::vit::Vit;
use vitreous::{Error, Model};
use vitreous_protocol::Work;

use super::job::{execute, TargetJob};
use super::{RunOptions, Target, TargetError, TargetResult, TargetRun};
use crate::vtr::ModelBytes;

/// Runs the model on all images, in one start of the emulator.
///
/// An image is `(height, width, channels)` bytes, as the model's first layer takes it; all must be of one
/// length.
///
/// # Errors
/// See [`TargetError`].
pub fn run_on_target(
    target: Target,
    model_path: &Path,
    images: &[Vec<u8>],
    mut options: RunOptions<'_>,
) -> Result<TargetRun, TargetError> {
    let work = Work::Classify { image_bytes: common_length(images)?, features: options.features };
    let mut progress = options.progress.take();
    let mut on_progress = |done: usize, _: usize| {
        if let Some(progress) = &mut progress {
            progress(done, images.len());
        }
    };
    let job = TargetJob {
        target,
        model_path,
        work,
        images: images.len() as u32,
        body: images.concat(),
        replay: &|_| why_refused(model_path),
    };
    let run = execute(job, &options, &mut on_progress)?;
    Ok(run.map(|r| TargetResult { logits: r.logits, features: r.features, cost: r.cost }))
}

fn common_length(images: &[Vec<u8>]) -> Result<u32, TargetError> {
    let first = images.first().map_or(0, Vec::len);
    match images.iter().position(|image| image.len() != first) {
        Some(index) => Err(TargetError::ImageLength { index, expected: first, found: images[index].len() }),
        None => {
            u32::try_from(first).map_err(|_| TargetError::ImageLength { index: 0, expected: 0, found: first })
        }
    }
}

fn why_refused(model: &Path) -> Option<Error> {
    let bytes = ModelBytes::open(model).ok()?;
    Model::parse(bytes.as_slice()).and_then(|model| Vit::new(&model).map(drop)).err()
}
