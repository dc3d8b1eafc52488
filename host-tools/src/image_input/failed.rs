//! Images that could not be taken: the others are not lost for them.

use super::ImageError;
use crate::console;
use crate::text::{serialize_path, shown};
use anyhow::{bail, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// An image that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedImage {
    /// The file.
    #[serde(serialize_with = "serialize_path")]
    pub image: PathBuf,
    /// Why, without the file's name.
    pub reason: String,
}

/// All images of a command that could not be taken. The command goes on with the others and fails at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Failed(Vec<FailedImage>);

impl Failed {
    /// The value, or none and a note of why.
    pub fn keep<T, E: Into<anyhow::Error>>(&mut self, image: &Path, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(image, &error.into())).ok()
    }

    /// Notes an image; once, however often it fails.
    pub fn add(&mut self, image: &Path, error: &anyhow::Error) {
        let text = format!("{error:#}");
        let name = format!("{}: ", image.display());
        let reason = text.strip_prefix(&name).unwrap_or(&text).to_owned();
        if self.0.iter().all(|failed| failed.image != image) {
            self.0.push(FailedImage { image: image.to_path_buf(), reason });
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each with its reason.
    pub fn images(&self) -> &[FailedImage] {
        &self.0
    }

    /// `2 of 5 images are not restored`, with the reasons behind it.
    pub fn message(&self, all: usize, done: &str) -> Option<String> {
        let reasons: Vec<String> =
            self.0.iter().map(|failed| format!("\n  {}: {}", shown(&failed.image), failed.reason)).collect();
        let (count, verb) = (self.count(), if self.count() == 1 { "is" } else { "are" });
        (count > 0).then(|| format!("{count} of {all} images {verb} not {done}:{}", reasons.concat()))
    }

    /// Succeeds if there are none.
    ///
    /// # Errors
    /// [`Failed::message`].
    pub fn check(&self, all: usize, done: &str) -> Result<()> {
        self.message(all, done).map_or(Ok(()), |message| bail!(message))
    }
}

/// Says on standard error what is to be known of an image that was taken.
pub fn print_warnings(image: &Path, warnings: &[String]) {
    for warning in warnings {
        console::note(&format!("warning: {}: {warning}", shown(image)));
    }
}

impl<T> super::Loaded<T> {
    /// Loads with `load`, prints the warnings and gives the value.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn or_warn(
        image: &Path,
        load: impl FnOnce(&Path) -> Result<Self, ImageError>,
    ) -> Result<T, ImageError> {
        let loaded = load(image)?;
        print_warnings(image, &loaded.warnings);
        Ok(loaded.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_once_and_named() {
        let mut failed = Failed::default();
        assert!(failed.check(3, "restored").is_ok());
        let image = Path::new("photos/a.png");
        let error = || Err::<(), _>(ImageError::Empty { path: image.into() });
        assert_eq!(failed.keep(image, error()), None);
        assert_eq!(failed.keep(image, error()), None);
        assert_eq!(failed.keep(image, Ok::<_, ImageError>(7)), Some(7));
        let message = failed.check(3, "restored").unwrap_err().to_string();
        assert!(
            message.starts_with("1 of 3 images is not restored:\n  photos/a.png: the file is empty"),
            "{message}"
        );
    }
}
