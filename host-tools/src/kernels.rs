//! Which kernel table this process computes with.

use std::sync::OnceLock;

use anyhow::{anyhow, bail, Result};
use vitreous::kernels::{kernel_names, supported_kernels, Kernels};

/// Environment variable that names the table.
pub const KERNELS_VARIABLE: &str = "VITREOUS_KERNELS";

static CHOICE: OnceLock<&'static Kernels> = OnceLock::new();

/// The table of a name.
///
/// # Errors
/// A name that there is not, or whose instructions this processor lacks; both list what there is.
pub fn find(name: &str) -> Result<&'static Kernels> {
    // The former name of `soft-float`.
    let name = if name == "scalar" { "soft-float" } else { name };
    let supported: Vec<_> = supported_kernels().map(|kernels| kernels.spec.name).collect();
    if let Some(kernels) = supported_kernels().find(|kernels| kernels.spec.name == name) {
        return Ok(kernels);
    }
    let here = supported.join(", ");
    if kernel_names().any(|known| known == name) {
        bail!("this processor lacks the instructions of the kernels `{name}`; it can run {here}");
    }
    Err(anyhow!("there are no kernels named `{name}`; this processor can run {here}"))
}

/// Fixes the table for the whole process; the first choice stands.
///
/// # Errors
/// As [`find`].
pub fn choose(name: &str) -> Result<()> {
    let kernels = find(name)?;
    CHOICE.get_or_init(|| kernels);
    Ok(())
}

/// The table in use: the one chosen, else the one that `VITREOUS_KERNELS` names, else the fastest.
///
/// # Errors
/// As [`find`].
pub fn chosen() -> Result<&'static Kernels> {
    if let Some(kernels) = CHOICE.get() {
        return Ok(kernels);
    }
    if let Some(name) = std::env::var_os(KERNELS_VARIABLE).filter(|name| !name.is_empty()) {
        choose(&name.to_string_lossy()).map_err(|error| error.context(KERNELS_VARIABLE))?;
    }
    Ok(CHOICE.get_or_init(fastest))
}

/// The fastest table that this processor can run.
pub fn fastest() -> &'static Kernels {
    supported_kernels().next().unwrap_or(&vitreous::kernels::PORTABLE)
}
