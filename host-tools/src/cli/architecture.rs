//! Refuses a model where those of another architecture are wanted, before it is loaded.

use std::path::Path;

use anyhow::{ensure, Result};

use crate::vtr::Family;

/// Refuses a classifier where images are restored.
///
/// # Errors
/// The file is one, with the commands that take it; or it can't be read.
pub fn expect_restorer(path: &Path) -> Result<()> {
    ensure!(
        path.is_dir() || Family::of_file(path)? != Some(Family::Vit),
        "{} is a classifier: use `vitreous run`, or `vitreous parity` to compare it with its float weights",
        path.display()
    );
    Ok(())
}

/// Refuses a restorer where images are classified.
///
/// # Errors
/// The file is one, with the commands that take it; or it can't be read.
pub fn expect_classifier(path: &Path) -> Result<()> {
    ensure!(
        Family::of_file(path)? != Some(Family::Ipt),
        "{} is a restorer: use `vitreous restore`, or `vitreous eval` to compare it with its float weights",
        path.display()
    );
    Ok(())
}
