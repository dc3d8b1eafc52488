//! Row bands of an image: the input rows that the current row of windows reads, and the output rows that
//! overlapping windows are blended into.

use crate::arena::{part, part_mut};
use crate::error::Error;
use crate::math::{round_to_i32, Lane};
use crate::models::ipt::COLOURS;
use crate::pipeline::{mirror, WindowGrid};
use crate::source::{PixelSink, PixelSource};
use crate::tensor::{padded, rows, rows_mut, ALIGN};

/// The longest side of an image in pixels.
pub const MAX_SIDE: usize = 65_535;
/// Steps per grey level in the sums of overlapping windows.
const STEPS: f32 = 128.0;

/// Memory for the row bands of an image, beside the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BandPlan {
    /// Input rows of one row of windows: `(window, width, 3)` u8.
    pub input_bytes: usize,
    /// Sums of overlapping windows: `(window·scale, width·scale, 3)` i16, in steps of 1/128 grey level.
    pub sum_bytes: usize,
    /// One output row: `(width·scale, 3)` u8.
    pub row_bytes: usize,
}

impl BandPlan {
    /// The memory for an image of `width` pixels, with the `window` of the model's configuration and the
    /// `scale` of the task. It doesn't depend on the image's height.
    ///
    /// ```
    /// // A colour image of 320 pixels a row, restored in windows of 32.
    /// let plan = vitreous::pipeline::BandPlan::new(32, 1, 320)?;
    /// assert_eq!((plan.input_bytes, plan.sum_bytes, plan.row_bytes), (30_720, 61_440, 960));
    /// # Ok::<(), vitreous::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PlanTooLarge`] if it does not fit into this machine's address space.
    pub fn new(window: usize, scale: usize, width: usize) -> Result<Self, Error> {
        let bytes = |rows: usize, width: usize, size: usize| {
            let row = width.checked_mul(COLOURS * size)?;
            rows.checked_mul(row).filter(|bytes| *bytes < usize::MAX / 8).map(padded)
        };
        let wide = width.checked_mul(scale).ok_or(Error::PlanTooLarge)?;
        let tall = window.checked_mul(scale).ok_or(Error::PlanTooLarge)?;
        Ok(Self {
            input_bytes: bytes(window, width, 1).ok_or(Error::PlanTooLarge)?,
            sum_bytes: bytes(tall, wide, 2).ok_or(Error::PlanTooLarge)?,
            row_bytes: bytes(1, wide, 1).ok_or(Error::PlanTooLarge)?,
        })
    }

    /// Bytes in all, which [`Restore::begin`](crate::pipeline::Restore::begin) and [`Band::begin`] need.
    pub const fn bytes(&self) -> usize {
        self.input_bytes + self.sum_bytes + self.row_bytes
    }
}

/// Sizes that a band is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BandShape {
    /// The model's window, in pixels of the input.
    pub window: usize,
    /// The task's scale.
    pub scale: usize,
    /// Least overlap of neighbouring windows in pixels of the input, at most half a window.
    pub overlap: usize,
    /// The image's width in pixels.
    pub width: usize,
    /// The image's height in pixels.
    pub height: usize,
}

/// The row bands of an image: the input rows of one row of windows, and the sums of the windows' outputs.
///
/// [`Restore`](crate::pipeline::Restore) runs one window after the other. With several cores, the windows of
/// a row can run at the same time, each with its own arena. Their outputs may be added in any order, since
/// integer sums don't depend on it.
///
/// The order of calls: for each row of windows [`Band::read`]; for each of its windows [`Band::window`], a
/// run of the model, and [`Band::add`] for each row of its output; then [`Band::write`].
pub struct Band<'r> {
    shape: BandShape,
    rows: WindowGrid,
    columns: WindowGrid,
    input: &'r mut [u8],
    sums: &'r mut [i16],
    row: &'r mut [u8],
    /// Input rows read.
    read: usize,
    /// Output rows written.
    written: usize,
}

#[cfg(feature = "defmt")]
impl defmt::Format for Band<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Band {{ {}, read: {=usize}, written: {=usize} }}",
            self.shape,
            self.read,
            self.written
        );
    }
}

