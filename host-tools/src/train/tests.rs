//! Whole runs on the built-in digits.

use super::data::{digits, Dataset};
use super::{train_vit, Recipe, TrainOptions, TrainReport, CHECKPOINT_FILE};
use std::path::Path;
use std::time::Duration;

fn options(out: &Path, epochs: u64) -> TrainOptions {
    TrainOptions {
        name: "test".to_owned(),
        recipe: Recipe { epochs, warmup_epochs: 1.0, ..Recipe::digits() },
        out: out.to_owned(),
        resume: false,
        checkpoint_every: Duration::from_secs(3600),
        stop_after: None,
    }
}

/// A part of the digits, so that a run takes a second.
fn few() -> Dataset {
    let mut data = digits();
    for (set, count) in [(&mut data.train, 200), (&mut data.test, 50)] {
        set.labels.truncate(count);
        set.pixels.truncate(count * 64);
    }
    data
}

fn train(data: &Dataset, options: &TrainOptions) -> Option<TrainReport> {
    train_vit(data, options, &mut ()).unwrap()
}

fn weights(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).unwrap()
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits() {
    let (data, whole, parts) = (few(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut recipe = options(whole.path(), 3).recipe;
    recipe.augment.mixup = 0.2;
    let report = train(&data, &TrainOptions { recipe: recipe.clone(), ..options(whole.path(), 3) }).unwrap();
    let part = TrainOptions { recipe, ..options(parts.path(), 3) };
    // Stops within the first epoch and within the third: 4 steps are an epoch.
    assert!(train(&data, &TrainOptions { stop_after: Some(2), ..part.clone() }).is_none());
    assert!(train(&data, &TrainOptions { stop_after: Some(9), resume: true, ..part.clone() }).is_none());
    assert!(parts.path().join(CHECKPOINT_FILE).exists());
    let resumed = train(&data, &TrainOptions { resume: true, ..part }).unwrap();
    assert_eq!(weights(whole.path()), weights(parts.path()));
    assert_eq!(report.history, resumed.history);
    assert!(!parts.path().join(CHECKPOINT_FILE).exists());
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let data = few();
    let run = |threads| {
        let dir = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&data, &options(dir.path(), 1)));
        weights(dir.path())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_the_difference() {
    let (data, dir) = (few(), tempfile::tempdir().unwrap());
    let first = options(dir.path(), 2);
    train(&data, &TrainOptions { stop_after: Some(1), ..first.clone() });
    let mut other = TrainOptions { resume: true, ..first.clone() };
    other.recipe.augment.shift = 0.25;
    let message = train_vit(&data, &other, &mut ()).unwrap_err().to_string();
    assert!(message.contains("augment.shift") && message.contains("0.25 now"), "{message}");
    std::fs::write(dir.path().join(CHECKPOINT_FILE), b"damaged").unwrap();
    let message = train_vit(&data, &TrainOptions { resume: true, ..first.clone() }, &mut ()).unwrap_err().to_string();
    assert!(message.contains("damaged checkpoint"), "{message}");
    std::fs::remove_file(dir.path().join(CHECKPOINT_FILE)).unwrap();
    let message = train_vit(&data, &TrainOptions { resume: true, ..first }, &mut ()).unwrap_err().to_string();
    assert!(message.contains("no checkpoint to resume from"), "{message}");
}

#[test]
fn a_few_epochs_of_digits_reach_nine_in_ten() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), 12);
    options.recipe.warmup_epochs = 2.0;
    let report = train(&digits(), &options).unwrap();
    println!("held-out accuracy {:.4} after {:.1} s", report.test_accuracy(), report.seconds);
    assert!(report.test_accuracy() >= 0.9, "{}", report.test_accuracy());
    for file in ["model.safetensors", "config.json", "labels.txt", super::CURVE_FILE, super::REPORT_FILE] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn every_kind_of_model_trains_and_agrees_with_the_float_reference_on_shapes() {
    let data = few();
    for (mean_pool, distill_token, activation) in
        [(true, false, "gelu-tanh"), (false, true, "relu"), (false, false, "gelu")]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), 1);
        options.recipe = Recipe { mean_pool, distill_token, activation, ..options.recipe };
        let report = train(&data, &options).unwrap();
        assert!(report.history[0].loss.is_finite());
        let model = crate::checkpoint::FloatVit::load(dir.path(), &Default::default()).unwrap();
        assert_eq!(model.parameters(), report.parameters);
        assert_eq!(model.labels.len(), 10);
    }
}
