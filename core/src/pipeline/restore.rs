//! Restoration of images of any size, window by window, row band by row band.

use crate::arena::cast_mut;
use crate::error::Error;
use crate::kernels::{default_kernels, Kernels};
use crate::math::{round_to_i32, Lane};
use crate::models::ipt::{Ipt, IptRun, COLOURS, DEFAULT_TILE_ROWS};
use crate::pipeline::{mirror, WindowGrid};
use crate::profile::{Progress, Stage};
use crate::source::{PixelSink, PixelSource};
use crate::tensor::{padded, ALIGN};

/// Longest side of an image in pixels.
pub const MAX_SIDE: usize = 65_535;
/// Steps per grey level in which windows are added up.
const STEPS: f32 = 128.0;

/// Pixels of the input by which windows overlap where nothing else is said: a quarter of the window.
///
/// ```
/// assert_eq!(vitreous::pipeline::default_overlap(48), 12);
/// ```
pub const fn default_overlap(window: usize) -> usize {
    window / 4
}

/// What may be chosen for a restoration.
#[derive(Clone, Copy)]
pub struct RestoreOptions {
    /// Least overlap of neighbouring windows in pixels of the input, at most half a window.
    pub overlap: usize,
    /// Rows per tile.
    pub tile_rows: usize,
    /// Kernel table.
    pub kernels: &'static Kernels,
}

#[cfg(feature = "defmt")]
impl defmt::Format for RestoreOptions {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "RestoreOptions {{ overlap: {=usize}, tile_rows: {=usize} }}",
            self.overlap,
            self.tile_rows
        );
    }
}

impl RestoreOptions {
    /// [`default_overlap`], the default tile height, the kernels of this build.
    pub fn new(ipt: &Ipt) -> Self {
        Self {
            overlap: default_overlap(ipt.config().window),
            tile_rows: DEFAULT_TILE_ROWS,
            kernels: default_kernels(),
        }
    }
}

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
    /// The memory for an image `width` pixels wide: `window` is that of the model's configuration, `scale` that of the task. It
    /// doesn't depend on the image's height.
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

    /// All of it: what [`Restore::begin`] takes.
    pub const fn bytes(&self) -> usize {
        self.input_bytes + self.sum_bytes + self.row_bytes
    }
}

/// A restoration on its way, that can be left and resumed after every tile of every window. Holds the arena and the row bands.
///
/// ```no_run
/// use vitreous::models::ipt::Ipt;
/// use vitreous::pipeline::{Restore, RestoreOptions};
/// use vitreous::{Error, PixelSink, PixelSource, Progress};
///
/// /// Denoises what a camera delivers, row band by row band, with wider overlaps than usual.
/// fn denoise(
///     ipt: &Ipt,
///     (arena, band): (&mut [u8], &mut [u8]),
///     camera: &mut impl PixelSource,
///     display: &mut impl PixelSink,
///     mut feed_watchdog: impl FnMut(),
/// ) -> Result<(), Error> {
///     let options = RestoreOptions { overlap: ipt.config().window / 2, ..RestoreOptions::new(ipt) };
///     let mut restore = Restore::begin(ipt, 0, (320, 240), arena, band, options)?;
///     while restore.step(camera, display)? != Progress::Done {
///         feed_watchdog();
///     }
///     Ok(())
/// }
/// ```
pub struct Restore<'r, 'm> {
    run: IptRun<'r, 'm>,
    window: usize,
    scale: usize,
    size: Size,
    rows: WindowGrid,
    columns: WindowGrid,
    input: &'r mut [u8],
    sums: &'r mut [i16],
    row: &'r mut [u8],
    /// Window at work, counted row by row.
    next: usize,
    /// Output row of it that comes next.
    out_row: usize,
    /// Input rows read.
    read: usize,
    /// Output rows written.
    written: usize,
    /// A step failed: sums and arena are not to be used.
    failed: bool,
}

/// An image's size in pixels.
#[derive(Clone, Copy, Debug)]
struct Size {
    width: usize,
    height: usize,
}

#[cfg(feature = "defmt")]
impl defmt::Format for Restore<'_, '_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Restore {{ window: {=usize} of {=usize} }}", self.next, self.windows());
    }
}