impl<'r> Band<'r> {
    /// Begins an image. `memory` has at least [`BandPlan::bytes`] and is aligned to 16 bytes; it doesn't need
    /// to be cleared.
    ///
    /// # Errors
    /// [`Error::ImageSize`], [`Error::Overlap`], [`Error::BandTooSmall`], [`Error::ArenaMisaligned`].
    pub fn begin(shape: BandShape, memory: &'r mut [u8]) -> Result<Self, Error> {
        let BandShape { window, scale, overlap, width, height } = shape;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(Error::ImageSize { width, height, limit: MAX_SIDE });
        }
        if overlap > window / 2 {
            return Err(Error::Overlap { found: overlap, limit: window / 2 });
        }
        let plan = BandPlan::new(window, scale, width)?;
        if !(memory.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(Error::ArenaMisaligned { required: ALIGN });
        }
        let too_small = Error::BandTooSmall { needed: plan.bytes(), found: memory.len() };
        let (input, rest) = memory.split_at_mut_checked(plan.input_bytes).ok_or(too_small)?;
        let (sums, rest) = rest.split_at_mut_checked(plan.sum_bytes).ok_or(too_small)?;
        let row = rest.get_mut(..width * scale * COLOURS).ok_or(too_small)?;
        let misaligned = |_| Error::ArenaMisaligned { required: ALIGN };
        let sums = bytemuck::try_cast_slice_mut::<u8, i16>(sums).map_err(misaligned)?;
        sums.iter_mut().for_each(|sum| *sum = 0);
        let rows = WindowGrid::new(height, window, overlap);
        let columns = WindowGrid::new(width, window, overlap);
        Ok(Self { shape, rows, columns, input, sums, row, read: 0, written: 0 })
    }

    /// Number of rows of windows.
    pub fn window_rows(&self) -> usize {
        self.rows.count()
    }

    /// Number of windows of a row.
    pub fn window_columns(&self) -> usize {
        self.columns.count()
    }

    /// Reads the input rows that a row of windows needs and the one before didn't. Rows of windows must be
    /// read in ascending order.
    ///
    /// # Errors
    /// [`Error::Source`].
    pub fn read<S: PixelSource + ?Sized>(&mut self, row: usize, source: &mut S) -> Result<(), Error> {
        let BandShape { window, width, height, .. } = self.shape;
        let row_bytes = width * COLOURS;
        let end = (self.rows.start(row) + window).min(height);
        while self.read < end {
            // Rows lie in a ring buffer as high as the window.
            let slot = self.read.checked_rem(window).unwrap_or(0);
            let rows = (window - slot).min(end - self.read);
            let to = part_mut(self.input, slot * row_bytes, rows * row_bytes)?;
            source.read_rows(self.read, to).map_err(Error::Source)?;
            self.read += rows;
        }
        Ok(())
    }

    /// Copies the pixels of a window, `(window, window, 3)`. An image smaller than the window is mirrored.
    ///
    /// # Errors
    /// None for a window of the row that was read last.
    pub fn window(&self, row: usize, column: usize, pixels: &mut [u8]) -> Result<(), Error> {
        let BandShape { window, width, height, .. } = self.shape;
        let (top, left) = (self.rows.start(row), self.columns.start(column));
        let row_bytes = width * COLOURS;
        for (y, to) in rows_mut(pixels, window * COLOURS).enumerate() {
            let y = mirror(top + y, height).checked_rem(window).unwrap_or(0);
            let from = part(self.input, y * row_bytes, row_bytes)?;
            for (x, to) in rows_mut(to, COLOURS).enumerate() {
                let x = mirror(left + x, width) * COLOURS;
                let pixel = part(from, x, COLOURS)?;
                to.iter_mut().zip(pixel).for_each(|(to, from)| *to = *from);
            }
        }
        Ok(())
    }

    /// Adds row `y` of a window's output, `(window·scale, 3)` in grey levels, times the window's weights.
    ///
    /// # Errors
    /// None for a window of the row that was read last.
    pub fn add(&mut self, (row, column): (usize, usize), y: usize, values: &[f32]) -> Result<(), Error> {
        let BandShape { window, scale, .. } = self.shape;
        let y = self.rows.start(row) * scale + y;
        let weight_y = self.rows.weight(row, y, scale);
        if weight_y == 0 || y >= self.shape.height * scale {
            return Ok(());
        }
        let width = self.shape.width * scale;
        let slot = y.checked_rem(window * scale).unwrap_or(0);
        let left = self.columns.start(column) * scale;
        let sums = part_mut(self.sums, slot * width * COLOURS, width * COLOURS)?;
        let mut sums = sums.iter_mut().skip(left * COLOURS);
        for (x, pixel) in (left..width).zip(rows(values, COLOURS)) {
            let weight = weight_y * self.columns.weight(column, x, scale);
            for (value, sum) in pixel.iter().zip(sums.by_ref()) {
                let value = round_to_i32(Lane::min(Lane::max(*value, 0.0), 255.0) * STEPS) as u32;
                // At most 255·128·2^16 + 2^15: below 2^31.
                *sum = sum.wrapping_add((value.wrapping_mul(weight).wrapping_add(1 << 15) >> 16) as i16);
            }
        }
        Ok(())
    }

    /// Writes the output rows that no later row of windows adds to.
    ///
    /// # Errors
    /// [`Error::Sink`].
    pub fn write<T: PixelSink + ?Sized>(&mut self, row: usize, sink: &mut T) -> Result<(), Error> {
        let BandShape { window, scale, width, .. } = self.shape;
        let row_values = width * scale * COLOURS;
        let end = self.rows.ramp_start(row + 1) * scale;
        while self.written < end {
            let slot = self.written.checked_rem(window * scale).unwrap_or(0);
            let sums = part_mut(self.sums, slot * row_values, row_values)?;
            for (to, sum) in self.row.iter_mut().zip(sums) {
                // The rounding of two ramps can exceed 255 by a few steps.
                *to = ((*sum as u16 + 64) >> 7).min(255) as u8;
                *sum = 0;
            }
            sink.write_rows(self.written, self.row).map_err(Error::Sink)?;
            self.written += 1;
        }
        Ok(())
    }
}
