//! Reads a configuration section: u32 words with their allowed ranges.

use super::u32_at;
use crate::error::Error;

/// The words of a section that begins at `start` of the file.
pub(crate) struct Words<'a> {
    bytes: &'a [u8],
    start: u32,
}

impl<'a> Words<'a> {
    pub(crate) fn new(bytes: &'a [u8], start: u32) -> Self {
        Self { bytes, start }
    }

    pub(crate) fn word(&self, index: usize) -> u32 {
        u32_at(self.bytes, 4 * index)
    }

    /// The error that names a word.
    pub(crate) fn error(&self, name: &'static str, word: usize) -> Error {
        Error::Field { name, offset: self.start.saturating_add(4 * word as u32), value: self.word(word) }
    }

    /// The same unless `good`.
    pub(crate) fn check(&self, good: bool, name: &'static str, word: usize) -> Result<(), Error> {
        if good {
            Ok(())
        } else {
            Err(self.error(name, word))
        }
    }

    pub(crate) fn size(
        &self,
        name: &'static str,
        word: usize,
        min: usize,
        max: usize,
    ) -> Result<usize, Error> {
        let value = self.word(word) as usize;
        self.check(value >= min && value <= max, name, word)?;
        Ok(value)
    }

    pub(crate) fn one_of<T: Copy>(&self, name: &'static str, word: usize, values: &[T]) -> Result<T, Error> {
        values.get(self.word(word) as usize).copied().ok_or(self.error(name, word))
    }
}
