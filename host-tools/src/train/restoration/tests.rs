//! Whole runs on small synthetic pictures.

use super::ipt::{adopt, load, Ipt, IptRecipe};
use super::*;
use crate::degrade::Picture;
use crate::train::{RunOptions, Start, CHECKPOINT_FILE, REPORT_FILE};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;
use vitreous::models::ipt::IptConfig;

/// A network whose training step takes milliseconds.
pub fn tiny_config(tasks: &[&str]) -> IptConfig {
    let recipe = IptRecipe {
        features: 4,
        window: 8,
        heads: 2,
        hidden: 16,
        head_hidden: 16,
        encoder_layers: 1,
        decoder_layers: 1,
        tasks: tasks.iter().map(|t| (*t).to_owned()).collect(),
        ..IptRecipe::default()
    };
    recipe.config().unwrap()
}

fn training(steps: u64) -> Training {
    Training { steps, batch: 5, warmup: 2, held_out: 1, ..Training::default() }
}

/// Settings and the options of a run with them.
#[derive(Clone)]
struct Options {
    training: Training,
    validate_every: u64,
    run: RunOptions,
}

fn options(out: &Path, training: Training) -> Options {
    let run = RunOptions {
        name: "test".to_owned(),
        out: out.to_owned(),
        start: Start::New,
        checkpoint_every: Duration::from_secs(3600),
        stop_after: None,
    };
    Options { training, validate_every: 4, run }
}

impl Options {
    fn stop_after(&self, steps: u64) -> Options {
        let run = RunOptions { stop_after: Some(steps), ..self.run.clone() };
        Options { run, ..self.clone() }
    }

    fn resume(&self) -> Options {
        let run = RunOptions { start: Start::Resume, ..self.run.clone() };
        Options { run, ..self.clone() }
    }

    fn run(&self, network: &dyn Network, pictures: &mut Pictures) -> Result<Option<RestorerReport>> {
        let mut trainee =
            RestorerTraining::new(network, None, pictures, &self.training, self.validate_every)?;
        crate::train::train(&mut trainee, &self.run, &mut ())
    }
}

/// Smooth waves with edges, of different sizes, one of them smaller than a window of an enlarging task.
fn pictures(dir: &Path) -> Pictures {
    for (i, (width, height)) in [(30, 20), (24, 40), (13, 15), (50, 33)].into_iter().enumerate() {
        let value = |x: usize, y: usize, c: usize| {
            let wave = 128.0 + 70.0 * (0.3 * (x + c) as f32).sin() * (0.2 * (y * (i + 1)) as f32).cos();
            if (x / 7 + y / 5).is_multiple_of(2) {
                wave as u8
            } else {
                (wave * 0.7) as u8
            }
        };
        let data =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(x, y, c))));
        let picture = Picture { width, height, data: data.collect() };
        std::fs::create_dir_all(dir.join("deeper")).unwrap();
        let folder = if i % 2 == 0 { dir.to_owned() } else { dir.join("deeper") };
        picture.save_png(&folder.join(format!("{i}.png"))).unwrap();
    }
    Pictures::load(dir, 1, 1.0, 1).unwrap()
}

fn train(network: &dyn Network, options: &Options) -> Option<RestorerReport> {
    let folder = tempfile::tempdir().unwrap();
    options.run(network, &mut pictures(folder.path())).unwrap()
}

fn weights(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).unwrap()
}

const EVERY_TASK: [&str; 7] = ["denoise10", "denoise50", "x2", "x3", "x4", "derain", "jpeg40"];

