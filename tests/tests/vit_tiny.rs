//! A trained ViT-Tiny/16 on real photographs: int8 against float.

use std::time::Duration;

use anyhow::Result;
use vitreous_tests::shared_data;
use vitreous_tools::checkpoint::FloatVit;
use vitreous_tools::engine::Engine;
use vitreous_tools::image_input::{labelled_images, load_pixels};
use vitreous_tools::parity::{parity, render, ParityOptions, Sample, Thresholds};
use vitreous_tools::quantize::{quantize, vit_trial, QuantizeOptions};
use vitreous_tools::reference::ReferenceVit;
use vitreous_tools::vtr::AlignedBytes;

#[test]
fn int8_is_within_0_2_points_and_27_db_of_float() -> Result<()> {
    let name = "ViT-Tiny/16 224 on real photographs";
    let Some(weights) = shared_data("vit_tiny_patch16_224", name) else { return Ok(()) };
    let float = FloatVit::load(&weights, &Default::default())?;
    let mut samples = Vec::new();
    for folder in ["imagenet_samples", "imagenet_val_227"] {
        let Some(path) = shared_data(folder, name) else { return Ok(()) };
        for (path, class) in labelled_images(&path)? {
            let pixels = load_pixels(&path, &float.preprocess, 224, 224, 3)?.value;
            samples.push(Sample { name: path.display().to_string(), pixels, class: Some(class) });
        }
    }
    // As `convert` does if the user gives no images.
    let trial = vit_trial(&float, &[])?;
    let options = QuantizeOptions {
        stream_exponent: trial.exponent,
        extents: trial.extents,
        ..QuantizeOptions::default()
    };
    let bytes = quantize(&float, &options)?;
    let engine = Engine::from_bytes(AlignedBytes::copy_of(&bytes), "vit_tiny.vtr".as_ref())?;
    let thresholds = Thresholds {
        min_sqnr_db: Some(27.0),
        max_top1_drop: Some(0.2),
        min_agreement: Some(97.0),
        strict: false,
        max_difference: None,
    };
    let options = ParityOptions {
        targets: &[],
        target_images: None,
        firmware: None,
        target_timeout: Duration::ZERO,
        thresholds,
    };
    let report = parity(&engine, &ReferenceVit::new(&float)?, &samples, &options, &|_, _, _| {})?;
    println!("{}", render(&report));
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    Ok(())
}
