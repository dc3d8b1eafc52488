//! Whole models of made-up weights, on one thread and on all. Throughput is in multiply-accumulates. After
//! each line of criterion's, another line says which part of the peak this is. The peak is that of as many
//! cores as there are threads: the rate of the table's fastest instruction in registers, measured on one core
//! between the samples.
//!
//! `cargo bench -p vitreous-benches --bench models -- "tiny 224/avx512-vnni"` runs a part: names are
//! `model/table/threads`.

use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{criterion_group, criterion_main, BenchmarkGroup, Criterion, Throughput};
use vitreous::kernels::{supported_kernels, Kernels};
use vitreous::models::vit::VitConfig;
use vitreous_benches::{engine, image_macs, ipt_config, restorer, vit_config, window_macs};
use vitreous_tools::bench::measure_peak;
use vitreous_tools::pool::{available_cores, Pool};

/// Models with more multiply-accumulates than this take minutes on tables without vector instructions.
const MOST_PORTABLE_MACS: u64 = 2_000_000_000;

/// A model on a table and threads.
struct Case {
    name: &'static str,
    kernels: &'static Kernels,
    threads: usize,
    macs: u64,
}

fn classifiers(criterion: &mut Criterion) {
    let digits = VitConfig { channels: 1, classes: 10, ..vit_config(8, 2, 32, 3, 4, 64) };
    let pool = Pool::new(0).expect("threads");
    let mut group = group(criterion, "classifier");
    for (name, config) in [
        ("digits 8", digits),
        ("small 32", vit_config(32, 4, 96, 6, 3, 192)),
        ("tiny 224", vit_config(224, 16, 192, 12, 3, 768)),
        ("small 224", vit_config(224, 16, 384, 12, 6, 1536)),
        ("base 224", vit_config(224, 16, 768, 12, 12, 3072)),
    ] {
        let model = engine(config);
        let (macs, image) =
            (image_macs(&model), vec![100; config.image_height * config.image_width * config.channels]);
        for kernels in tables(macs) {
            let model = model.clone().with_kernels(kernels).expect("weights in the kernels' order");
            for (threads, pool) in [(1, None), (available_cores(), Some(&pool))] {
                if pool.is_some() && threads == 1 {
                    continue;
                }
                let mut session = model.session_on(pool).expect("a session");
                time(&mut group, &Case { name, kernels, threads, macs }, &mut || {
                    session.run(&image, false).expect("a run");
                });
            }
        }
    }
}

/// A window runs on one thread.
fn windows(criterion: &mut Criterion) {
    let mut group = group(criterion, "window");
    for (name, task) in [("ipt 32 denoise50", "denoise50"), ("ipt 32 x2", "x2")] {
        let model = restorer(ipt_config(task));
        let (macs, window) = (window_macs(&model), vec![100; 32 * 32 * 3]);
        for kernels in tables(macs) {
            let model = model.clone().with_kernels(kernels).expect("weights in the kernels' order");
            let mut session = model.session(0).expect("a session");
            time(&mut group, &Case { name, kernels, threads: 1, macs }, &mut || {
                session.run(&window).expect("a run");
            });
        }
    }
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group
}

fn tables(macs: u64) -> impl Iterator<Item = &'static Kernels> {
    supported_kernels().filter(move |kernels| kernels.peak.is_some() || macs <= MOST_PORTABLE_MACS)
}

/// Benches `run`, and says which part of the peak its median reaches.
fn time(group: &mut BenchmarkGroup<'_, WallTime>, case: &Case, run: &mut dyn FnMut()) {
    let Case { name, kernels, threads, macs } = case;
    let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
    group.throughput(Throughput::Elements(*macs));
    group.bench_function(format!("{name}/{}/{threads}", kernels.spec.name), |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            (0..iterations).for_each(|_| run());
            let time = start.elapsed();
            seconds.push(time.as_secs_f64() / iterations as f64);
            peaks.extend(measure_peak(kernels));
            time
        });
    });
    seconds.sort_by(f64::total_cmp);
    // There are no samples if the filter left the bench out.
    let Some(median) = seconds.get(seconds.len() / 2) else { return };
    let gmacs = *macs as f64 / median / 1e9;
    match peaks.into_iter().reduce(f64::max) {
        Some(peak) => println!(
            "{:24}peak:   {gmacs:.1} of {threads} × {peak:.1} GMAC/s: {:.1} %",
            "",
            100.0 * gmacs / (peak * *threads as f64)
        ),
        None => println!("{:24}peak:   {gmacs:.1} GMAC/s of a table without a peak of its own", ""),
    }
}

criterion_group!(benches, classifiers, windows);
criterion_main!(benches);