#[test]
fn an_untrained_network_gives_back_its_input() {
    let network = Ipt::new(tiny_config(&["denoise30", "x3"]));
    let network: &dyn Network = &network;
    let values = network.initial_values(1);
    let folder = tempfile::tempdir().unwrap();
    let picture = pictures(folder.path()).test[0].clone();
    assert_eq!(network.restore(&values, 0, &picture, 3).unwrap(), picture);
    let small = picture.reduced(3).unwrap();
    let larger = network.restore(&values, 1, &small, 3).unwrap();
    assert_eq!((larger.width, larger.height), (small.width * 3, small.height * 3));
    // The middle pixel of every square of three is the small picture's.
    for y in 0..small.height {
        for x in 0..small.width {
            let at = ((3 * y + 1) * larger.width + 3 * x + 1) * 3;
            assert_eq!(larger.data[at..at + 3], small.data[(y * small.width + x) * 3..][..3]);
        }
    }
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let network = Ipt::new(tiny_config(&EVERY_TASK));
    let settings = Training { contrast: 0.1, ema: 0.9, ..training(9) };
    let report = train(&network, &options(whole.path(), settings.clone())).unwrap();
    let part = options(parts.path(), settings);
    assert!(train(&network, &part.stop_after(3)).is_none());
    assert!(train(&network, &part.resume().stop_after(7)).is_none());
    let resumed = train(&network, &part.resume()).unwrap();
    assert_eq!(weights(whole.path()), weights(parts.path()));
    assert_eq!(report.history, resumed.history);
    assert_eq!(report.history.len(), 4);
    for file in ["config.json", REPORT_FILE, CURVE_FILE, "samples/denoise10.png", "samples/x4.png"] {
        assert!(parts.path().join(file).is_file(), "{file}");
    }
    assert!(!parts.path().join(CHECKPOINT_FILE).exists());
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let run = |threads| {
        let dir = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let network = Ipt::new(tiny_config(&["denoise30"]));
        pool.install(|| train(&network, &options(dir.path(), training(4))));
        weights(dir.path())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn training_removes_noise() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        Training { steps: 150, batch: 8, warmup: 20, lr: 4e-3, held_out: 1, ..Training::default() };
    let network = Ipt::new(tiny_config(&["denoise50"]));
    let report = train(&network, &Options { validate_every: 150, ..options(dir.path(), settings) }).unwrap();
    let gain = report.history[1].psnr[0] - report.history[0].psnr[0];
    println!("{gain:.2} dB gained on held-out windows");
    assert!(gain > 2.0, "{gain}");
}

#[test]
fn a_saved_model_is_read_back_and_gives_its_tasks_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let trained = Ipt::new(tiny_config(&["denoise30", "denoise50", "x2"]));
    train(&trained, &options(dir.path(), training(6))).unwrap();
    let (source, values) = load(dir.path()).unwrap();
    assert_eq!(source.config, trained.config);
    let value = |network: &Ipt, values: &[Vec<f32>], name: &str| {
        values[network.parameters.iter().position(|p| p.spec.name == name).unwrap()].clone()
    };
    let from = |name: &str| value(&source, &values, name);
    let other = Ipt::new(tiny_config(&["denoise70", "x2", "x4", "derain"]));
    let adopted = adopt(&other, &source, &values, 1).unwrap();
    let now = |name: &str| value(&other, &adopted, name);
    // The nearest strength, the same task, the nearest scale, the weakest denoiser.
    for (to, source) in [(0, 1), (1, 2), (2, 2), (3, 0)] {
        assert_eq!(now(&format!("head.{to}.0.weight")), from(&format!("head.{source}.0.weight")), "{to}");
        assert_eq!(now(&format!("tail.{to}.1.weight")), from(&format!("tail.{source}.1.weight")), "{to}");
        let query = |task| format!("body.query_embed.weight.{task}");
        assert_eq!(now(&query(to)), from(&query(source)), "{to}");
    }
    assert_eq!(now("body.linear_encoding.weight"), from("body.linear_encoding.weight"));
    let deeper = IptConfig { encoder_layers: 2, ..tiny_config(&["x2"]) };
    let message = adopt(&Ipt::new(deeper), &source, &values, 1).unwrap_err().to_string();
    assert!(message.contains("number of layers"), "{message}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let network = Ipt::new(tiny_config(&["denoise30"]));
    let first = options(dir.path(), training(6));
    train(&network, &first.stop_after(1));
    let folder = tempfile::tempdir().unwrap();
    let mut data = pictures(folder.path());
    let message = first.run(&network, &mut data).unwrap_err().to_string();
    assert!(message.contains("--resume"), "{message}");
    let mut other = first.resume();
    other.training.sigmas = Some([5.0, 50.0]);
    let message = other.run(&network, &mut data).unwrap_err().to_string();
    assert!(message.contains("training.sigmas"), "{message}");
}

#[test]
fn dncnn_starts_as_the_identity_and_learns() {
    let dir = tempfile::tempdir().unwrap();
    let task = crate::checkpoint::ipt::parse_task("denoise50").unwrap();
    let config = dncnn::DnCnnConfig { depth: 4, width: 16, window: 12, task };
    let network = dncnn::DnCnn::new(config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let picture = pictures(folder.path()).test[0].clone();
    let untrained: &dyn Network = &network;
    assert_eq!(untrained.restore(&untrained.initial_values(1), 0, &picture, 3).unwrap(), picture);
    let settings = Training { steps: 150, batch: 8, warmup: 20, held_out: 1, ..Training::default() };
    let report = train(&network, &Options { validate_every: 150, ..options(dir.path(), settings) }).unwrap();
    let gain = report.history[1].psnr[0] - report.history[0].psnr[0];
    println!("{gain:.2} dB gained on held-out windows");
    assert!(gain > 2.0, "{gain}");
    let task = crate::checkpoint::ipt::parse_task("x2").unwrap();
    let message = dncnn::DnCnn::new(dncnn::DnCnnConfig { task, ..config }).err().unwrap().to_string();
    assert!(message.contains("cannot enlarge"), "{message}");
}

#[test]
fn fractions_keep_that_part_of_the_training_pictures_and_the_same_held_out_ones() {
    let folder = tempfile::tempdir().unwrap();
    let all = pictures(folder.path());
    let third = Pictures::load(folder.path(), 1, 1.0 / 3.0, 1).unwrap();
    assert_eq!((all.train.len(), third.train.len()), (3, 1));
    assert_eq!(all.test, third.test);
    assert!(all.train.contains(&third.train[0]));
    assert!(Pictures::load(folder.path(), 4, 1.0, 1).err().unwrap().to_string().contains("--held-out"));
}