impl<'r, 'm> Restore<'r, 'm> {
    /// Begins the restoration of an image `(height, width, 3)` by a task of the model, counted from 0. `arena` is memory of at least
    /// [`Ipt::plan_with_tile_rows`], `band` of at least [`BandPlan::bytes`], both aligned to 16 bytes; neither needs to be cleared.
    ///
    /// # Errors
    /// [`Error::Task`], [`Error::ImageSize`], [`Error::Overlap`], [`Error::BandTooSmall`], [`Error::ArenaMisaligned`], and those of
    /// [`Ipt::begin_with`].
    pub fn begin(
        ipt: &'r Ipt<'m>,
        task: usize,
        (width, height): (usize, usize),
        arena: &'r mut [u8],
        band: &'r mut [u8],
        options: RestoreOptions,
    ) -> Result<Self, Error> {
        let window = ipt.config().window;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(Error::ImageSize { width, height, limit: MAX_SIDE });
        }
        if options.overlap > window / 2 {
            return Err(Error::Overlap { found: options.overlap, limit: window / 2 });
        }
        let run = ipt.begin_with(task, arena, options.tile_rows, options.kernels)?;
        let scale = run.task().map_or(1, |task| task.scale);
        let plan = BandPlan::new(window, scale, width)?;
        if !(band.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(Error::ArenaMisaligned { required: ALIGN });
        }
        let found = band.len();
        let too_small = Error::BandTooSmall { needed: plan.bytes(), found };
        let (input, rest) = band.split_at_mut_checked(plan.input_bytes).ok_or(too_small)?;
        let (sums, rest) = rest.split_at_mut_checked(plan.sum_bytes).ok_or(too_small)?;
        let row = rest.get_mut(..width * scale * COLOURS).ok_or(too_small)?;
        let sums = cast_mut::<i16>(sums)?;
        sums.iter_mut().for_each(|sum| *sum = 0);
        Ok(Self {
            run,
            window,
            scale,
            size: Size { width, height },
            rows: WindowGrid::new(height, window, options.overlap),
            columns: WindowGrid::new(width, window, options.overlap),
            input,
            sums,
            row,
            next: 0,
            out_row: 0,
            read: 0,
            written: 0,
            failed: false,
        })
    }

    /// Number of windows of the image: rows of windows times columns.
    pub fn windows(&self) -> usize {
        self.rows.count() * self.columns.count()
    }

    /// Number of windows done.
    pub fn windows_done(&self) -> usize {
        self.next
    }

    /// Does one tile of one window and returns; rows that are complete go to the sink. The first step of a row of windows reads its
    /// rows from the source, the last one of it writes.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Sink`]; [`Error::Finished`] after the last step and after an error.
    pub fn step<S: PixelSource + ?Sized, T: PixelSink + ?Sized>(
        &mut self,
        source: &mut S,
        sink: &mut T,
    ) -> Result<Progress, Error> {
        if self.failed {
            return Err(Error::Finished);
        }
        let result = self.tile(source, sink);
        self.failed = result.is_err();
        result
    }

    fn tile<S: PixelSource + ?Sized, T: PixelSink + ?Sized>(
        &mut self,
        source: &mut S,
        sink: &mut T,
    ) -> Result<Progress, Error> {
        let columns = self.columns.count().max(1);
        let (row, column) = (self.next / columns, self.next % columns);
        if row >= self.rows.count() {
            return Err(Error::Finished);
        }
        if self.run.next_stage().is_none() {
            self.begin_window(row, column, source)?;
        }
        let progress = self.run.step()?;
        if matches!(progress, Progress::Running(Stage::Tail) | Progress::Done) {
            self.add_row(row, column)?;
        }
        if progress != Progress::Done {
            return Ok(progress);
        }
        self.next += 1;
        if column + 1 == columns {
            self.write_rows(row, sink)?;
            if row + 1 == self.rows.count() {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::Running(Stage::Tail))
    }

    /// Reads the input rows that are new in a row of windows, and hands the window's pixels to the run.
    fn begin_window<S: PixelSource + ?Sized>(
        &mut self,
        row: usize,
        column: usize,
        source: &mut S,
    ) -> Result<(), Error> {
        let (top, left) = (self.rows.start(row), self.columns.start(column));
        let row_bytes = self.size.width * COLOURS;
        let end = (top + self.window).min(self.size.height);
        while self.read < end {
            // Rows lie in a ring as high as the window.
            let slot = self.read.checked_rem(self.window).unwrap_or(0);
            let rows = (self.window - slot).min(end - self.read);
            let to = self.input.get_mut(slot * row_bytes..(slot + rows) * row_bytes);
            source.read_rows(self.read, to.ok_or(Error::Internal(90))?).map_err(Error::Source)?;
            self.read += rows;
        }
        self.out_row = 0;
        let (input, window, size) = (&*self.input, self.window, self.size);
        self.run.begin_window(|pixels| {
            for (y, to) in crate::tensor::rows_mut(pixels, window * COLOURS).enumerate() {
                let y = mirror(top + y, size.height).checked_rem(window).unwrap_or(0);
                let from = input.get(y * row_bytes..(y + 1) * row_bytes).ok_or(Error::Internal(91))?;
                for (x, to) in crate::tensor::rows_mut(to, COLOURS).enumerate() {
                    let x = mirror(left + x, size.width) * COLOURS;
                    let pixel = from.get(x..x + COLOURS).ok_or(Error::Internal(92))?;
                    to.iter_mut().zip(pixel).for_each(|(to, from)| *to = *from);
                }
            }
            Ok(())
        })
    }

    /// Adds the output row that the run has made to the sums, with its weights.
    fn add_row(&mut self, row: usize, column: usize) -> Result<(), Error> {
        let scale = self.scale;
        let y = self.rows.start(row) * scale + self.out_row;
        self.out_row += 1;
        let weight_y = self.rows.weight(row, y, scale);
        if weight_y == 0 || y >= self.size.height * scale {
            return Ok(());
        }
        let width = self.size.width * scale;
        let slot = y.checked_rem(self.window * scale).unwrap_or(0);
        let left = self.columns.start(column) * scale;
        let sums = self.sums.get_mut(slot * width * COLOURS..(slot + 1) * width * COLOURS);
        let sums = sums.ok_or(Error::Internal(93))?.iter_mut().skip(left * COLOURS);
        let values = self.run.row()?;
        let mut sums = sums;
        for (x, pixel) in (left..width).zip(crate::tensor::rows(values, COLOURS)) {
            let weight = weight_y * self.columns.weight(column, x, scale);
            for (value, sum) in pixel.iter().zip(sums.by_ref()) {
                let value = round_to_i32(Lane::min(Lane::max(*value, 0.0), 255.0) * STEPS) as u32;
                // At most 255·128·2^16 + 2^15: below 2^31.
                *sum = sum.wrapping_add((value.wrapping_mul(weight).wrapping_add(1 << 15) >> 16) as i16);
            }
        }
        Ok(())
    }

    /// Writes the rows that no later row of windows adds to.
    fn write_rows<T: PixelSink + ?Sized>(&mut self, row: usize, sink: &mut T) -> Result<(), Error> {
        let width = self.size.width * self.scale * COLOURS;
        let end = self.rows.ramp_start(row + 1) * self.scale;
        while self.written < end {
            let slot = self.written.checked_rem(self.window * self.scale).unwrap_or(0);
            let sums = self.sums.get_mut(slot * width..(slot + 1) * width).ok_or(Error::Internal(94))?;
            for (to, sum) in self.row.iter_mut().zip(sums) {
                // Rounding of two ramps can exceed 255 by a few steps.
                *to = ((*sum as u16 + 64) >> 7).min(255) as u8;
                *sum = 0;
            }
            sink.write_rows(self.written, self.row).map_err(Error::Sink)?;
            self.written += 1;
        }
        Ok(())
    }
}

