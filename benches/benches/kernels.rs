//! Kernels of every table that this processor can run; `models` is the bench of whole models. Throughput of
//! products is in multiply-accumulates; `peak` is the rate of the table's fastest instruction in registers,
//! so the quotient of a line and `peak` is the part of the peak that was reached.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use half::f16;
use vitreous::kernels::{supported_kernels, Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use vitreous::models::vit::Activation;
use vitreous::tensor::{LinearI8, NormWeights, RowsI8};

/// Numbers that look like weights: −127 to 127.
fn codes(count: usize) -> Vec<i8> {
    (0..count).map(|i| ((i * 7919) % 255) as i8).collect()
}

fn peak(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peak");
    for kernels in supported_kernels() {
        let Some(peak) = kernels.peak else { continue };
        let iterations = 10_000;
        group.throughput(Throughput::Elements((peak.macs * iterations) as u64));
        group.bench_function(kernels.spec.name, |b| b.iter(|| (peak.run)(std::hint::black_box(iterations))));
    }
}

/// The shapes of ViT-Tiny/16 and ViT-Base/16 at 224×224: all 197 tokens, as on hosts.
fn linear(criterion: &mut Criterion) {
    const ROWS: usize = 197;
    let mut group = criterion.benchmark_group("linear_i8");
    for (inputs, outputs) in [(192, 64), (192, 768), (768, 192), (768, 768), (768, 3072), (3072, 768)] {
        let (rows, panels) = (ROWS, codes(inputs * outputs));
        let (scales, bias) = (vec![0.01; outputs], vec![0.1; outputs]);
        let data = codes(rows * inputs);
        let x = RowsI8 { data: &data, scales: &[0.02; ROWS], zero_points: &[], pitch: inputs };
        let mut out = vec![0.0; rows * outputs];
        group.throughput(Throughput::Elements((rows * inputs * outputs) as u64));
        for kernels in supported_kernels() {
            let layout = kernels.spec.layout;
            let mut scratch = vec![0; (kernels.spec.linear_scratch)(inputs)];
            let weights = LinearI8 {
                panels: &panels,
                scales: &scales,
                bias: &bias,
                sums: &[],
                pitch: inputs,
                outputs,
                layout,
            };
            for (name, epilogue) in
                [("", Epilogue::None), (" with GELU", Epilogue::Activation(Activation::GeluErf))]
            {
                group.bench_function(format!("{}/{inputs}x{outputs}{name}", kernels.spec.name), |b| {
                    b.iter(|| (kernels.linear_i8)(&x, &weights, epilogue, &mut out, &mut scratch));
                });
            }
        }
    }
}

fn rows(criterion: &mut Criterion) {
    let (count, width) = (48, 192);
    let tokens: Vec<f16> = (0..count * width).map(|i| f16::from_f32((i as f32 * 0.37).sin())).collect();
    let (gamma, beta) = (vec![1.0; width], vec![0.0; width]);
    let norm = NormWeights { gamma: &gamma, beta: &beta, eps: 1e-6 };
    let (mut normed, mut quantized) = (vec![0.0; count * width], vec![0; count * width]);
    let (shape, mut scales) = (RowShape { width, pitch: width }, vec![0.0; count]);
    let mut group = criterion.benchmark_group("rows of 192");
    for kernels in supported_kernels() {
        group.throughput(Throughput::Elements((count * width) as u64));
        group.bench_function(format!("{}/layer_norm", kernels.spec.name), |b| {
            b.iter(|| (kernels.layer_norm)(&tokens, &norm, &mut normed));
        });
        group.bench_function(format!("{}/quantize_rows", kernels.spec.name), |b| {
            b.iter(|| (kernels.quantize_rows)(&normed, shape, &mut quantized, &mut scales));
        });
    }
}

/// 48 queries of a head of 64 with 197 tokens; elements are scores.
fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    group.throughput(Throughput::Elements(48 * 197));
    for kernels in supported_kernels() {
        group.bench_function(kernels.spec.name, |b| attend(kernels, b));
    }
}

fn attend(kernels: &Kernels, bencher: &mut criterion::Bencher) {
    let (queries, tokens, width) = (48, 197, 64);
    let memory = (kernels.spec.attention_memory)(tokens, width);
    // Values are read as pairs of 16-bit numbers; whole words keep them aligned.
    let words = |bytes: usize| vec![0u32; bytes.div_ceil(4)];
    let (mut keys, mut values) = (words(memory.keys), words(memory.values));
    let rows: Vec<f32> = (0..tokens * width).map(|i| (i as f32 * 0.7).sin()).collect();
    let (mut key_scales, mut value_scales) = (vec![0.0; tokens], vec![0.0; tokens]);
    (kernels.store_keys)(&rows, width, 0, bytemuck::cast_slice_mut(&mut keys), &mut key_scales);
    (kernels.store_values)(&rows, width, 0, bytemuck::cast_slice_mut(&mut values), &mut value_scales);
    let (data, scales) = (codes(queries * width), vec![0.01; queries]);
    let attention = Attention {
        queries: RowsI8 { data: &data, scales: &scales, zero_points: &[], pitch: width },
        head_dim: width,
        factor: 0.18,
        keys: bytemuck::cast_slice(&keys),
        key_scales: &key_scales,
        values: bytemuck::cast_slice(&values),
        relative_scales: &value_scales,
        value_scale: 1.0,
    };
    let (mut scores, mut weights, mut sums) =
        (words(memory.scores), words(memory.weights), words(memory.sums));
    let mut out = vec![0.0; queries * width];
    bencher.iter(|| {
        let mut scratch = AttentionScratch {
            scores: bytemuck::cast_slice_mut(&mut scores),
            weights: bytemuck::cast_slice_mut(&mut weights),
            sums: bytemuck::cast_slice_mut(&mut sums),
        };
        (kernels.attend)(&attention, &mut scratch, &mut out);
    });
}

criterion_group!(benches, peak, linear, rows, attention);
criterion_main!(benches);
