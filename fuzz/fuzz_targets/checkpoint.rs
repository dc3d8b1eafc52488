//! Takes any bytes as a checkpoint, safetensors or PyTorch's. It must be refused with a reason, or load as a
//! ViT and as an IPT.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vitreous_fuzz::checkpoint::ipt::{FloatIpt, IptLoadOptions};
use vitreous_fuzz::checkpoint::{FloatVit, LoadOptions};

/// The file that the loaders read; one for this process.
fn file() -> &'static PathBuf {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let file = folder.path().join("checkpoint");
            (folder, file)
        })
        .1
}

fuzz_target!(|data: &[u8]| {
    std::fs::write(file(), data).expect("a writable temporary folder");
    let vit = FloatVit::load(file(), &LoadOptions { heads: Some(1), ..Default::default() });
    let ipt = FloatIpt::load(file(), &IptLoadOptions { heads: Some(1), ..Default::default() });
    assert!(vit.is_err() || ipt.is_err(), "one file is both");
});
