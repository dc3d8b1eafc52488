//! Shared helpers of the whole-pipeline tests.

pub mod hostile;

use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitreous::kernels::PORTABLE;
use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};
use vitreous::RunOptions;
use vitreous_tools::degrade::Picture;
pub use vitreous_tools::synthetic::{random_ipt, random_vit};
use vitreous_tools::synthetic::{small_ipt, small_vit};

/// The Rust of the README, compiled and run as it stands. Its `mod digits;` is `digits.rs` beside this file.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// A folder of this repository.
pub fn repository(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join(folder)
}

/// Public data beside the repository, or `None` with a line that says what is skipped.
pub fn shared_data(folder: &str, test: &str) -> Option<PathBuf> {
    let path = repository("../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    vitreous_tools::target::note_skipped(&format!("{test}: ../shared/data/{folder} is not there"));
    None
}

/// A run on the portable kernels, with so many rows per tile.
pub fn portable(tile_rows: usize) -> RunOptions<'static> {
    RunOptions { tile_rows, kernels: &PORTABLE, ..RunOptions::default() }
}

/// A small ViT to vary, whose image, patches and widths fit no tile or panel.
pub fn small_config() -> VitConfig {
    VitConfig {
        image_height: 24,
        image_width: 16,
        patch_height: 8,
        patch_width: 4,
        dim: 36,
        hidden: 50,
        classes: 7,
        ..small_vit()
    }
}

/// Configurations that together use every feature.
pub fn configs() -> Vec<(&'static str, VitConfig)> {
    let base = small_config();
    let mean = VitConfig {
        pool: Pool::Mean,
        norm_before_pool: false,
        norm_after_pool: true,
        class_token: false,
        ..base
    };
    vec![
        ("token pool", base),
        ("tanh", VitConfig { activation: Activation::GeluTanh, ..base }),
        ("relu, grey", VitConfig { activation: Activation::Relu, channels: 1, ..base }),
        ("mean pool, norm after", mean),
        ("mean pool, norm before", VitConfig { pool: Pool::Mean, ..base }),
        ("distilled", VitConfig { distill_token: true, head: Head::Distilled, ..base }),
        ("token and mean", VitConfig { pool: Pool::Mean, head: Head::TokenAndMean, ..base }),
        ("features", VitConfig { head: Head::None, classes: 0, ..base }),
        ("multi-label", VitConfig { output: Output::Sigmoid, ..base }),
        ("one value", VitConfig { classes: 1, output: Output::Values, ..base }),
        ("one head, one block", VitConfig { heads: 1, depth: 1, dim: 17, hidden: 3, ..base }),
    ]
}

/// An image with structure and noise: `(height, width, channels)`.
pub fn random_image(config: &VitConfig, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let row = config.image_width * config.channels;
    let wave: f32 = rng.random_range(0.05..0.5);
    (0..config.image_height * row)
        .map(|i| {
            let (y, x) = ((i / row) as f32, (i % row) as f32);
            let value = 128.0 + 90.0 * (wave * x + 0.3 * y).sin() + rng.random_range(-30.0f32..30.0);
            value.clamp(0.0, 255.0) as u8
        })
        .collect()
}

/// A small IPT with every kind of tail.
pub fn small_ipt_config() -> IptConfig {
    IptConfig {
        features: 5,
        window: 12,
        patch: 3,
        heads: 3,
        hidden: 50,
        head_hidden: 70,
        encoder_layers: 2,
        decoder_layers: 2,
        ..small_ipt(&["denoise30", "x2", "x3", "x4", "derain"])
    }
}

/// A colour image with structure and noise.
pub fn random_rgb(width: usize, height: usize, seed: u64) -> Picture {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let wave: f32 = rng.random_range(0.05..0.5);
    let pixels = (0..height * width * 3)
        .map(|i| {
            let (y, x) = ((i / (3 * width)) as f32, (i / 3 % width) as f32);
            let value = 120.0 + 80.0 * (wave * x + 0.3 * y + (i % 3) as f32).sin();
            (value + rng.random_range(-30.0f32..30.0)).clamp(0.0, 255.0) as u8
        })
        .collect();
    Picture { width, height, data: pixels }
}
