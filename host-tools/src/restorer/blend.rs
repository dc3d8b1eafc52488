//! Whole images from float windows that lie and are blended as the engine's.

use anyhow::{ensure, Result};
use vitreous::models::ipt::COLOURS;
use vitreous::pipeline::WindowGrid;

use crate::degrade::Picture;

/// An image's windows and the sum of what they give.
struct Blend {
    rows: WindowGrid,
    columns: WindowGrid,
    scale: usize,
    /// Of the output, in pixels.
    width: usize,
    height: usize,
    /// (height, width, 3), weighted.
    sums: Vec<f32>,
}

/// How an image is cut into windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Side of a window in pixels.
    pub side: usize,
    /// Least overlap of neighbouring windows in pixels.
    pub overlap: usize,
    /// How many times larger the output is.
    pub scale: usize,
    /// Windows that are restored at a time.
    pub batch: usize,
}

/// Restores `image` window by window. `restore` gets cut-out windows and gives their restored values one
/// after the other, each (side·scale, side·scale, 3), in grey levels; `done` is called with the number of
/// windows done and their number in all.
///
/// # Errors
/// An overlap of more than half a window; those of `restore`.
pub fn restore_by_windows(
    image: &Picture,
    windows: Windows,
    mut restore: impl FnMut(&[Picture]) -> Result<Vec<f32>>,
    mut done: impl FnMut(usize, usize),
) -> Result<Picture> {
    let Windows { side, overlap, scale, batch } = windows;
    ensure!(overlap <= side / 2, "an overlap of {overlap} pixels; at most {} fit", side / 2);
    let mut blend = Blend::new(image, side, overlap, scale);
    let places = blend.places();
    for (index, part) in places.chunks(batch).enumerate() {
        let cut = |&(row, column): &(usize, usize)| {
            let (top, left) = (blend.rows.start(row), blend.columns.start(column));
            image.crop(left as isize, top as isize, side, side)
        };
        let restored = restore(&part.iter().map(cut).collect::<Vec<_>>())?;
        let values = (side * scale).pow(2) * COLOURS;
        for (&place, restored) in part.iter().zip(restored.chunks_exact(values)) {
            blend.add(place, side * scale, restored);
        }
        done(index * batch + part.len(), places.len());
    }
    Ok(blend.finish())
}

impl Blend {
    fn new(image: &Picture, window: usize, overlap: usize, scale: usize) -> Self {
        let (width, height) = (image.width * scale, image.height * scale);
        Self {
            rows: WindowGrid::new(image.height, window, overlap),
            columns: WindowGrid::new(image.width, window, overlap),
            scale,
            width,
            height,
            sums: vec![0.0; width * height * COLOURS],
        }
    }

    /// Row and column of every window.
    fn places(&self) -> Vec<(usize, usize)> {
        let columns = 0..self.columns.count();
        (0..self.rows.count()).flat_map(|row| columns.clone().map(move |column| (row, column))).collect()
    }

    /// Adds a restored window (side, side, 3) with its weights. Values are cut to those of pixels first, as
    /// the engine does.
    fn add(&mut self, (row, column): (usize, usize), side: usize, restored: &[f32]) {
        let (top, left) = (self.rows.start(row) * self.scale, self.columns.start(column) * self.scale);
        let full = (WindowGrid::FULL * WindowGrid::FULL) as f32;
        for (y, line) in (top..self.height).zip(restored.chunks_exact(side * COLOURS)) {
            let weight_y = self.rows.weight(row, y, self.scale);
            if weight_y == 0 {
                continue;
            }
            for (x, pixel) in (left..self.width).zip(line.chunks_exact(COLOURS)) {
                let weight = (weight_y * self.columns.weight(column, x, self.scale)) as f32 / full;
                let sums = &mut self.sums[(y * self.width + x) * COLOURS..][..COLOURS];
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * value.clamp(0.0, 255.0));
            }
        }
    }

    fn finish(self) -> Picture {
        let data = self.sums.iter().map(|sum| sum.round() as u8).collect();
        Picture { width: self.width, height: self.height, data }
    }
}
