//! Models with made-up weights, for tests, benches and the seeds of fuzzing: any shape, without a file.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitreous::format::{Crop, Filter, Preprocess};
use vitreous::models::ipt::{IptConfig, Task};
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};

use crate::checkpoint::ipt::{self, FloatIpt};
use crate::checkpoint::{tensor_shapes, FloatTensor, FloatVit};

/// A small ViT of the plainest kind, to vary.
pub fn small_vit() -> VitConfig {
    VitConfig {
        image_height: 8,
        image_width: 8,
        channels: 3,
        patch_height: 4,
        patch_width: 4,
        dim: 12,
        depth: 2,
        heads: 3,
        hidden: 20,
        classes: 5,
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

/// A small IPT for these tasks, by their names, to vary.
///
/// # Panics
/// A name that is no task's; more tasks than a model can have.
pub fn small_ipt(tasks: &[&str]) -> IptConfig {
    let task = |name: &&str| -> Task { ipt::parse_task(name).expect("a task") };
    IptConfig {
        features: 4,
        window: 8,
        patch: 2,
        heads: 2,
        hidden: 16,
        head_hidden: 16,
        encoder_layers: 1,
        decoder_layers: 1,
        tasks: tasks.iter().map(task).collect(),
        norm_eps: 1e-5,
    }
}

/// A ViT with random weights, scaled as trained ones are, and a label for each class.
///
/// # Panics
/// A configuration that no ViT can have.
pub fn random_vit(config: VitConfig, seed: u64) -> FloatVit {
    let is_embedding = |name: &str| name.contains("token") || name.contains("pos_embed");
    let tensors = random_tensors(tensor_shapes(&config), seed, 1.5, is_embedding);
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

/// An IPT with random weights, scaled as trained ones are.
///
/// # Panics
/// A configuration that no IPT can have.
pub fn random_ipt(config: IptConfig, seed: u64) -> FloatIpt {
    let is_embedding = |name: &str| name.contains("pe.weight") || name.contains("query_embed");
    let tensors = random_tensors(ipt::tensor_shapes(&config), seed, 1.2, is_embedding);
    FloatIpt::new("random".into(), config, tensors).expect("a valid model")
}

/// Gains around 1, small biases, embeddings up to 0.5, and weights up to `gain` by the root of their inputs'
/// number.
fn random_tensors(
    shapes: Vec<(String, Vec<usize>)>,
    seed: u64,
    gain: f32,
    is_embedding: impl Fn(&str) -> bool,
) -> BTreeMap<String, FloatTensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    filled(shapes, |name, shape| {
        let fan_in = shape.iter().skip(1).product::<usize>().max(1);
        let (center, spread) = match () {
            () if name.contains("norm") && name.ends_with("weight") => (1.0, 0.3),
            () if name.ends_with("bias") => (0.0, 0.1),
            () if is_embedding(name) => (0.0, 0.5),
            () => (0.0, gain / (fan_in as f32).sqrt()),
        };
        let count = shape.iter().product();
        (0..count).map(|_| center + spread * rng.random_range(-1.0f32..1.0)).collect()
    })
}

/// Tensors of these names and shapes, whose values `values` gives by name and shape.
pub fn filled(
    shapes: Vec<(String, Vec<usize>)>,
    mut values: impl FnMut(&str, &[usize]) -> Vec<f32>,
) -> BTreeMap<String, FloatTensor> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let data = values(&name, &shape);
        (name, FloatTensor { shape, data })
    };
    shapes.into_iter().map(tensor).collect()
}
