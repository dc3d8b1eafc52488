//! Reads a configuration section: u32 words, each with its allowed range.

use core::cell::Cell;

use super::u32_at;
use crate::error::Error;

/// The words of a section that begins at byte `start` of the file. The first word out of its range is
/// remembered for [`Words::done`]; reading it gives a value within the range.
pub(crate) struct Words<'a> {
    bytes: &'a [u8],
    start: u32,
    /// Name and number of the first word that is wrong.
    wrong: Cell<Option<(&'static str, u32)>>,
}

impl<'a> Words<'a> {
    /// Of a configuration section, which is the first of a file, and is `least` bytes long or longer.
    ///
    /// # Errors
    /// [`Error::SectionLength`].
    pub(crate) fn new((start, bytes): (u32, &'a [u8]), least: usize) -> Result<Self, Error> {
        let words = Self { bytes, start, wrong: Cell::new(None) };
        if bytes.len() < least {
            return Err(words.length_error(least));
        }
        Ok(words)
    }

    /// Succeeds where the section is exactly as long as this.
    ///
    /// # Errors
    /// [`Error::SectionLength`].
    pub(crate) fn expect_length(&self, expected: usize) -> Result<(), Error> {
        if self.bytes.len() == expected {
            Ok(())
        } else {
            Err(self.length_error(expected))
        }
    }

    #[cold]
    fn length_error(&self, expected: usize) -> Error {
        let (found, expected) = (self.bytes.len() as u32, expected as u32);
        Error::SectionLength { section: 0, offset: self.start, found, expected }
    }

    pub(crate) fn word(&self, index: usize) -> u32 {
        u32_at(self.bytes, 4 * index)
    }

    /// Remembers word number `word` as wrong unless `good`.
    #[inline(never)]
    pub(crate) fn check(&self, good: bool, name: &'static str, word: usize) {
        if !good && self.wrong.get().is_none() {
            self.wrong.set(Some((name, word as u32)));
        }
    }

    /// Reads a size from `min` to `max`.
    #[inline(never)]
    pub(crate) fn size(&self, name: &'static str, word: usize, min: usize, max: usize) -> usize {
        let value = self.word(word) as usize;
        self.check(value >= min && value <= max, name, word);
        value.max(min).min(max)
    }

    /// Reads a number and returns the value that it stands for, or `or` if it stands for none.
    pub(crate) fn one_of<T: Copy>(&self, name: &'static str, word: usize, values: &[T], or: T) -> T {
        let value = values.get(self.word(word) as usize).copied();
        self.check(value.is_some(), name, word);
        value.unwrap_or(or)
    }

    /// Succeeds if all words read so far are in their ranges.
    ///
    /// # Errors
    /// [`Error::Field`] for the first word that is not.
    pub(crate) fn done(&self) -> Result<(), Error> {
        let Some((name, word)) = self.wrong.get() else { return Ok(()) };
        let offset = self.start.saturating_add(4 * word);
        Err(Error::Field { name, offset, value: self.word(word as usize) })
    }
}
