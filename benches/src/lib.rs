//! Shared helpers of the benches: models of any size without weights on disk.

use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::VitConfig;
use vitreous_tools::engine::Engine;
use vitreous_tools::inspect::{classifier_layers, restorer_layers};
use vitreous_tools::quantize::{quantize, QuantizeOptions};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::synthetic::{random_ipt, random_vit, small_ipt, small_vit};
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
        patch_height: patch,
        patch_width: patch,
        dim,
        depth,
        heads,
        hidden,
        classes: 1000,
        ..small_vit()
    }
}

/// The IPT of `models/restorer`, for one task.
pub fn ipt_config(task: &str) -> IptConfig {
    IptConfig {
        features: 16,
        window: 32,
        heads: 4,
        hidden: 128,
        head_hidden: 128,
        encoder_layers: 3,
        decoder_layers: 2,
        ..small_ipt(&[task])
    }
}

/// A classifier with made-up weights, since time does not depend on their values.
pub fn engine(config: VitConfig) -> Engine {
    let bytes = quantize(&random_vit(config, 0), &QuantizeOptions::default()).expect("convertible");
    Engine::from_bytes(AlignedBytes::copy_of(&bytes), "bench.vtr".as_ref()).expect("loadable")
}

/// A restorer with made-up weights.
pub fn restorer(config: IptConfig) -> Restorer {
    let bytes = quantize(&random_ipt(config, 0), &QuantizeOptions::default()).expect("convertible");
    Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "bench.vtr".as_ref()).expect("loadable")
}

/// Multiply-accumulates of an image.
pub fn image_macs(engine: &Engine) -> u64 {
    engine
        .with_vit(|vit| classifier_layers(vit).iter().map(|layer| layer.macs).sum())
        .expect("a checked model")
}

/// Multiply-accumulates of a window of the first task.
pub fn window_macs(restorer: &Restorer) -> u64 {
    let sum = restorer.with_ipt(|ipt| restorer_layers(ipt, 0).iter().map(|layer| layer.macs).sum());
    sum.expect("a checked model")
}
