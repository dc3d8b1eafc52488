//! Where pixels come from and go to: a camera, a display, a flash chip, a slice.

/// A source or sink of pixels failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SourceError {
    /// Error code; its meaning is defined by the source or sink.
    pub code: u32,
}

/// Delivers an image strip by strip, so that the whole image need not be in RAM.
pub trait PixelSource {
    /// Fills `rows` with whole image rows from row `first_row` on: `(rows, width, channels)`, 8 bits each.
    ///
    /// Each row is asked for once, from top to bottom.
    ///
    /// # Errors
    /// A [`SourceError`] stops the run, which can't be resumed.
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError>;
}

/// Takes an image strip by strip: a display, a file, a slice.
pub trait PixelSink {
    /// Takes whole image rows from row `first_row` on: `(rows, width, channels)`, 8 bits each.
    ///
    /// Each row comes once, from top to bottom.
    ///
    /// # Errors
    /// A [`SourceError`] stops the run, which can't be resumed.
    fn write_rows(&mut self, first_row: usize, rows: &[u8]) -> Result<(), SourceError>;
}

/// An image that lies in memory: `(height, width, channels)`, 8 bits each.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SliceSource<'a> {
    pixels: &'a [u8],
    row_bytes: usize,
}

impl<'a> SliceSource<'a> {
    /// Error code of a slice that is too short for the rows asked for.
    pub const TOO_SHORT: u32 = 1;
    /// Error code where the rows asked for are no whole rows of `row_bytes`.
    pub const WRONG_WIDTH: u32 = 2;

    /// `row_bytes` is width · channels.
    pub const fn new(pixels: &'a [u8], row_bytes: usize) -> Self {
        Self { pixels, row_bytes }
    }
}

impl PixelSource for SliceSource<'_> {
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError> {
        if rows.len().checked_rem(self.row_bytes) != Some(0) {
            return Err(SourceError { code: Self::WRONG_WIDTH });
        }
        let start = first_row.saturating_mul(self.row_bytes);
        let end = start.saturating_add(rows.len());
        let from = self.pixels.get(start..end).ok_or(SourceError { code: Self::TOO_SHORT })?;
        for (to, from) in rows.iter_mut().zip(from) {
            *to = *from;
        }
        Ok(())
    }
}

/// Memory for an image: `(height, width, channels)`, 8 bits each.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SliceSink<'a> {
    pixels: &'a mut [u8],
    row_bytes: usize,
}

impl<'a> SliceSink<'a> {
    /// Error code of a slice that is too short for the rows written.
    pub const TOO_SHORT: u32 = 1;
    /// Error code where what is written is no whole rows of `row_bytes`.
    pub const WRONG_WIDTH: u32 = 2;

    /// `row_bytes` is width · channels.
    pub const fn new(pixels: &'a mut [u8], row_bytes: usize) -> Self {
        Self { pixels, row_bytes }
    }
}

impl PixelSink for SliceSink<'_> {
    fn write_rows(&mut self, first_row: usize, rows: &[u8]) -> Result<(), SourceError> {
        if rows.len().checked_rem(self.row_bytes) != Some(0) {
            return Err(SourceError { code: Self::WRONG_WIDTH });
        }
        let start = first_row.saturating_mul(self.row_bytes);
        let end = start.saturating_add(rows.len());
        let to = self.pixels.get_mut(start..end).ok_or(SourceError { code: Self::TOO_SHORT })?;
        for (to, from) in to.iter_mut().zip(rows) {
            *to = *from;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{PixelSink, PixelSource, SliceSink, SliceSource, SourceError};

    #[test]
    fn rows_of_another_width_and_missing_ones_are_refused() {
        let (image, mut rows) = ([7; 64], [0; 16]);
        assert_eq!(SliceSource::new(&image, 8).read_rows(6, &mut rows), Ok(()));
        let mut read =
            |row_bytes, first| SliceSource::new(&image, row_bytes).read_rows(first, &mut rows).err();
        let wrong = Some(SourceError { code: SliceSource::WRONG_WIDTH });
        assert_eq!([read(7, 0), read(0, 0), read(32, 0)], [wrong; 3]);
        assert_eq!(read(8, 7), Some(SourceError { code: SliceSource::TOO_SHORT }));
        let mut image = [0; 64];
        let mut write =
            |row_bytes, first| SliceSink::new(&mut image, row_bytes).write_rows(first, &[1; 16]).err();
        assert_eq!([write(7, 0), write(0, 0)], [Some(SourceError { code: SliceSink::WRONG_WIDTH }); 2]);
        assert_eq!(write(8, 7), Some(SourceError { code: SliceSink::TOO_SHORT }));
        assert_eq!(write(8, 6), None);
    }
}
