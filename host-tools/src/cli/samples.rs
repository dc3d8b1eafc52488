//! Images for a model: labelled folders, or single files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use rayon::prelude::*;
use vitreous::models::vit::Output;

use super::progress::Bars;
use crate::engine::Engine;
use crate::image_input::{images_below, labelled_images, load_pixels};
use crate::parity::Sample;

/// Loads one image as the model takes it.
pub fn load(engine: &Engine, path: &Path) -> Result<Vec<u8>> {
    let c = engine.config();
    Ok(load_pixels(path, engine.preprocess(), c.image_height, c.image_width, c.channels)?)
}

/// Loads the images of folders, labelled ones of a classifier; of each at most `limit`, evenly spread.
pub fn load_folders(
    engine: &Engine,
    folders: &[PathBuf],
    limit: Option<usize>,
    bars: &Bars,
) -> Result<Vec<Sample>> {
    let mut files = Vec::new();
    for folder in folders {
        let all = files_of(engine, folder)?;
        let take = limit.unwrap_or(all.len()).min(all.len());
        files.extend((0..take).map(|i| all[i * all.len() / take].clone()));
    }
    let done = AtomicUsize::new(0);
    let samples: Result<Vec<Sample>> = files
        .par_iter()
        .map(|(path, class)| {
            let pixels = load(engine, path)?;
            bars.report("loading images", 1 + done.fetch_add(1, Ordering::Relaxed), files.len());
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Sample { name, pixels, class: *class })
        })
        .collect();
    let samples = samples?;
    let classes = engine.config().classes;
    if let Some(wrong) = samples.iter().find(|s| classes > 0 && s.class.is_some_and(|c| c >= classes)) {
        let class = wrong.class.unwrap_or_default();
        return Err(anyhow::anyhow!("the model has {classes} classes"))
            .with_context(|| format!("{} is labelled {class}", wrong.name));
    }
    Ok(samples)
}

/// Images with their classes; without, where outputs are no classes of which one holds, which no folder could label.
fn files_of(engine: &Engine, folder: &Path) -> Result<Vec<(PathBuf, Option<usize>)>> {
    let config = engine.config();
    if config.classes > 0 && config.output == Output::Softmax {
        let files = labelled_images(folder)?;
        return Ok(files.into_iter().map(|(path, class)| (path, Some(class))).collect());
    }
    Ok(images_below(folder)?.into_iter().map(|path| (path, None)).collect())
}
