//! A task's head: pixels to feature maps. Each function makes one row and returns the number of the next.

use half::f16;

use super::config::{BLOCK_KERNEL, COLOURS};
use super::plan::{region, HIDDEN_ROWS};
use super::run::IptRun;
use crate::arena::{cast_mut, part, part_mut};
use crate::error::Error;
use crate::kernels::Epilogue;
use crate::models::vit::Activation;
use crate::ops::{conv_row, ConvScratch, Inputs, Output};

/// The regions of [`region::CONV`] as scratch.
pub(super) fn scratch<'a>(views: [&'a mut [u8]; 7]) -> ConvScratch<'a> {
    let [band, codes, neighbourhoods, scales, zero_points, out, linear] = views;
    ConvScratch { band, codes, neighbourhoods, scales, zero_points, out, linear }
}

impl IptRun<'_, '_> {
    /// `map[y] = W * (pixels − mean) + b`.
    pub(super) fn entry_row(&mut self, y: usize) -> Result<usize, Error> {
        let kernels = self.kernels;
        let c = self.ipt.config();
        let (window, features) = (c.window, c.features);
        let (entry, mean) = (self.ipt.head(self.task)?.entry, self.ipt.section().mean());
        let [a, b, d, e, f, g, h] = region::CONV;
        let [map, pixels, a, b, d, e, f, g, h] =
            self.plan.views(self.arena, [region::MAP, region::WINDOW, a, b, d, e, f, g, h])?;
        let map = part_mut(cast_mut::<f16>(map)?, y * window * features, window * features)?;
        let pixels: &[u8] = pixels;
        conv_row(
            kernels,
            &entry,
            Inputs::Signed,
            (window, window),
            (y, self.tile),
            scratch([a, b, d, e, f, g, h]),
            &mut |row, to| {
                let row = part(pixels, row * window * COLOURS, window * COLOURS)?;
                let centred = row.iter().zip(mean.iter().cycle()).map(|(p, mean)| *p as f32 - *mean);
                to.iter_mut().zip(centred).for_each(|(to, x)| *to = x);
                Ok(())
            },
            Output::Write(Epilogue::None, &mut |x, values| {
                let to = part_mut(map, x * features, values.len())?;
                (kernels.narrow)(values, to);
                Ok(())
            }),
        )?;
        Ok(y + 1)
    }

    /// `map[y] += W₂ * relu(W₁ * map + b₁) + b₂`.
    ///
    /// The rows of the hidden maps are made as they are needed and kept in a ring. `map[y]` can be updated in
    /// place: all hidden rows that see it have been made by then.
    pub(super) fn block_row(&mut self, block: usize, y: usize) -> Result<usize, Error> {
        let kernels = self.kernels;
        let c = self.ipt.config();
        let (window, features) = (c.window, c.features);
        let row = window * features;
        let head = self.ipt.head(self.task)?;
        let [first, second] = head.blocks.get(block).ok_or(Error::Internal(66))?;
        let [a, b, d, e, f, g, h] = region::CONV;
        let ids = [region::MAP, region::HIDDEN_ROWS, a, b, d, e, f, g, h];
        let last = (y + BLOCK_KERNEL / 2).min(window - 1);
        while self.hidden_rows <= last {
            let made = self.hidden_rows;
            let [map, ring, a, b, d, e, f, g, h] = self.plan.views(self.arena, ids)?;
            let map = cast_mut::<f16>(map)?;
            let hidden = part_mut(cast_mut::<f16>(ring)?, made % HIDDEN_ROWS * row, row)?;
            conv_row(
                kernels,
                first,
                Inputs::Signed,
                (window, window),
                (made, self.tile),
                scratch([a, b, d, e, f, g, h]),
                &mut |y, to| {
                    (kernels.widen)(part(map, y * row, row)?, to);
                    Ok(())
                },
                Output::Write(Epilogue::Activation(Activation::Relu), &mut |x, values| {
                    let to = part_mut(hidden, x * features, values.len())?;
                    (kernels.narrow)(values, to);
                    Ok(())
                }),
            )?;
            self.hidden_rows += 1;
        }
        let [map, ring, a, b, d, e, f, g, h] = self.plan.views(self.arena, ids)?;
        let map = part_mut(cast_mut::<f16>(map)?, y * row, row)?;
        let ring = cast_mut::<f16>(ring)?;
        conv_row(
            kernels,
            second,
            Inputs::NotNegative,
            (window, window),
            (y, self.tile),
            scratch([a, b, d, e, f, g, h]),
            &mut |y, to| {
                (kernels.widen)(part(ring, y % HIDDEN_ROWS * row, row)?, to);
                Ok(())
            },
            Output::Add(map),
        )?;
        Ok(y + 1)
    }
}
