//! What a `.vtr` file is, before it is loaded as that.

use std::io::Read;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use vitreous::format::{ARCHITECTURE_IPT, ARCHITECTURE_VIT, HEADER_BYTES, MAGIC};

/// Whether a file's header says that it is an IPT. Whatever else is wrong with the file, the loader will say.
///
/// # Errors
/// The file can't be read.
pub fn is_restorer(path: &Path) -> Result<bool> {
    Ok(architecture(path)? == Some(ARCHITECTURE_IPT))
}

/// The architecture of a `.vtr` file; `None` of any other file.
fn architecture(path: &Path) -> Result<Option<u32>> {
    let cannot = || format!("cannot read the model {}", path.display());
    let mut header = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).with_context(cannot)?;
    let architecture = header.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    Ok(architecture.filter(|_| header.starts_with(&MAGIC)))
}

/// Refuses a classifier where images are restored.
///
/// # Errors
/// The file is one, with the commands that take it; or it can't be read.
pub fn expect_restorer(path: &Path) -> Result<()> {
    ensure!(
        path.is_dir() || architecture(path)? != Some(ARCHITECTURE_VIT),
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
        !is_restorer(path)?,
        "{} is a restorer: use `vitreous restore`, or `vitreous eval` to compare it with its float weights",
        path.display()
    );
    Ok(())
}
