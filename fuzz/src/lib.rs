//! Functions that the fuzz targets share.

#[path = "../../tests/src/hostile.rs"]
mod hostile;

#[path = "../../host-tools/src/checkpoint/mod.rs"]
pub mod checkpoint;

// Modules of the host tool that the loaders use.
#[path = "../../host-tools/src/console.rs"]
pub mod console;
#[path = "../../host-tools/src/interrupt/mod.rs"]
pub mod interrupt;
#[path = "../../host-tools/src/output/mod.rs"]
pub mod output;
#[path = "../../host-tools/src/taps.rs"]
pub mod taps;
#[path = "../../host-tools/src/text.rs"]
pub mod text;

pub use hostile::{run_ipt, run_vit};

use vitreous::Error;

/// The most multiply-accumulates of an input. With this limit some hundred inputs a second are run to the
/// end.
const MOST_WORK: f64 = 5e6;

/// Loads and runs what the fuzzer made of a model. Length and checksums are corrected first, so that changes
/// get past them.
pub fn model(data: &[u8], run: fn(&[u8], f64) -> Result<bool, Error>) {
    let mut bytes = data.to_vec();
    if let Some(length) = bytes.get_mut(12..16) {
        length.copy_from_slice(&(data.len() as u32).to_le_bytes());
    }
    hostile::repair_checksums(&mut bytes);
    if let Err(error @ Error::Internal(_)) = run(&bytes, MOST_WORK) {
        panic!("{error}");
    }
}
