//! Kernels of every table that this machine can run, and whole models.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use half::f16;
use vitreous::kernels::{supported_kernels, Attention, AttentionScratch, Epilogue};
use vitreous::models::vit::Activation;
use vitreous::tensor::{padded, LinearI8, NormWeights, RowsI8};
use vitreous_benches::{engine, vit_config};

/// Numbers that look like weights: −127 to 127.
fn codes(count: usize) -> Vec<i8> {
    (0..count).map(|i| ((i * 7919) % 255) as i8).collect()
}

/// Rows of a tile.
const ROWS: usize = 32;

/// The shapes of ViT-Tiny/16 at 224×224.
fn linear(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear_i8");
    for (inputs, outputs) in [(192, 64), (192, 768), (768, 192)] {
        let (panels, data) = (codes(inputs * outputs), codes(ROWS * inputs));
        let (scales, bias, sums) = (vec![0.01; outputs], vec![0.1; outputs], vec![0; outputs]);
        let x = RowsI8 { data: &data, scales: &[0.02; ROWS], zero_points: &[], pitch: inputs };
        let mut out = vec![0.0; ROWS * outputs];
        group.throughput(Throughput::Elements((ROWS * inputs * outputs) as u64));
        for kernels in supported_kernels() {
            let (panels, layout) = (&panels[..], kernels.layout);
            let (scales, bias, sums) = (&scales[..], &bias[..], &sums[..]);
            let weights = LinearI8 { panels, scales, bias, sums, pitch: inputs, outputs, layout };
            for (name, epilogue) in
                [("", Epilogue::None), (" with GELU", Epilogue::Activation(Activation::GeluErf))]
            {
                group.bench_function(format!("{}/{inputs}x{outputs}{name}", kernels.name), |b| {
                    b.iter(|| (kernels.linear_i8)(&x, &weights, epilogue, &mut out));
                });
            }
        }
    }
}

fn rows(criterion: &mut Criterion) {
    let token: Vec<f16> = (0..192).map(|i| f16::from_f32((i as f32 * 0.37).sin())).collect();
    let (gamma, beta) = (vec![1.0; 192], vec![0.0; 192]);
    let norm = NormWeights { gamma: &gamma, beta: &beta, eps: 1e-6 };
    let (mut normed, mut quantized) = (vec![0.0; 192], vec![0; 192]);
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(192));
    for kernels in supported_kernels() {
        group.bench_function(format!("{}/layer_norm 192", kernels.name), |b| {
            b.iter(|| (kernels.layer_norm)(&token, &norm, &mut normed));
        });
        group.bench_function(format!("{}/quantize_row 192", kernels.name), |b| {
            b.iter(|| (kernels.quantize_row)(&normed, &mut quantized));
        });
    }
}

/// A tile of queries of ViT-Tiny/16 in one head.
fn attention(criterion: &mut Criterion) {
    let (tokens, head_dim) = (197, 64);
    let floats: Vec<f32> = (0..tokens * head_dim).map(|i| (i as f32 * 0.37).sin()).collect();
    let (queries, query_scales) = (codes(ROWS * padded(head_dim)), [0.02; ROWS]);
    let mut group = criterion.benchmark_group("attention of 32 queries, 197 tokens");
    group.throughput(Throughput::Elements((ROWS * tokens) as u64));
    for kernels in supported_kernels() {
        let memory = (kernels.attention_memory)(tokens, head_dim);
        let (mut keys, mut values) = (vec![0; memory.keys], vec![0; memory.values]);
        let (mut key_scales, mut value_scales) = (vec![0.0; tokens], vec![0.0; tokens]);
        (kernels.store_keys)(&floats, head_dim, 0, &mut keys, &mut key_scales);
        (kernels.store_values)(&floats, head_dim, 0, &mut values, &mut value_scales);
        let attention = Attention {
            queries: RowsI8 {
                data: &queries,
                scales: &query_scales,
                zero_points: &[],
                pitch: padded(head_dim),
            },
            head_dim,
            factor: 0.18,
            keys: &keys,
            key_scales: &key_scales,
            values: &values,
            relative_scales: &vec![1.0; tokens],
            value_scale: 0.01,
        };
        let (mut scores, mut weights, mut sums) =
            (vec![0.0; memory.scores / 4], vec![0; memory.weights / 2], vec![0; memory.sums / 4]);
        let mut out = vec![0.0; ROWS * head_dim];
        group.bench_function(kernels.name, |b| {
            b.iter(|| {
                let mut scratch =
                    AttentionScratch { scores: &mut scores, weights: &mut weights, sums: &mut sums };
                (kernels.attend)(&attention, &mut scratch, &mut out);
            });
        });
    }
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
