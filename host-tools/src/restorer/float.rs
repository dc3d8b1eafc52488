//! The float reference over whole images, with the engine's windows.

use anyhow::{ensure, Result};
use rayon::prelude::*;
use vitreous::models::ipt::{IptConfig, Task, COLOURS};
use vitreous::pipeline::{default_overlap, WindowGrid};

use crate::checkpoint::ipt::FloatIpt;
use crate::degrade::Picture;
use crate::reference::ReferenceIpt;

/// Windows of one forward pass: few, so that their attention scores stay in the cache.
const BATCH: usize = 4;
/// Windows in memory at a time; their batches are computed in parallel.
const GROUP: usize = 128;

/// Float weights of an IPT, run over whole images.
pub struct FloatRestorer {
    name: String,
    reference: ReferenceIpt,
}

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

impl FloatRestorer {
    /// Takes over the weights of `model`.
    ///
    /// # Errors
    /// The framework's own.
    pub fn new(model: &FloatIpt) -> Result<Self> {
        Ok(Self { name: model.name.clone(), reference: ReferenceIpt::new(model)? })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hyperparameters.
    pub fn config(&self) -> &IptConfig {
        self.reference.config()
    }

    /// Restores one image in windows that lie and are blended as the engine's; `overlap` in pixels, the engine's default if `None`.
    /// `done` is called with the number of windows done and their number in all.
    ///
    /// # Errors
    /// No such task; an overlap of more than half a window; the framework's own.
    pub fn restore(
        &self,
        task: &Task,
        image: &Picture,
        overlap: Option<usize>,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Picture> {
        let window = self.config().window;
        let overlap = overlap.unwrap_or(default_overlap(window));
        ensure!(overlap <= window / 2, "an overlap of {overlap} pixels; at most {} fit", window / 2);
        let mut blend = Blend::new(image, window, overlap, task.scale);
        let places = blend.places();
        for (index, group) in places.chunks(GROUP).enumerate() {
            let restored: Result<Vec<Vec<f32>>> = group
                .par_chunks(BATCH)
                .map(|places| self.restore_windows(task, image, &blend, places))
                .collect();
            let restored = restored?;
            let values = (window * task.scale).pow(2) * COLOURS;
            for (&place, restored) in
                group.iter().zip(restored.iter().flat_map(|all| all.chunks_exact(values)))
            {
                blend.add(place, window * task.scale, restored);
            }
            done(index * GROUP + group.len(), places.len());
        }
        Ok(blend.finish())
    }

    /// The windows at some places, restored: (places, side, side, 3).
    fn restore_windows(
        &self,
        task: &Task,
        image: &Picture,
        blend: &Blend,
        places: &[(usize, usize)],
    ) -> Result<Vec<f32>> {
        let window = self.config().window;
        let mut pixels = Vec::with_capacity(places.len() * window * window * COLOURS);
        for &(row, column) in places {
            let (top, left) = (blend.rows.start(row), blend.columns.start(column));
            pixels.extend(image.crop(left as isize, top as isize, window, window).data);
        }
        Ok(self.reference.restore(&pixels, task)?)
    }
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

    /// Adds a restored window (side, side, 3) with its weights. Values are cut to those of pixels first, as the engine does.
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
