//! Restoration on the emulated targets: the same bytes as on the host, inside the memory budget.

use std::path::Path;
use std::time::Duration;

use vitreous::kernels::TableSpec;
use vitreous::models::ipt::IptConfig;
use vitreous_tests::{random_ipt, random_rgb, random_vit, repository, small_config, small_ipt_config};
use vitreous_tools::checkpoint::ipt::{parse_task, FloatIpt};
use vitreous_tools::degrade::Picture;
use vitreous_tools::quantize::{ipt_layers, quantize, IptLayer, QuantizeOptions};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::target::{
    note_skipped, restore_on_target, run_on_target, RunOptions, StageKind, Target, TargetError,
    TargetRestored, TargetRun,
};

/// Time limit of one run of an emulator, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Restores on host and target, and compares every byte.
fn same_bytes(
    target: Target,
    model: &Path,
    task: usize,
    images: &[Picture],
    overlap: Option<usize>,
    count_instructions: bool,
) -> TargetRun<TargetRestored> {
    let options = RunOptions { timeout: TIMEOUT, count_instructions, ..Default::default() };
    let run = restore_on_target(target, model, task, images, overlap, options).expect("restored");
    let restorer = Restorer::load(model).expect("loadable");
    assert_eq!(run.results.len(), images.len());
    for (index, (result, image)) in run.results.iter().zip(images).enumerate() {
        let host = restorer.restore(task, image, overlap, |_, _| {}).expect("restored on the host");
        let place = format!("{target}, task {task}, image {index} of {}×{}", image.width, image.height);
        assert_eq!((result.image.width, result.image.height), (host.width, host.height), "{place}");
        let different = result.image.data.iter().zip(&host.data).filter(|(a, b)| a != b).count();
        assert!(result.image.data == host.data, "{place}: {different} bytes differ");
        let kernels = TableSpec::find(target.board().kernels).expect("a table");
        let memory = restorer.memory_on(task, image.width, kernels).expect("a plan");
        assert_eq!(run.arena_bytes as usize, memory.arena, "{place}");
        assert_eq!(result.band.band_bytes as usize, memory.band.bytes(), "{place}");
        assert!(result.cost.arena_touched <= run.arena_bytes && result.cost.arena_touched > 0, "{place}");
        assert!(result.band.band_touched <= result.band.band_bytes, "{place}");
    }
    run
}

/// A model file in a folder of its own.
fn written(float: &FloatIpt, options: &QuantizeOptions<IptLayer>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("restorer.vtr");
    std::fs::write(&path, quantize(float, options).expect("convertible")).expect("writable");
    (folder, path)
}

/// The smallest possible IPT with every kind of layer.
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

/// Every stage of every layer must be reported. Together they must be the whole run, except the time between
/// its steps.
fn check_stages(result: &TargetRestored, config: &IptConfig) {
    use StageKind::{
        Attention, Conv, CrossAttention, CrossKeysValues, CrossNorm, Decode, Encode, Memory, Mlp, Norm,
    };
    let layers =
        |kind| result.cost.stages.iter().filter(move |stage| stage.kind == kind).map(|stage| stage.layer);
    let (encoder, all) =
        (config.encoder_layers as u16, (config.encoder_layers + config.decoder_layers) as u16);
    for kind in [Norm, StageKind::KeysValues, Attention, Mlp] {
        assert!(layers(kind).eq(0..all), "{kind:?}");
    }
    for kind in [CrossNorm, CrossKeysValues, CrossAttention] {
        assert!(layers(kind).eq(encoder..all), "{kind:?}");
    }
    for kind in [Encode, Memory, Decode, StageKind::Tail] {
        assert!(layers(kind).eq(0..1), "{kind:?}");
    }
    assert!(layers(Conv).eq(0..3));
    let all = result.cost.instructions.expect("counted") as f64;
    let sum = result.cost.stages.iter().filter_map(|stage| stage.instructions).sum::<u64>() as f64;
    assert!((0.98 * all..=all).contains(&sum), "{sum} of {all} instructions in stages");
}

#[test]
fn all_targets_restore_the_hosts_bytes_by_every_task_with_mixed_precision() {
    let config = tiny_config();
    // Every third layer, so that int8 and f16 meet in each part of the network.
    let keep_f16 = ipt_layers(&config).into_iter().step_by(3).collect();
    let (_folder, model) =
        written(&random_ipt(config.clone(), 21), &QuantizeOptions { keep_f16, ..Default::default() });
    let images = [random_rgb(29, 17, 1), random_rgb(3, 11, 2)];
    for target in Target::all().filter(|t| t.available_for_test("restoration on targets")) {
        for (task, name) in config.tasks.iter().enumerate() {
            // One task gets the larger image; the others differ in heads and tails only.
            let images = if task == 0 { &images[..] } else { &images[1..] };
            let overlap = (task == 1).then_some(5);
            let run = same_bytes(target, &model, task, images, overlap, true);
            let (result, seconds) = (&run.results[0], run.seconds);
            check_stages(result, &config);
            println!(
                "{target} {name}: equal, arena {}, band {}, stack {}, {} instructions, {} of them sending, \
                 {seconds:.1} s",
                run.arena_bytes,
                result.band.band_bytes,
                result.cost.total_stack_bytes,
                result.cost.instructions.unwrap_or(0),
                result.band.send_instructions.unwrap_or(0),
            );
        }
    }
}

