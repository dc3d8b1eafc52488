//! Kernels of the portable table, and whole models.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use half::f16;
use vitreous::kernels::{Epilogue, Keys, PORTABLE};
use vitreous::models::vit::Activation;
use vitreous::tensor::{LinearI8, NormWeights, PanelLayout, RowsI8};
use vitreous_benches::{engine, vit_config};

/// Numbers that look like weights: −127 to 127.
fn codes(count: usize) -> Vec<i8> {
    (0..count).map(|i| ((i * 7919) % 255) as i8).collect()
}

/// The shapes of ViT-Tiny/16 at 224×224.
fn linear(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear_i8");
    for (inputs, outputs) in [(192, 64), (192, 768), (768, 192)] {
        let (rows, panels) = (4, codes(inputs * outputs));
        let (scales, bias, sums) = (vec![0.01; outputs], vec![0.1; outputs], vec![]);
        let layout = PanelLayout::ROW_MAJOR;
        let weights = LinearI8 {
            panels: &panels,
            scales: &scales,
            bias: &bias,
            sums: &sums,
            pitch: inputs,
            outputs,
            layout,
        };
        let data = codes(rows * inputs);
        let x = RowsI8 { data: &data, scales: &[0.02; 4], zero_points: &[], pitch: inputs };
        let mut out = vec![0.0; rows * outputs];
        group.throughput(Throughput::Elements((rows * inputs * outputs) as u64));
        group.bench_function(format!("{inputs}x{outputs}"), |b| {
            b.iter(|| (PORTABLE.linear_i8)(&x, &weights, Epilogue::None, &mut out));
        });
        group.bench_function(format!("{inputs}x{outputs} with GELU"), |b| {
            b.iter(|| {
                (PORTABLE.linear_i8)(&x, &weights, Epilogue::Activation(Activation::GeluErf), &mut out)
            });
        });
    }
}

fn rows(criterion: &mut Criterion) {
    let token: Vec<f16> = (0..192).map(|i| f16::from_f32((i as f32 * 0.37).sin())).collect();
    let (gamma, beta) = (vec![1.0; 192], vec![0.0; 192]);
    let norm = NormWeights { gamma: &gamma, beta: &beta, eps: 1e-6 };
    let (mut normed, mut quantized) = (vec![0.0; 192], vec![0; 192]);
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(192));
    group.bench_function("layer_norm 192", |b| b.iter(|| (PORTABLE.layer_norm)(&token, &norm, &mut normed)));
    group.bench_function("quantize_row 192", |b| b.iter(|| (PORTABLE.quantize_row)(&normed, &mut quantized)));
}

fn attention(criterion: &mut Criterion) {
    let (tokens, width) = (197, 64);
    let (query, keys, values) = (codes(width), codes(tokens * width), codes(tokens * width));
    let scales = vec![0.5; tokens];
    let keys = Keys { data: &keys, scales: &scales, pitch: width };
    let (mut scores, mut weights, mut sums) = (vec![0.0; tokens], vec![0; tokens], vec![0; width]);
    let mut group = criterion.benchmark_group("attention of one query, 197 tokens");
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function("scores", |b| b.iter(|| (PORTABLE.scores)(&query, 1e-4, &keys, &mut scores)));
    let max = (PORTABLE.scores)(&query, 1e-4, &keys, &mut scores);
    group.bench_function("softmax", |b| {
        b.iter(|| (PORTABLE.softmax)(&scores, max, 32767.0, &scales, &mut weights));
    });
    group
        .bench_function("weighted_sum", |b| b.iter(|| (PORTABLE.weighted_sum)(&weights, &values, &mut sums)));
}

fn models(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("model, one thread");
    group.sample_size(10);
    for (name, engine) in [
        ("small 32x32", engine(vit_config(32, 4, 96, 6, 3, 192))),
        ("tiny 224", engine(vit_config(224, 16, 192, 12, 3, 768))),
    ] {
        let c = *engine.config();
        let image = vec![100; c.image_height * c.image_width * c.channels];
        group.bench_function(name, |b| b.iter(|| engine.run(&image, false).expect("a run")));
    }
}

criterion_group!(benches, linear, rows, attention, models);
criterion_main!(benches);
