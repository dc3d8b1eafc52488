//! x86-64: AVX2 with F16C, and AVX-512 with VNNI.
//!
//! A table can be had only where processor and operating system support its instructions, so its functions
//! are safe to call.

mod avx2;
mod avx512;
mod detect;
mod vnni;

use super::{spec, Kernels, TableSpec, PORTABLE};

/// All tables of this architecture, supported or not.
pub(super) static SPECS: [&TableSpec; 2] = [&spec::AVX512_VNNI, &spec::AVX2];

/// The tables that this processor can run, the fastest first.
pub(super) fn supported() -> impl Iterator<Item = &'static Kernels> {
    let features = detect::features();
    let avx512 = features.avx512_vnni.then_some(&vnni::TABLE);
    let avx2 = features.avx2.then_some(&avx2::TABLE);
    [avx512, avx2].into_iter().flatten()
}

/// What is known of the table for this build.
pub(super) const DEFAULT: &TableSpec = &spec::PORTABLE;

/// The table for this build. The processor's instructions are only known at run time, so it is the portable
/// one.
pub(super) fn default() -> &'static Kernels {
    &PORTABLE
}
