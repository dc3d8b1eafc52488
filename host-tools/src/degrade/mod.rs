//! Degradations of clean photographs, for training restorers and for scoring them.
//!
//! Each one is decided by a generator that the caller seeds, so an evaluation can be repeated bit for bit.
//! What comes out is an 8-bit image, as a target gets it: noise is rounded and clipped.

mod jpeg;
mod noise;
mod picture;
mod rain;

pub use crate::image_input::images_below;
pub use jpeg::jpeg;
pub use noise::gaussian_noise;
pub use picture::Picture;
pub use rain::{rain, RainStreaks};

use crate::image_input::ImageError;
use rand::Rng;
use vitreous::models::ipt::{Task, TaskKind};

/// What `task` is to repair, made from a clean picture: `task.scale` times smaller where the task enlarges
/// (the picture is first cut to whole multiples), of the same size otherwise.
///
/// # Errors
/// A picture that is smaller than the scale, or that the JPEG encoder refuses.
pub fn degrade(task: Task, clean: &Picture, rng: &mut impl Rng) -> Result<Picture, ImageError> {
    match task.kind {
        TaskKind::Denoise => Ok(gaussian_noise(clean, task.strength as f64, rng)),
        TaskKind::SuperResolve => clean.reduced(task.scale),
        TaskKind::Derain => Ok(rain(clean, &RainStreaks::heavy(rng), rng)),
        TaskKind::Jpeg => jpeg(clean, task.strength as u8),
    }
}
