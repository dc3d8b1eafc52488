//! What a `.vtr` file is, before it is loaded as that.

use std::io::Read;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use vitreous::format::{ARCHITECTURE_IPT, HEADER_BYTES, MAGIC};

/// Whether a file's header says that it is an IPT. Whatever else is wrong with the file, the loader will say.
///
/// # Errors
/// The file can't be read.
pub fn is_restorer(path: &Path) -> Result<bool> {
    let cannot = || format!("cannot read the model {}", path.display());
    let mut header = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).with_context(cannot)?;
    let architecture = header.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    Ok(header.starts_with(&MAGIC) && architecture == Some(ARCHITECTURE_IPT))
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
