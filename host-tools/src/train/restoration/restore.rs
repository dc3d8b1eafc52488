//! Restoring whole pictures while training, for samples.

use super::network::Network;
use crate::degrade::Picture;
use crate::restorer::{restore_by_windows, Windows};
use anyhow::Result;
use rayon::prelude::*;

/// Windows of one forward pass, and windows that are cut out at a time.
const SHARD: usize = 8;
const BATCH: usize = 8 * SHARD;

impl dyn Network + '_ {
    /// `picture` restored for `task` in windows that lie and are blended as the engine's, overlapping by
    /// `overlap` pixels at least. A picture smaller than the window is continued by its mirror image.
    pub fn restore(
        &self,
        values: &[Vec<f32>],
        task: usize,
        picture: &Picture,
        overlap: usize,
    ) -> Result<Picture> {
        let weights = self.constants(values, task)?;
        let windows = Windows { side: self.window(), overlap, scale: self.tasks()[task].scale, batch: BATCH };
        let restore = |windows: &[Picture]| -> Result<Vec<f32>> {
            let shards: Result<Vec<Vec<Vec<f32>>>> = windows
                .par_chunks(SHARD)
                .map(|shard| self.restore_windows(&weights, task, &shard.iter().collect::<Vec<_>>()))
                .collect();
            Ok(shards?.into_iter().flatten().flatten().collect())
        };
        restore_by_windows(picture, windows, restore, |_, _| ())
    }
}
