//! Names of the classes.

use crate::error::Error;

/// Class names, in the order of the logits.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Labels<'a> {
    text: &'a str,
}

impl<'a> Labels<'a> {
    pub(super) fn parse(bytes: &'a [u8], offset: u32) -> Result<Self, Error> {
        let text = core::str::from_utf8(bytes).map_err(|e| Error::Field {
            name: "labels",
            offset: offset + e.valid_up_to() as u32,
            value: 0,
        })?;
        Ok(Self { text })
    }

    /// Name of a class, or `None` if the model has no name for it.
    pub fn get(&self, class: usize) -> Option<&'a str> {
        self.text.lines().nth(class)
    }

    /// All names.
    pub fn iter(&self) -> core::str::Lines<'a> {
        self.text.lines()
    }

    /// Number of names.
    pub fn count(&self) -> usize {
        self.text.lines().count()
    }
}
