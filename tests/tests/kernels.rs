//! Whole models on every kernel table of this machine: not one bit may differ from the portable kernels.

use anyhow::Result;
use vitreous::kernels::{supported_kernels, PORTABLE};
use vitreous::models::vit::{VitConfig, MAX_TILE_ROWS};
use vitreous::tensor::PanelLayout;
use vitreous_tests::{configs, random_image, random_vit, repository, shared_data, small_config};
use vitreous_tools::checkpoint::FloatVit;
use vitreous_tools::engine::Engine;
use vitreous_tools::image_input::{labelled_images, load_pixels};
use vitreous_tools::pool::Pool;
use vitreous_tools::quantize::{quantize, QuantizeOptions, VitLayer};
use vitreous_tools::vtr::AlignedBytes;

/// Runs images on all tables and numbers of threads, and compares logits, features and the residual stream
/// between all blocks.
fn assert_all_tables_agree(
    float: &FloatVit,
    options: &QuantizeOptions<VitLayer>,
    images: &[Vec<u8>],
    name: &str,
) -> Result<()> {
    let bytes = AlignedBytes::copy_of(&quantize(float, options)?);
    let engine = Engine::from_bytes(bytes, "test.vtr".as_ref())?;
    let oracle = engine.clone().with_kernels(&PORTABLE)?;
    for kernels in supported_kernels() {
        let engine = engine.clone().with_kernels(kernels)?;
        assert_eq!(engine.file().kernels().spec.name, kernels.spec.name);
        for image in images {
            let (want, got) = (oracle.run(image, true)?, engine.run(image, true)?);
            assert!(want == got, "{name}: {} differs from portable", kernels.spec.name);
        }
        for threads in [2, 3, 7] {
            let pool = Pool::new(threads)?;
            let mut session = engine.session_on(Some(&pool))?;
            for image in images {
                let (want, got) = (oracle.run(image, true)?, session.run(image, true)?);
                assert!(want == got, "{name}: {} on {threads} threads differs", kernels.spec.name);
            }
        }
    }
    Ok(())
}

#[test]
fn every_feature_and_precision_agrees() -> Result<()> {
    let wide = VitConfig { image_height: 40, image_width: 40, dim: 96, hidden: 192, ..small_config() };
    for (name, config) in configs().into_iter().chain([("wide", wide)]) {
        let float = random_vit(config, 11);
        let images: Vec<_> = (0..3).map(|seed| random_image(&config, seed)).collect();
        assert_all_tables_agree(&float, &QuantizeOptions::default(), &images, name)?;
        let mixed = vec![VitLayer::Qkv(0), VitLayer::Fc2(0)];
        let rest = vec![VitLayer::Proj(0), VitLayer::Fc1(0)];
        for keep_f16 in [mixed, rest] {
            let options = QuantizeOptions { keep_f16, ..Default::default() };
            assert_all_tables_agree(&float, &options, &images, name)?;
        }
    }
    Ok(())
}

/// More heads than several workers process at a time, and more tokens than a tile has.
#[test]
fn heads_and_tiles_by_turns_agree() -> Result<()> {
    let small = small_config();
    let config = VitConfig {
        image_height: 18 * small.patch_height,
        image_width: 16 * small.patch_width,
        dim: 72,
        heads: 18,
        ..small
    };
    assert!(config.heads > 16 && config.tokens() > MAX_TILE_ROWS);
    let float = random_vit(config, 13);
    assert_all_tables_agree(&float, &QuantizeOptions::default(), &[random_image(&config, 2)], "many heads")
}

#[test]
fn every_weight_layout_agrees() -> Result<()> {
    let float = random_vit(small_config(), 12);
    let images = [random_image(&float.config, 1)];
    for (nr, kr) in [(1, 16), (2, 4), (16, 4), (64, 4), (3, 2)] {
        let options = QuantizeOptions { layout: PanelLayout { nr, kr }, ..Default::default() };
        assert_all_tables_agree(&float, &options, &images, &format!("{nr}x{kr}"))?;
    }
    Ok(())
}

#[test]
fn the_digits_model_agrees() -> Result<()> {
    let float = FloatVit::load(&repository("models/digits"), &Default::default())?;
    let images: Vec<_> =
        vitreous_tools::train::data::digits_test().into_iter().take(40).map(|(pixels, _)| pixels).collect();
    assert_all_tables_agree(&float, &QuantizeOptions::default(), &images, "digits")
}

#[test]
fn vit_tiny_agrees_on_photographs() -> Result<()> {
    let name = "kernel tables on ViT-Tiny/16 224 and photographs";
    let Some(weights) = shared_data("vit_tiny_patch16_224", name) else { return Ok(()) };
    let Some(photographs) = shared_data("imagenet_samples", name) else { return Ok(()) };
    let float = FloatVit::load(&weights, &Default::default())?;
    let images: Result<Vec<_>, _> = labelled_images(&photographs)?
        .into_iter()
        .step_by(70)
        .take(3)
        .map(|(path, _)| load_pixels(&path, &float.preprocess, 224, 224, 3).map(|loaded| loaded.value))
        .collect();
    assert_all_tables_agree(&float, &QuantizeOptions::default(), &images?, "ViT-Tiny")
}
