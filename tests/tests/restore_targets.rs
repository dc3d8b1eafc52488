//! Restoration on the emulated targets: the same bytes as on the host, inside the memory budget.

use std::path::Path;
use std::time::Duration;

use vitreous::models::ipt::IptConfig;
use vitreous_tests::{random_ipt, random_rgb, repository, small_ipt_config};
use vitreous_tools::checkpoint::ipt::{parse_task, FloatIpt};
use vitreous_tools::degrade::Picture;
use vitreous_tools::quantize::{ipt_layers, quantize_ipt, IptQuantizeOptions};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::target::{
    note_skipped, restore_on_target, RunOptions, StageKind, Target, TargetError, TargetRestored, TargetRun,
};

/// Restores on host and target, and compares every byte.
fn same_bytes(
    target: Target,
    model: &Path,
    task: usize,
    images: &[Picture],
    overlap: Option<usize>,
) -> TargetRun<TargetRestored> {
    let options = RunOptions { timeout: Duration::from_secs(900), ..Default::default() };
    let run = restore_on_target(target, model, task, images, overlap, options).expect("restored");
    let restorer = Restorer::load(model).expect("loadable");
    assert_eq!(run.results.len(), images.len());
    for (index, (result, image)) in run.results.iter().zip(images).enumerate() {
        let host = restorer.restore(task, image, overlap, |_, _| {}).expect("restored on the host");
        let place = format!("{target}, task {task}, image {index} of {}×{}", image.width, image.height);
        assert_eq!((result.image.width, result.image.height), (host.width, host.height), "{place}");
        let different = result.image.data.iter().zip(&host.data).filter(|(a, b)| a != b).count();
        assert!(result.image.data == host.data, "{place}: {different} bytes differ");
        let memory = restorer.memory(task, image.width).expect("a plan");
        assert_eq!(run.arena_bytes as usize, memory.arena, "{place}");
        assert_eq!(result.band.band_bytes as usize, memory.band.bytes(), "{place}");
        assert!(result.cost.arena_touched <= run.arena_bytes && result.cost.arena_touched > 0, "{place}");
        assert!(result.band.band_touched <= result.band.band_bytes, "{place}");
    }
    run
}

/// A model file in a folder of its own.
fn written(float: &FloatIpt, options: &IptQuantizeOptions) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("restorer.vtr");
    std::fs::write(&path, quantize_ipt(float, options).expect("convertible")).expect("writable");
    (folder, path)
}

/// As small as an IPT with every kind of layer can be.
fn tiny_config() -> IptConfig {
    IptConfig {
        features: 4,
        window: 10,
        patch: 2,
        heads: 2,
        encoder_layers: 1,
        decoder_layers: 1,
        ..small_ipt_config()
    }
}

#[test]
fn all_targets_restore_the_hosts_bytes_by_every_task_with_mixed_precision() {
    let config = tiny_config();
    // Every third layer, so that int8 and f16 meet in each part of the network.
    let keep_f16 = ipt_layers(&config).into_iter().step_by(3).collect();
    let (_folder, model) =
        written(&random_ipt(config.clone(), 21), &IptQuantizeOptions { keep_f16, ..Default::default() });
    let images = [random_rgb(29, 17, 1), random_rgb(3, 11, 2)];
    for target in Target::all().filter(|t| t.available_for_test("restoration on targets")) {
        for (task, name) in config.tasks.iter().enumerate() {
            // The larger image once; the others differ in heads and tails alone.
            let images = if task == 0 { &images[..] } else { &images[1..] };
            let run = same_bytes(target, &model, task, images, None);
            let (result, seconds) = (&run.results[0], run.seconds);
            println!(
                "{target} {name}: equal, arena {}, band {}, stack {}, {} instructions, {} of them sending, {seconds:.1} s",
                run.arena_bytes,
                result.band.band_bytes,
                result.cost.total_stack_bytes,
                result.cost.instructions.unwrap_or(0),
                result.band.send_instructions.unwrap_or(0),
            );
        }
    }
}
