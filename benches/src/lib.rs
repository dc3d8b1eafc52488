//! Shared helpers of the benches: models of any size without weights on disk.

use std::collections::BTreeMap;

use vitreous::format::{Crop, Filter, Preprocess};
use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::{Activation, Head, Output, Pool, VitConfig};
use vitreous_tools::checkpoint::ipt::{self, FloatIpt};
use vitreous_tools::checkpoint::{tensor_shapes, FloatTensor, FloatVit};
use vitreous_tools::engine::Engine;
use vitreous_tools::inspect::{layers, restorer_layers};
use vitreous_tools::quantize::{quantize_ipt, quantize_vit, IptQuantizeOptions, QuantizeOptions};
use vitreous_tools::restorer::Restorer;
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
        output: Output::Softmax,
    }
}

/// The IPT of `models/restorer`, for one task.
pub fn ipt_config(task: &str) -> IptConfig {
    IptConfig {
        features: 16,
        window: 32,
        patch: 2,
        heads: 4,
        hidden: 128,
        head_hidden: 128,
        encoder_layers: 3,
        decoder_layers: 2,
        tasks: [ipt::parse_task(task).expect("a task")].into_iter().collect(),
        norm_eps: 1e-5,
    }
}

/// A classifier with made-up weights, since time does not depend on their values.
pub fn engine(config: VitConfig) -> Engine {
    let tensors = tensor_shapes(&config).into_iter().map(made_up).collect();
    let (mean, std) = ([0.5, 0.5, 0.5, 0.0], [0.5, 0.5, 0.5, 1.0]);
    let preprocess =
        Preprocess { filter: Filter::Bicubic, crop: Crop::Center, resize: config.image_height, mean, std };
    let float =
        FloatVit::new("bench".into(), config, preprocess, Vec::new(), tensors).expect("a valid model");
    let bytes = quantize_vit(&float, &QuantizeOptions::default()).expect("convertible");
    Engine::from_bytes(AlignedBytes::copy_of(&bytes), "bench.vtr".as_ref()).expect("loadable")
}

/// A restorer with made-up weights.
pub fn restorer(config: IptConfig) -> Restorer {
    let tensors: BTreeMap<_, _> = ipt::tensor_shapes(&config).into_iter().map(made_up).collect();
    let float = FloatIpt::new("bench".into(), config, tensors).expect("a valid model");
    let bytes = quantize_ipt(&float, &IptQuantizeOptions::default()).expect("convertible");
    Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "bench.vtr".as_ref()).expect("loadable")
}

fn made_up((name, shape): (String, Vec<usize>)) -> (String, FloatTensor) {
    let count: usize = shape.iter().product();
    let data = (0..count).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 0.1).collect();
    (name, FloatTensor { shape, data })
}

/// Multiply-accumulates of an image.
pub fn image_macs(engine: &Engine) -> u64 {
    engine.with_vit(|vit| layers(vit).iter().map(|layer| layer.macs).sum()).expect("a checked model")
}

/// Multiply-accumulates of a window of the first task.
pub fn window_macs(restorer: &Restorer) -> u64 {
    let sum = restorer.with_ipt(|ipt| restorer_layers(ipt, 0).iter().map(|layer| layer.macs).sum());
    sum.expect("a checked model")
}
