//! The emulated targets: the same bytes as on the host, inside the memory budget.

use std::time::Duration;

use vitreous_tests::{random_image, random_vit, repository, shared_data, small_config};
use vitreous_tools::checkpoint::FloatVit;
use vitreous_tools::engine::Engine;
use vitreous_tools::quantize::{quantize, QuantizeOptions, VitLayer};
use vitreous_tools::target::{run_on_target, RunOptions, Target, TargetRun};

/// Converts, writes to a file, runs the images on host and target, and compares every bit of logits and
/// features.
fn same_bits(
    target: Target,
    float: &FloatVit,
    options: &QuantizeOptions<VitLayer>,
    images: &[Vec<u8>],
) -> TargetRun {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.vtr");
    std::fs::write(&path, quantize(float, options).expect("convertible")).expect("writable");
    let engine = Engine::load(&path).expect("loadable");
    let host = engine.run_all(images, false, || {}).expect("runs");
    let run_options = RunOptions { features: true, timeout: Duration::from_secs(900), ..Default::default() };
    let run = run_on_target(target, &path, images, run_options).expect("runs on the target");
    assert_eq!(run.results.len(), images.len());
    for (index, (target_result, host)) in run.results.iter().zip(&host).enumerate() {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&target_result.logits), bits(&host.logits), "{target}: logits of image {index}");
        assert_eq!(
            bits(&target_result.features),
            bits(&host.features),
            "{target}: features of image {index}"
        );
    }
    run
}

fn digits() -> FloatVit {
    FloatVit::load(&repository("models/digits"), &Default::default()).expect("the shipped model")
}

#[test]
fn all_targets_compute_the_hosts_bits_on_digits_within_16_kib() {
    let images: Vec<Vec<u8>> =
        vitreous_tools::train::data::digits_test().into_iter().map(|(pixels, _)| pixels).collect();
    for target in Target::all().filter(|t| t.available_for_test("digits on targets")) {
        let run = same_bits(target, &digits(), &QuantizeOptions::default(), &images);
        let stack = run.results.iter().map(|r| r.cost.total_stack_bytes).max().unwrap_or(0);
        let total = run.arena_bytes + stack;
        let instructions = run.results[0].cost.instructions.unwrap_or(0);
        println!(
            "{target}: {} images equal, arena {} + stack {stack} = {total} bytes, {instructions} \
             instructions",
            images.len(),
            run.arena_bytes
        );
        // The other processor is not a microcontroller.
        if !target.board().target.starts_with("aarch64") {
            assert!(total <= 16 * 1024, "{target}: {total} bytes");
        }
    }
}

#[test]
fn all_targets_compute_the_hosts_bits_with_f16_layers() {
    let config = small_config();
    let float = random_vit(config, 11);
    let keep_f16 =
        vec![VitLayer::Qkv(0), VitLayer::Proj(1), VitLayer::Fc1(0), VitLayer::Fc2(1), VitLayer::Head];
    let options = QuantizeOptions { keep_f16, ..Default::default() };
    let images: Vec<Vec<u8>> = (0..4).map(|seed| random_image(&config, seed)).collect();
    for target in Target::all().filter(|t| t.available_for_test("f16 layers on targets")) {
        same_bits(target, &float, &options, &images);
    }
}

#[test]
fn vit_tiny_runs_whole_on_m7_and_m55_within_160_kib() {
    let name = "ViT-Tiny/16 224 on targets";
    let (Some(weights), Some(photographs)) =
        (shared_data("vit_tiny_patch16_224", name), shared_data("imagenet_samples", name))
    else {
        return;
    };
    let float = FloatVit::load(&weights, &Default::default()).expect("the weights");
    let photograph = photographs.join("n01440764_tench.JPEG");
    let pixels = vitreous_tools::image_input::load_pixels(&photograph, &float.preprocess, 224, 224, 3)
        .expect("an image")
        .value;
    for target in ["qemu-m7", "qemu-m55"] {
        let target: Target = target.parse().expect("a target");
        if !target.available_for_test(name) {
            continue;
        }
        let run = same_bits(target, &float, &QuantizeOptions::default(), std::slice::from_ref(&pixels));
        let result = &run.results[0].cost;
        let total = run.arena_bytes + result.total_stack_bytes;
        println!(
            "{target}: arena (input strip included) {} + stack {} = {total} bytes, {} instructions",
            run.arena_bytes,
            result.total_stack_bytes,
            result.instructions.unwrap_or(0)
        );
        assert!(total <= 160 * 1024, "{target}: {total} bytes");
    }
}