/// Restores an image `(height, width, 3)` of 8 bits; the output is `scale` times larger. `band` is memory of at least
/// [`BandPlan::bytes`], aligned to 16 bytes.
///
/// ```no_run
/// # fn main() -> Result<(), vitreous::Error> {
/// # let (bytes, pixels, out) = (&[][..], &[][..], &mut [][..]);
/// use vitreous::models::ipt::Ipt;
/// use vitreous::{pipeline, Arena, Model, SliceSink, SliceSource};
///
/// let model = Model::parse(bytes)?;
/// let ipt = Ipt::new(&model)?;
/// let (mut arena, mut band) = (Arena::<200_000>::new(), Arena::<100_000>::new());
/// let (mut source, mut sink) = (SliceSource::new(pixels, 3 * 320), SliceSink::new(out, 3 * 320));
/// pipeline::restore(&ipt, 0, (320, 240), arena.bytes_mut(), band.bytes_mut(), &mut source, &mut sink)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`Restore::begin`] and [`Restore::step`].
pub fn restore<S: PixelSource + ?Sized, T: PixelSink + ?Sized>(
    ipt: &Ipt,
    task: usize,
    size: (usize, usize),
    arena: &mut [u8],
    band: &mut [u8],
    source: &mut S,
    sink: &mut T,
) -> Result<(), Error> {
    let mut restore = Restore::begin(ipt, task, size, arena, band, RestoreOptions::new(ipt))?;
    while restore.step(source, sink)? != Progress::Done {}
    Ok(())
}
