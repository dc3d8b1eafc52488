//! Restoration of images of any size, window by window, row band by row band.

use crate::error::Error;
use crate::models::ipt::{Ipt, IptRun};
use crate::pipeline::{Band, BandShape};
use crate::profile::{Progress, Stage};
use crate::run::RunOptions;
use crate::source::{PixelSink, PixelSource};

/// The default overlap of windows, in pixels of the input: a quarter of the window.
///
/// ```
/// assert_eq!(vitreous::pipeline::default_overlap(48), 12);
/// ```
pub const fn default_overlap(window: usize) -> usize {
    window / 4
}

/// Options of a restoration.
#[derive(Clone, Copy)]
pub struct RestoreOptions<'a> {
    /// Least overlap of neighbouring windows in pixels of the input, at most half a window.
    pub overlap: usize,
    /// Options of the run of each window.
    pub run: RunOptions<'a>,
}

#[cfg(feature = "defmt")]
impl defmt::Format for RestoreOptions<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "RestoreOptions {{ overlap: {=usize}, run: {} }}", self.overlap, self.run);
    }
}

impl RestoreOptions<'_> {
    /// [`default_overlap`] and [`RunOptions::default`].
    pub fn new(ipt: &Ipt) -> Self {
        Self { overlap: default_overlap(ipt.config().window), run: RunOptions::default() }
    }
}

/// A restoration in progress. It can be left and resumed after every tile of every window, and holds the
/// arena and the row bands.
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
    band: Band<'r>,
    /// Number of the current window, counted row by row.
    next: usize,
    /// Its next output row.
    out_row: usize,
    /// Whether a step failed, so that sums and arena must not be used.
    failed: bool,
}

#[cfg(feature = "defmt")]
impl defmt::Format for Restore<'_, '_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Restore {{ window: {=usize} of {=usize} }}", self.next, self.windows());
    }
}

impl<'r, 'm> Restore<'r, 'm> {
    /// Begins the restoration of an image `(height, width, 3)` by a task of the model, counted from 0.
    ///
    /// `arena` has at least the bytes of [`Ipt::plan_for`], `band` at least
    /// [`BandPlan::bytes`](crate::pipeline::BandPlan::bytes). Both are aligned to 16 bytes; neither needs to
    /// be cleared.
    ///
    /// # Errors
    /// [`Error::Task`], [`Error::ImageSize`], [`Error::Overlap`], [`Error::BandTooSmall`],
    /// [`Error::ArenaMisaligned`], and those of [`Ipt::begin_with`].
    pub fn begin(
        ipt: &'r Ipt<'m>,
        task: usize,
        (width, height): (usize, usize),
        arena: &'r mut [u8],
        band: &'r mut [u8],
        options: RestoreOptions<'r>,
    ) -> Result<Self, Error> {
        let run = ipt.begin_with(task, arena, options.run)?;
        let (window, scale) = (ipt.config().window, run.task().scale);
        let shape = BandShape { window, scale, overlap: options.overlap, width, height };
        Ok(Self { run, band: Band::begin(shape, band)?, next: 0, out_row: 0, failed: false })
    }

    /// Number of windows of the image: rows of windows times columns.
    pub fn windows(&self) -> usize {
        self.band.window_rows() * self.band.window_columns()
    }

    /// Number of windows done.
    pub fn windows_done(&self) -> usize {
        self.next
    }

    /// Computes one tile of one window and returns. The first step of a row of windows reads its input rows
    /// from the source; the last step writes the completed output rows to the sink.
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
        let columns = self.band.window_columns().max(1);
        let (row, column) = (self.next / columns, self.next % columns);
        if row >= self.band.window_rows() {
            return Err(Error::Finished);
        }
        if self.run.next_stage().is_none() {
            self.band.read(row, source)?;
            self.out_row = 0;
            let band = &self.band;
            self.run.begin_window(|pixels| band.window(row, column, pixels))?;
        }
        let progress = self.run.step()?;
        if matches!(progress, Progress::Running(Stage::Tail) | Progress::Done) {
            self.band.add((row, column), self.out_row, self.run.row()?)?;
            self.out_row += 1;
        }
        if progress != Progress::Done {
            return Ok(progress);
        }
        self.next += 1;
        if column + 1 == columns {
            self.band.write(row, sink)?;
            if row + 1 == self.band.window_rows() {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::Running(Stage::Tail))
    }
}

/// Restores an image `(height, width, 3)` of 8 bits. The output's sides are `scale` times longer. `band` has
/// at least [`BandPlan::bytes`](crate::pipeline::BandPlan::bytes) and is aligned to 16 bytes.
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
