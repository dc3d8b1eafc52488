//! Whole runs on the built-in digits.

use super::data::{digits, Dataset};
use super::{ClassifierTraining, Recipe, TrainReport, CURVE_FILE};
use crate::train::{RunOptions, Start, CHECKPOINT_FILE, PREVIOUS_FILE, REPORT_FILE};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// A recipe and the options of its run.
#[derive(Clone)]
struct Training {
    recipe: Recipe,
    run: RunOptions,
}

impl Training {
    fn new(out: &Path, epochs: u64) -> Training {
        let recipe = Recipe { epochs, warmup_epochs: 1.0, ..Recipe::digits() };
        let run = RunOptions {
            name: "test".to_owned(),
            out: out.to_owned(),
            start: Start::New,
            checkpoint_every: Duration::from_secs(3600),
            stop_after: None,
        };
        Training { recipe, run }
    }

    fn stop_after(&self, steps: u64) -> Training {
        let run = RunOptions { stop_after: Some(steps), ..self.run.clone() };
        Training { run, ..self.clone() }
    }

    fn start(&self, start: Start) -> Training {
        let run = RunOptions { start, ..self.run.clone() };
        Training { run, ..self.clone() }
    }

    fn resume(&self) -> Training {
        self.start(Start::Resume)
    }

