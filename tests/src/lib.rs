//! Shared helpers of the whole-pipeline tests.

pub mod hostile;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitreous::format::{Crop, Filter, Preprocess};
use vitreous::kernels::PORTABLE;
use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};
use vitreous::RunOptions;
use vitreous_tools::checkpoint::ipt::{parse_task, tensor_shapes as ipt_tensor_shapes, FloatIpt};
use vitreous_tools::checkpoint::{tensor_shapes, FloatTensor, FloatVit};
use vitreous_tools::degrade::Picture;

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

/// A small ViT to vary.
pub fn small_config() -> VitConfig {
    VitConfig {
        image_height: 24,
        image_width: 16,
        channels: 3,
        patch_height: 8,
        patch_width: 4,
        dim: 36,
        depth: 2,
        heads: 3,
        hidden: 50,
        classes: 7,
        class_token: true,
        distill_token: false,
        pool: Pool::Token,
        norm_before_pool: true,
        norm_after_pool: false,
        head: Head::Linear,
        activation: Activation::GeluErf,
        norm_eps: 1e-6,
        output: Output::Softmax,
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

/// A ViT with random weights, scaled as trained ones are.
pub fn random_vit(config: VitConfig, seed: u64) -> FloatVit {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tensors = BTreeMap::new();
    for (name, shape) in tensor_shapes(&config) {
        let count: usize = shape.iter().product();
        let fan_in = if shape.len() > 1 { shape[1..].iter().product::<usize>().max(1) } else { 1 };
        let (center, spread) = match () {
            () if name.contains("norm") && name.ends_with("weight") => (1.0, 0.3),
            () if name.ends_with("bias") => (0.0, 0.1),
            () if name.contains("token") || name.contains("pos_embed") => (0.0, 0.5),
            () => (0.0, 1.5 / (fan_in as f32).sqrt()),
        };
        let data = (0..count).map(|_| center + spread * rng.random_range(-1.0f32..1.0)).collect();
        tensors.insert(name, FloatTensor { shape, data });
    }
    let preprocess = Preprocess {
        filter: Filter::Bicubic,
        crop: Crop::Center,
        resize: config.image_height.min(config.image_width),
        mean: [0.5, 0.4, 0.45, 0.0],
        std: [0.25, 0.3, 0.2, 1.0],
    };
    let labels = (0..config.classes).map(|class| format!("class {class}")).collect();
    FloatVit::new("random".into(), config, preprocess, labels, tensors).expect("a valid model")
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
    let tasks = ["denoise30", "x2", "x3", "x4", "derain"].map(|name| parse_task(name).expect("a task"));
    IptConfig {
        features: 5,
        window: 12,
        patch: 3,
        heads: 3,
        hidden: 50,
        head_hidden: 70,
        encoder_layers: 2,
        decoder_layers: 2,
        tasks: tasks.into_iter().collect(),
        norm_eps: 1e-5,
    }
}

/// An IPT with random weights, scaled as trained ones are.
pub fn random_ipt(config: IptConfig, seed: u64) -> FloatIpt {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tensors = BTreeMap::new();
    for (name, shape) in ipt_tensor_shapes(&config) {
        let count: usize = shape.iter().product();
        let fan_in = if shape.len() > 1 { shape[1..].iter().product::<usize>().max(1) } else { 1 };
        let (center, spread) = match () {
            () if name.contains("norm") && name.ends_with("weight") => (1.0, 0.3),
            () if name.ends_with("bias") => (0.0, 0.1),
            () if name.contains("pe.weight") || name.contains("query_embed") => (0.0, 0.5),
            () => (0.0, 1.2 / (fan_in as f32).sqrt()),
        };
        let data = (0..count).map(|_| center + spread * rng.random_range(-1.0f32..1.0)).collect();
        tensors.insert(name, FloatTensor { shape, data });
    }
    FloatIpt::new("random".into(), config, tensors).expect("a valid model")
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
