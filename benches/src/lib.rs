//! Shared helpers of the benches: models of any size without weights on disk.

use std::collections::BTreeMap;

use vitreous::format::{Crop, Filter, Preprocess};
use vitreous::models::vit::{Activation, Head, Pool, VitConfig};
use vitreous_tools::checkpoint::{tensor_shapes, FloatTensor, FloatVit};
use vitreous_tools::engine::Engine;
use vitreous_tools::quantize::{quantize_vit, QuantizeOptions};
use vitreous_tools::vtr::AlignedBytes;

/// A ViT on square colour images with 1,000 classes.
pub fn vit_config(
    image: usize,
    patch: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    hidden: usize,
) -> VitConfig {
    VitConfig {
        image_height: image,
        image_width: image,
        channels: 3,
        patch_height: patch,
        patch_width: patch,
        dim,
        depth,
        heads,
        hidden,
        classes: 1000,
        class_token: true,
        distill_token: false,
        pool: Pool::Token,
        norm_before_pool: true,
        norm_after_pool: false,
        head: Head::Linear,
        activation: Activation::GeluErf,
        norm_eps: 1e-6,
    }
}

/// A model with made-up weights: time does not depend on their values.
pub fn engine(config: VitConfig) -> Engine {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let count: usize = shape.iter().product();
        let data = (0..count).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 0.1).collect();
        (name, FloatTensor { shape, data })
    };
    let tensors: BTreeMap<_, _> = tensor_shapes(&config).into_iter().map(tensor).collect();
    let (mean, std) = ([0.5, 0.5, 0.5, 0.0], [0.5, 0.5, 0.5, 1.0]);
    let preprocess =
        Preprocess { filter: Filter::Bicubic, crop: Crop::Center, resize: config.image_height, mean, std };
    let float =
        FloatVit::new("bench".into(), config, preprocess, Vec::new(), tensors).expect("a valid model");
    let bytes = quantize_vit(&float, &QuantizeOptions::default()).expect("convertible");
    Engine::from_bytes(AlignedBytes::copy_of(&bytes), "bench.vtr".as_ref()).expect("loadable")
}
