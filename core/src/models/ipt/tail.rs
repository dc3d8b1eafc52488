//! A task's tail: feature maps to pixels, row by row.

use half::f16;

use super::config::{IptConfig, COLOURS};
use super::plan::Slots;
use super::weights::TailWeights;
use crate::arena::Slot;
use crate::error::Fault;
use crate::ops::{conv_row, Inputs, Source, Target};
use crate::run::Workspace;

/// The tail of a task: the steps of its upsampler, then the convolution to pixels.
pub(super) struct Tail<'a> {
    pub config: &'a IptConfig,
    pub weights: TailWeights<'a>,
    /// Factors of the upsampler's steps.
    pub steps: &'a [usize],
    pub mean: [f32; COLOURS],
    pub slots: &'a Slots,
}

impl Tail<'_> {
    /// The rows that a step of the upsampler has made, in a ring, and the side of their image in pixels.
    /// Level 0 are the feature maps.
    fn level(&self, level: usize) -> (Slot<f16>, usize) {
        let (mut rows, mut side) = (self.slots.map, self.config.window);
        for (factor, ring) in self.steps.iter().zip(self.slots.upsampled).take(level) {
            (rows, side) = (ring, side * factor);
        }
        (rows, side)
    }

    /// `out[y] = W * upsampled + b + mean`, an output row; returns the number of the next. `made` counts the
    /// rows that each step of the upsampler has made.
    pub fn row(&self, w: &mut Workspace, made: &mut [usize; 2], y: usize) -> Result<usize, Fault> {
        let (rows, side) = self.level(self.steps.len());
        self.upsample(w, made, self.steps.len(), (y + 1).min(side - 1))?;
        let exit = (&self.weights.exit, Inputs::Signed);
        let out = Target::Pixels(self.slots.out_row, self.mean);
        conv_row(w, &self.slots.conv, exit, (Source::Ring(rows), side, y), out)?;
        Ok(y + 1)
    }

    /// Makes the rows of a level up to and with `last`, and those above that they need.
    fn upsample(
        &self,
        w: &mut Workspace,
        made: &mut [usize; 2],
        level: usize,
        last: usize,
    ) -> Result<(), Fault> {
        let Some(above) = level.checked_sub(1) else { return Ok(()) };
        let ((input, side), (output, _)) = (self.level(above), self.level(level));
        let (Some(Some(conv)), Some(&factor)) = (self.weights.upsampler.get(above), self.steps.get(above))
        else {
            return Err(Fault::Weights);
        };
        loop {
            let done = made.get(above).copied().unwrap_or(usize::MAX);
            if done > last {
                return Ok(());
            }
            let y = done.checked_div(factor).unwrap_or(0);
            self.upsample(w, made, above, (y + 1).min(side - 1))?;
            let shuffled = Target::Shuffle(output, done, factor);
            conv_row(w, &self.slots.conv, (conv, Inputs::Signed), (Source::Ring(input), side, y), shuffled)?;
            if let Some(done) = made.get_mut(above) {
                *done += factor;
            }
        }
    }
}
