//! A task's tail: feature maps to pixels, row by row.

use half::f16;

use super::config::COLOURS;
use super::head::scratch;
use super::plan::region;
use super::run::IptRun;
use super::weights::TailWeights;
use crate::arena::{cast_mut, part, part_mut};
use crate::error::Error;
use crate::kernels::Epilogue;
use crate::ops::{conv_row, Inputs, Output};
use crate::tensor::rows;

/// Where a convolution of the tail finds its input rows: a ring of `slots` rows of `width·features`.
#[derive(Clone, Copy)]
struct Level {
    region: usize,
    slots: usize,
    /// Side of the image in pixels.
    side: usize,
}

impl IptRun<'_, '_> {
    fn level(&self, level: usize) -> Result<Level, Error> {
        let window = self.ipt.config().window;
        let steps = self.task().ok_or(Error::Internal(70))?.upsampler();
        let (mut found, mut side) = (Level { region: region::MAP, slots: window, side: window }, window);
        for (factor, region) in steps.iter().zip(region::UPSAMPLED).take(level) {
            side *= factor;
            found = Level { region, slots: factor + 2, side };
        }
        Ok(found)
    }

    /// `out[y] = W * upsampled + b + mean`, an output row.
    pub(super) fn tail_row(&mut self, y: usize) -> Result<usize, Error> {
        let kernels = self.kernels;
        let weights = self.ipt.tail(self.task)?;
        let mean = self.ipt.section().mean();
        let features = self.ipt.config().features;
        let levels = weights.upsampler.iter().flatten().count();
        let input = self.level(levels)?;
        self.upsample(&weights, levels, (y + 1).min(input.side - 1))?;
        let [a, b, d, e, f, g, h] = region::CONV;
        let [from, out, a, b, d, e, f, g, h] =
            self.plan.views(self.arena, [input.region, region::OUT_ROW, a, b, d, e, f, g, h])?;
        let (from, out) = (cast_mut::<f16>(from)?, cast_mut::<f32>(out)?);
        let row = input.side * features;
        conv_row(
            kernels,
            &weights.exit,
            Inputs::Signed,
            (input.side, input.side),
            (y, self.tile),
            scratch([a, b, d, e, f, g, h]),
            &mut |y, to| {
                (kernels.widen)(part(from, slot(y, input.slots) * row, row)?, to);
                Ok(())
            },
            Output::Write(Epilogue::None, &mut |x, values| {
                let to = part_mut(out, x * COLOURS, values.len())?;
                let shifted = values.iter().zip(mean.iter().cycle()).map(|(v, mean)| *v + *mean);
                to.iter_mut().zip(shifted).for_each(|(to, v)| *to = v);
                Ok(())
            }),
        )?;
        Ok(y + 1)
    }

    /// Makes the rows of a level up to and with `last`.
    fn upsample(&mut self, weights: &TailWeights, level: usize, last: usize) -> Result<(), Error> {
        let kernels = self.kernels;
        let steps = self.task().ok_or(Error::Internal(71))?.upsampler();
        let Some(above) = level.checked_sub(1) else { return Ok(()) };
        let (Some(Some(conv)), Some(&factor)) = (weights.upsampler.get(above), steps.get(above)) else {
            return Err(Error::Internal(72));
        };
        let (input, output) = (self.level(above)?, self.level(level)?);
        let features = self.ipt.config().features;
        let (from_row, to_row) = (input.side * features, output.side * features);
        loop {
            let made = self.upsampled.get(above).copied().unwrap_or(usize::MAX);
            if made > last {
                return Ok(());
            }
            let y = made.checked_div(factor).unwrap_or(0);
            self.upsample(weights, above, (y + 1).min(input.side - 1))?;
            let [a, b, d, e, f, g, h] = region::CONV;
            let [from, to, a, b, d, e, f, g, h] =
                self.plan.views(self.arena, [input.region, output.region, a, b, d, e, f, g, h])?;
            let (from, to) = (cast_mut::<f16>(from)?, cast_mut::<f16>(to)?);
            conv_row(
                kernels,
                conv,
                Inputs::Signed,
                (input.side, input.side),
                (y, self.tile),
                scratch([a, b, d, e, f, g, h]),
                &mut |y, to| {
                    (kernels.widen)(part(from, slot(y, input.slots) * from_row, from_row)?, to);
                    Ok(())
                },
                Output::Write(Epilogue::None, &mut |x, values| {
                    // Outputs are ordered (row in the factor × factor square, column in it, feature): each
                    // row is one run.
                    for (x, pixel) in (x..).zip(rows(values, conv.outputs)) {
                        for (i, run) in rows(pixel, factor * features).enumerate() {
                            let start = slot(made + i, output.slots) * to_row + x * factor * features;
                            let to = part_mut(to, start, run.len())?;
                            (kernels.narrow)(run, to);
                        }
                    }
                    Ok(())
                }),
            )?;
            if let Some(made) = self.upsampled.get_mut(above) {
                *made += factor;
            }
        }
    }
}

/// Place of a row in a ring.
fn slot(row: usize, slots: usize) -> usize {
    row.checked_rem(slots).unwrap_or(0)
}
