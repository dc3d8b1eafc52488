//! Whole studies on tiny data.

use super::*;
use crate::degrade::Picture;
use crate::train::data::digits;
use crate::train::restoration::ipt::IptRecipe;
use crate::train::restoration::Training;
use crate::train::{CnnShape, Recipe};

#[test]
fn a_restoration_study_has_both_curves_and_goes_on_where_it_stopped() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for i in 0..5usize {
        let pixels = (0..24 * 20).flat_map(|p| [(p * (i + 3)) as u8, (p / 24 * 9) as u8, (p % 24 * 9) as u8]);
        let picture = Picture { width: 24, height: 20, data: pixels.collect() };
        picture.save_png(&data.path().join(format!("{i}.png"))).unwrap();
    }
    let mut settings = restoration::Settings {
        data: data.path().to_owned(),
        out: out.path().to_owned(),
        percents: vec![50.0, 100.0],
        seeds: vec![1, 2],
        task: "denoise30".to_owned(),
        ipt: IptRecipe {
            features: 4,
            window: 8,
            heads: 2,
            hidden: 8,
            head_hidden: 8,
            encoder_layers: 1,
            decoder_layers: 1,
            ..IptRecipe::default()
        },
        dncnn: (3, 4),
        training: Training { steps: 4, batch: 2, warmup: 1, held_out: 1, ..Training::default() },
        dncnn_lr: 1e-3,
        validate_every: 2,
        quiet: true,
    };
    let report = restoration::run(&settings).unwrap();
    let samples: Vec<usize> = report.points.iter().map(|p| p.samples).collect();
    assert_eq!(samples, [2, 2, 4, 4, 2, 2, 4, 4]);
    report.write(out.path()).unwrap();
    let svg = std::fs::read_to_string(out.path().join("study.svg")).unwrap();
    assert!(svg.contains("IPT") && svg.contains("DnCNN"));
    assert!(report.to_string().contains("100 %"));
    // Finished points are taken as they are, deleted ones are trained again.
    std::fs::remove_dir_all(out.path().join("dncnn-50-2")).unwrap();
    assert_eq!(restoration::run(&settings).unwrap(), report);
    settings.training.batch = 3;
    let message = format!("{:#}", restoration::run(&settings).unwrap_err());
    assert!(message.contains("other settings"), "{message}");
}

#[test]
fn a_classification_study_trains_both_networks_on_parts_of_every_class() {
    let mut data = digits();
    for (set, count) in [(&mut data.train, 200), (&mut data.test, 60)] {
        set.labels.truncate(count);
        set.pixels.truncate(count * 64);
    }
    let out = tempfile::tempdir().unwrap();
    let settings = classification::Settings {
        out: out.path().to_owned(),
        percents: vec![25.0, 100.0],
        seeds: vec![3],
        recipe: Recipe { epochs: 15, warmup_epochs: 2.0, batch: 20, ..Recipe::digits() },
        cnn: CnnShape { width: 8, stages: 2 },
        quiet: true,
    };
    let report = classification::run(&data, &settings).unwrap();
    assert_eq!(report.steps, 150);
    let names: Vec<&str> = report.points.iter().map(|p| p.network.as_str()).collect();
    assert_eq!(names, ["ViT", "ViT", "CNN", "CNN"]);
    assert!(
        report.points[0].samples >= 50 && report.points[0].samples < 60 && report.points[1].samples == 200
    );
    println!("{report}");
    assert!(report.points[3].score > 40.0, "the CNN learns: {:?}", report.points[3]);
    assert_eq!(classification::run(&data, &settings).unwrap(), report);
}

#[test]
fn impossible_parts_are_refused() {
    let message = jobs(Path::new("x"), &["a"], &[0.0], &[1]).err().unwrap().to_string();
    assert!(message.contains("--percent 0"), "{message}");
}