#[test]
fn what_a_target_refuses_is_said() {
    let target: Target = "qemu-m55".parse().expect("a target");
    if !target.available_for_test("refused restorations") {
        return;
    }
    let (folder, model) = written(&random_ipt(tiny_config(), 22), &QuantizeOptions::default());
    let image = random_rgb(12, 12, 3);
    let refused = |task, image: &Picture, overlap| {
        let images = std::slice::from_ref(image);
        restore_on_target(target, &model, task, images, overlap, RunOptions::default()).err()
    };
    let text = |error: Option<TargetError>| error.map(|error| error.to_string()).unwrap_or_default();
    let error = text(refused(5, &image, None));
    assert!(error.contains("planning memory: task 5 of a model with 5 tasks"), "{error}");
    let error = text(refused(0, &image, Some(6)));
    assert!(error.contains("at image 0: windows can't overlap by 6 pixels: at most by 5"), "{error}");
    let long = Picture { width: 70_000, height: 1, data: vec![0; 210_000] };
    let error = text(refused(0, &long, None));
    // Its row bands alone exceed the memory of this board.
    assert!(
        error.contains("row bands of the image need 6510000 bytes beside the arena, but qemu-m55"),
        "{error}"
    );
    let long = Picture { width: 1, height: 70_000, data: vec![0; 210_000] };
    let error = text(refused(0, &long, None));
    assert!(error.contains("an image of 1×70000 pixels: each side must be 1 to 65535"), "{error}");
    let broken = Picture { width: 5, height: 5, data: vec![0; 74] };
    let error = text(refused(0, &broken, None));
    assert!(error.contains("image 0 has 74 bytes where 75 are needed"), "{error}");

    let tasks = tiny_config().tasks.into_iter().take(1).collect();
    let large = IptConfig { features: 16, window: 250, patch: 1, tasks, ..tiny_config() };
    let (_folder, large) = written(&random_ipt(large, 23), &QuantizeOptions::default());
    let images = std::slice::from_ref(&image);
    let error = restore_on_target(target, &large, 0, images, None, RunOptions::default()).err();
    let expected = |error: &TargetError| matches!(error, TargetError::ArenaTooLarge { limit: 4_194_304, .. });
    assert!(error.as_ref().is_some_and(expected), "{error:?}");

    let classifier = folder.path().join("classifier.vtr");
    let vit = quantize(&random_vit(small_config(), 24), &QuantizeOptions::default()).expect("convertible");
    std::fs::write(&classifier, vit).expect("writable");
    let error = text(restore_on_target(target, &classifier, 0, &[], None, RunOptions::default()).err());
    assert!(error.contains("loading the model: a ViT (1) where an IPT (2) was asked"), "{error}");
    let error = run_on_target(target, &model, &[], RunOptions::default()).err();
    let error = text(error);
    assert!(error.contains("loading the model: an IPT (2) where a ViT (1) was asked"), "{error}");
}

/// The size that the memory budget is stated for.
const PHOTOGRAPH: (usize, usize) = (320, 240);

#[test]
fn m55_restores_a_whole_photograph_by_row_bands() {
    let target: Target = "qemu-m55".parse().expect("a target");
    if !target.available_for_test("a restored photograph") {
        return;
    }
    let tasks = small_ipt_config().tasks.into_iter().take(1).collect();
    let config = IptConfig {
        features: 3,
        window: 32,
        patch: 4,
        heads: 2,
        hidden: 16,
        head_hidden: 16,
        tasks,
        ..tiny_config()
    };
    let (_folder, model) = written(&random_ipt(config, 25), &QuantizeOptions::default());
    let run = same_bytes(target, &model, 0, &[random_rgb(PHOTOGRAPH.0, PHOTOGRAPH.1, 4)], None, false);
    let band = run.results[0].band;
    println!("{target}: {PHOTOGRAPH:?} equal, row bands {} bytes, {:.1} s", band.band_bytes, run.seconds);
    assert_eq!(band.band_bytes, 30_720 + 61_440 + 960, "32 rows of input, 32 of sums, one of output");
}

/// The trained restorer on an image of `size`. Its arena and stack do not depend on that size.
fn shipped_restorer(size: (usize, usize), name: &str) {
    let folder = repository("models/restorer");
    if !folder.join("model.safetensors").is_file() {
        return note_skipped(&format!("{name}: models/restorer has no weights"));
    }
    let target: Target = "qemu-m55".parse().expect("a target");
    if !target.available_for_test(name) {
        return;
    }
    let float = FloatIpt::load(&folder, &Default::default()).expect("the shipped weights");
    let (_folder, model) = written(&float, &QuantizeOptions::default());
    let restorer = Restorer::load(&model).expect("loadable");
    let task = restorer.task_index(&parse_task("denoise50").expect("a task")).expect("a task of the model");
    let run = same_bytes(target, &model, task, &[random_rgb(size.0, size.1, 5)], None, true);
    let (result, arena) = (&run.results[0], run.arena_bytes);
    let total = arena + result.cost.total_stack_bytes;
    println!(
        "{target}: {size:?} equal, arena {arena} + stack {} = {total} bytes, row bands of {PHOTOGRAPH:?} {} \
         bytes beside them, {} instructions, {:.0} s",
        result.cost.total_stack_bytes,
        restorer.memory(task, PHOTOGRAPH.0).expect("a plan").band.bytes(),
        result.cost.instructions.unwrap_or(0),
        run.seconds
    );
    assert!(total <= 256 * 1024, "{target}: {total} bytes");
}

/// Windows in two rows and two columns, as many as fit into the time of a test.
#[test]
fn the_shipped_restorer_needs_256_kib_on_m55() {
    shipped_restorer((56, 40), "the shipped restorer on qemu-m55");
}

#[test]
#[ignore = "some ten minutes of emulation"]
fn the_shipped_restorer_restores_a_whole_photograph_on_m55() {
    shipped_restorer(PHOTOGRAPH, "the shipped restorer on qemu-m55, 320×240");
}
