//! AArch64: NEON, which every one of these processors has, and NEON with the dot product of bytes (SDOT, from
//! Armv8.2-A on).
//!
//! A table can be had only where its instructions exist, so its functions are safe to call.

mod detect;
mod dotprod;
mod lanes;
mod neon;

use dotprod::TABLE as NEON_DOTPROD;
use neon::TABLE as NEON;

use super::{spec, Kernels, TableSpec, PORTABLE};

/// All tables of this architecture, supported or not.
pub(super) static SPECS: [&TableSpec; 2] = [&spec::NEON_DOTPROD, &spec::NEON];

/// The tables that this processor can run, the fastest first.
pub(super) fn supported() -> impl Iterator<Item = &'static Kernels> {
    let dotprod = detect::has_dotprod().then_some(&NEON_DOTPROD);
    dotprod.into_iter().chain([&NEON])
}

/// What is known of the table for this build.
pub(super) const DEFAULT: &TableSpec = if cfg!(table = "neon-dotprod") {
    &spec::NEON_DOTPROD
} else if cfg!(table = "neon") {
    &spec::NEON
} else {
    &spec::PORTABLE
};

/// The table for this build.
pub(super) fn default() -> &'static Kernels {
    if cfg!(table = "neon-dotprod") {
        &NEON_DOTPROD
    } else if cfg!(table = "neon") {
        &NEON
    } else {
        &PORTABLE
    }
}
