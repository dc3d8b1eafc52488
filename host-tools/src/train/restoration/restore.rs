//! Restoring whole pictures in float by overlapping windows, for scores and samples while training.

use super::network::Network;
use crate::degrade::Picture;
use anyhow::Result;
use rayon::prelude::*;
use vitreous::models::ipt::COLOURS;

/// Windows of one forward pass.
const BATCH: usize = 8;

impl dyn Network + '_ {
    /// `picture` restored for `task`. Windows overlap by `overlap` pixels at least and are blended with weights that fall
    /// linearly towards their edges, so that no seam is left. A picture smaller than the window is continued by its mirror
    /// image.
    pub fn restore(
        &self,
        values: &[Vec<f32>],
        task: usize,
        picture: &Picture,
        overlap: usize,
    ) -> Result<Picture> {
        let (window, scale) = (self.window(), self.tasks()[task].scale);
        let weights = self.constants(values, task)?;
        let (rows, columns) =
            (starts(picture.height, window, overlap), starts(picture.width, window, overlap));
        let corners: Vec<(usize, usize)> =
            rows.iter().flat_map(|&top| columns.iter().map(move |&left| (top, left))).collect();
        let (width, height) = (picture.width * scale, picture.height * scale);
        let mut sums = vec![0f32; width * height * COLOURS];
        let mut shares = vec![0f32; width * height];
        let side = window * scale;
        let ramp: Vec<f32> =
            (0..side).map(|i| i.min(side - 1 - i).min(overlap * scale) as f32 + 0.5).collect();
        let batches: Result<Vec<Vec<Vec<f32>>>> = corners
            .par_chunks(BATCH)
            .map(|corners| {
                let crop =
                    |&(top, left): &(usize, usize)| picture.crop(left as isize, top as isize, window, window);
                let crops: Vec<Picture> = corners.iter().map(crop).collect();
                self.restore_windows(&weights, task, &crops.iter().collect::<Vec<_>>())
            })
            .collect();
        for ((top, left), restored) in corners.iter().zip(batches?.iter().flatten()) {
            for y in 0..side.min(height - top * scale) {
                for x in 0..side.min(width - left * scale) {
                    let share = ramp[y] * ramp[x];
                    let to = (top * scale + y) * width + left * scale + x;
                    shares[to] += share;
                    for c in 0..COLOURS {
                        sums[to * COLOURS + c] += share * restored[(y * side + x) * COLOURS + c];
                    }
                }
            }
        }
        let byte = |(i, sum): (usize, &f32)| (sum / shares[i / COLOURS]).round_ties_even() as u8;
        Ok(Picture { width, height, data: sums.iter().enumerate().map(byte).collect() })
    }
}

/// Where windows begin along a side: evenly spread, overlapping by `overlap` at least.
fn starts(length: usize, window: usize, overlap: usize) -> Vec<usize> {
    if length <= window {
        return vec![0];
    }
    let count = (length - window).div_ceil(window.saturating_sub(overlap).max(1));
    (0..=count).map(|i| (length - window) * i / count).collect()
}