    fn run(&self, data: &Dataset) -> Result<Option<TrainReport>> {
        crate::train::train(&mut ClassifierTraining::new(data, &self.recipe)?, &self.run, &mut ())
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

fn train(data: &Dataset, training: &Training) -> Option<TrainReport> {
    training.run(data).unwrap()
}

fn failure(data: &Dataset, training: &Training) -> String {
    format!("{:#}", training.run(data).unwrap_err())
}

fn weights(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).unwrap()
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits() {
    let (data, whole, parts) = (few(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut training = Training::new(whole.path(), 3);
    training.recipe.augment.mixup = 0.2;
    let report = train(&data, &training).unwrap();
    let part = Training { recipe: training.recipe, ..Training::new(parts.path(), 3) };
    // Stops within the first epoch and within the third: 4 steps are an epoch.
    assert!(train(&data, &part.stop_after(2)).is_none());
    assert!(train(&data, &part.resume().stop_after(9)).is_none());
    assert!(parts.path().join(CHECKPOINT_FILE).exists());
    let resumed = train(&data, &part.resume()).unwrap();
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
        pool.install(|| train(&data, &Training::new(dir.path(), 1)));
        weights(dir.path())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_the_difference() {
    let (data, dir) = (few(), tempfile::tempdir().unwrap());
    let first = Training::new(dir.path(), 2);
    train(&data, &first.stop_after(1));
    let mut other = first.resume();
    other.recipe.augment.shift = 0.25;
    let message = other.run(&data).unwrap_err().to_string();
    assert!(message.contains("augment.shift") && message.contains("0.25 now"), "{message}");
    for file in [CHECKPOINT_FILE, PREVIOUS_FILE] {
        std::fs::write(dir.path().join(file), b"damaged").unwrap();
    }
    let message = first.resume().run(&data).unwrap_err().to_string();
    assert!(message.contains("damaged checkpoint"), "{message}");
    for file in [CHECKPOINT_FILE, PREVIOUS_FILE] {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    let message = failure(&data, &first.resume());
    assert!(message.contains("no checkpoint to resume from"), "{message}");
}

#[test]
fn a_damaged_checkpoint_is_noticed_wherever_it_is_and_the_one_before_goes_on() {
    let (data, whole, parts) = (few(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&data, &Training::new(whole.path(), 2));
    let part = Training::new(parts.path(), 2);
    train(&data, &part.stop_after(3));
    train(&data, &part.resume().stop_after(5));
    let (newest, previous) = (parts.path().join(CHECKPOINT_FILE), parts.path().join(PREVIOUS_FILE));
    let (good, old) = (std::fs::read(&newest).unwrap(), std::fs::read(&previous).unwrap());
    std::fs::remove_file(&previous).unwrap();
    // Steps, shapes, weights and history: one flipped bit anywhere, or a cut at any place.
    for at in (0..good.len()).step_by(good.len() / 40 + 1) {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        std::fs::write(&newest, &damaged).unwrap();
        let resumed = part.resume().stop_after(6);
        let message = failure(&data, &resumed);
        assert!(
            message.contains("damaged checkpoint") || message.contains("another version"),
            "{at}: {message}"
        );
        std::fs::write(&newest, &good[..at]).unwrap();
        assert!(failure(&data, &resumed).contains("damaged checkpoint"), "cut at {at}");
    }
    std::fs::write(&previous, old).unwrap();
    train(&data, &part.resume()).unwrap();
    assert_eq!(weights(whole.path()), weights(parts.path()));
    assert!(!newest.exists() && !previous.exists());
}

#[test]
fn a_folder_with_another_training_or_with_foreign_files_is_refused() {
    let (data, dir) = (few(), tempfile::tempdir().unwrap());
    let new = Training::new(dir.path(), 1);
    let (resume, overwrite) = (new.resume(), new.start(Start::Overwrite));
    let foreign = dir.path().join("labels.txt");
    std::fs::write(&foreign, "mine").unwrap();
    for start in [&new, &overwrite] {
        let message = failure(&data, start);
        assert!(message.contains("labels.txt, which no training of this tool wrote"), "{message}");
    }
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "mine");
    std::fs::rename(&foreign, dir.path().join("notes.txt")).unwrap();
    train(&data, &new.stop_after(1));
    let message = failure(&data, &new);
    assert!(message.contains("--resume to go on") && message.contains("--overwrite"), "{message}");
    train(&data, &overwrite).unwrap();
    let message = failure(&data, &new);
    assert!(message.contains("complete training; give --overwrite"), "{message}");
    assert!(failure(&data, &resume).contains("there is nothing to go on with"));
    train(&data, &overwrite).unwrap();
    let _other = crate::output::Lock::take(dir.path()).unwrap();
    let message = failure(&data, &overwrite);
    assert!(
        message.contains(&format!("process {} of this tool writes to it", std::process::id())),
        "{message}"
    );
}

#[test]
fn twenty_epochs_of_digits_reach_nineteen_in_twenty() {
    let dir = tempfile::tempdir().unwrap();
    let mut training = Training::new(dir.path(), 20);
    training.recipe.warmup_epochs = 2.0;
    let report = train(&digits(), &training).unwrap();
    println!("held-out accuracy {:.4} after {:.1} s", report.test_accuracy(), report.seconds);
    assert!(report.test_accuracy() >= 0.95, "{}", report.test_accuracy());
    for file in ["model.safetensors", "config.json", "labels.txt", CURVE_FILE, REPORT_FILE] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn every_kind_of_model_trains_and_classifies_as_the_float_reference_does() {
    let data = few();
    for (mean_pool, distill_token, activation) in
        [(true, false, "gelu-tanh"), (false, true, "relu"), (false, false, "gelu")]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut training = Training::new(dir.path(), 1);
        training.recipe = Recipe { mean_pool, distill_token, activation, ..training.recipe };
        let report = train(&data, &training).unwrap();
        assert!(report.history[0].loss.is_finite());
        let model = crate::checkpoint::FloatVit::load(dir.path(), &Default::default()).unwrap();
        assert_eq!(model.parameters(), report.parameters);
        let reference = crate::reference::ReferenceVit::new(&model).unwrap();
        let images: Vec<&[u8]> = (0..data.test.len()).map(|i| data.test.image(i)).collect();
        let logits = reference.logits_batch(&images).unwrap();
        let pairs = logits.iter().zip(&data.test.labels);
        let correct = pairs.filter(|(l, &label)| crate::reference::argmax(l) == label as usize).count();
        assert_eq!(correct, report.test_correct);
    }
}
