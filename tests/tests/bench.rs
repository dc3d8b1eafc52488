//! `vitreous bench`: the stages' work is the whole model's, on this machine and on an emulated one.

use std::time::Duration;

use vitreous_tests::{configs, random_ipt, random_vit, small_ipt_config};
use vitreous_tools::bench::{bench, bench_on_target, render, BenchOptions, BenchReport, Subject, Unit};
use vitreous_tools::engine::Engine;
use vitreous_tools::inspect::{inspect_classifier, inspect_restorer, Inspection};
use vitreous_tools::quantize::{ipt_layers, quantize, QuantizeOptions};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::target::{RunOptions, Target};
use vitreous_tools::vtr::AlignedBytes;

const OPTIONS: BenchOptions = BenchOptions { threads: 1, runs: 3, warm_up: 1 };

fn engine(config: vitreous::models::vit::VitConfig) -> Engine {
    let bytes = quantize(&random_vit(config, 3), &QuantizeOptions::default()).expect("convertible");
    Engine::from_bytes(AlignedBytes::copy_of(&bytes), "bench.vtr".as_ref()).expect("loadable")
}

/// Every third layer keeps f16 weights.
fn restorer_bytes() -> Vec<u8> {
    let config = small_ipt_config();
    let keep_f16 = ipt_layers(&config).into_iter().step_by(3).collect();
    let options = QuantizeOptions { keep_f16, ..Default::default() };
    quantize(&random_ipt(config, 4), &options).expect("convertible")
}

/// No work is lost between stages, or counted twice, and it is what `inspect` says.
fn check_work(report: &BenchReport, inspection: &Inspection) {
    let sum = |f: fn(&vitreous_tools::bench::StageCost) -> u64| report.stages.iter().map(f).sum::<u64>();
    assert_eq!(sum(|stage| stage.macs), report.macs);
    assert_eq!(sum(|stage| stage.bytes as u64), report.weight_bytes as u64);
    assert_eq!(report.macs, inspection.macs);
    let rows = |layers| report.rows(layers).iter().map(|row| row.macs).sum::<u64>();
    assert_eq!((rows(true), rows(false)), (report.macs, report.macs));
    // The rest is header, tables and labels.
    assert!(report.weight_bytes < report.model_bytes, "{report:?}");
}

#[test]
fn a_classifiers_stages_are_the_whole_model() {
    for (name, config) in configs() {
        let engine = engine(config);
        let report = bench(Subject::Image(&engine), OPTIONS).expect("timed");
        check_work(&report, &inspect_classifier(&engine, 8).expect("inspected"));
        assert!(report.model_bytes - report.weight_bytes < 1024, "{name}: {report:?}");
        assert_eq!((report.window.as_ref(), report.unit, report.runs), (None, Unit::Milliseconds, 3));
        assert!(report.least <= report.median && report.median > 0.0, "{name}: {report:?}");
        let stages: f64 = report.stages.iter().map(|stage| stage.median).sum();
        // Other work on the machine may lengthen runs, but nothing shortens stages.
        assert!(stages > 0.5 * report.least, "{name}: stages {stages} ms, {report:?}");
    }
}

#[test]
fn a_restorers_stages_are_one_window_of_the_task() {
    let restorer = Restorer::from_bytes(AlignedBytes::copy_of(&restorer_bytes()), "bench.vtr".as_ref())
        .expect("loadable");
    let config = restorer.config().clone();
    for (index, task) in config.tasks.iter().enumerate() {
        let report = bench(Subject::Window(&restorer, index), OPTIONS).expect("timed");
        check_work(&report, &inspect_restorer(&restorer, Some(task), 8).expect("inspected"));
        let window = report.window.clone().expect("a window");
        assert_eq!((window.task, window.side), (task.to_string(), config.window));
        let rows: Vec<String> = report.rows(false).into_iter().map(|row| row.name).collect();
        let in_order = [
            "conv",
            "encode",
            "norm",
            "project",
            "attention",
            "mlp",
            "memory",
            "cross norm",
            "cross project",
            "cross attention",
            "decode",
            "tail",
        ];
        assert_eq!(rows, in_order);
        let text = render(&report, None, true);
        assert!(text.contains("│ 3 cross attention") && text.contains("│ 2 conv"), "{text}");
    }
    let window = Subject::Window(&restorer, 0);
    let with = |threads| bench(window, BenchOptions { threads, ..OPTIONS }).expect("a report");
    let (one, two) = (with(1), with(2));
    assert_eq!((one.threads, two.threads, one.macs), (1, 2, two.macs));
}

#[test]
fn instructions_of_all_stages_are_nearly_the_whole_runs() {
    let target: Target = "qemu-m4".parse().expect("a target");
    if !target.available_for_test("bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let options = || RunOptions { timeout: Duration::from_secs(1800), ..RunOptions::default() };
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let classifier =
        Engine::load(&written("vit.vtr", engine(configs()[0].1).file().bytes())).expect("loadable");
    let on_target = bench_on_target(Subject::Image(&classifier), target, options()).expect("counted");
    check_work(&on_target, &inspect_classifier(&classifier, 8).expect("inspected"));
    assert!(on_target.model_bytes - on_target.weight_bytes < 1024, "{on_target:?}");

    let restorer = Restorer::load(&written("ipt.vtr", &restorer_bytes())).expect("loadable");
    let window = bench_on_target(Subject::Window(&restorer, 1), target, options()).expect("counted");
    let task = restorer.config().tasks[1];
    check_work(&window, &inspect_restorer(&restorer, Some(&task), 8).expect("inspected"));
    let here = bench(Subject::Window(&restorer, 1), OPTIONS).expect("timed");
    let keys = |report: &BenchReport| {
        report.stages.iter().map(|stage| (stage.stage.clone(), stage.layer, stage.macs)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&window), keys(&here), "the same stages in the same order");
    for report in [&on_target, &window] {
        let sum: f64 = report.stages.iter().map(|stage| stage.median).sum();
        // The rest, in millions, is beginning the run, and reading the counter between its many steps.
        let rest = report.median - sum;
        assert!(
            (0.0..0.05 + 0.01 * report.median).contains(&rest),
            "{}: {rest} of {}",
            report.model,
            report.median
        );
        assert!(report.stack_bytes.is_some_and(|bytes| bytes > 0), "{report:?}");
    }
}
