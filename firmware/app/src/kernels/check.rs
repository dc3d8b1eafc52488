//! Checks a table's functions against `portable`, bit for bit, at ragged shapes and with every kind of number
//! that a model can hold.

use half::f16;
use semihosting::println;
use vitreous::kernels::{Epilogue, Kernels, RowShape, PORTABLE};
use vitreous::models::vit::Activation;
use vitreous::tensor::{LinearF16, NormWeights};

use crate::hostile;
use crate::numbers::{is_intact, Numbers, Pool};
use crate::shapes::{Head, LinearNumbers};

const EPILOGUES: [Epilogue; 4] = [
    Epilogue::None,
    Epilogue::Activation(Activation::GeluErf),
    Epilogue::Activation(Activation::GeluTanh),
    Epilogue::Activation(Activation::Relu),
];

/// A case. It returns the name of what differs, if anything does, and the pieces of memory that it took.
type Case = fn(&Kernels, &mut [u128], &mut Numbers) -> (Option<&'static str>, usize);

/// Checks all functions; returns how many cases failed.
pub fn all(table: &'static Kernels, memory: &mut [u128]) -> u32 {
    let groups: [(&str, u64, Case); 5] = [
        ("linear_i8", 160, linear_i8),
        ("linear_f16", 40, linear_f16),
        ("rows", 160, rows),
        ("attention", 120, attention),
        ("wrong shapes", 100, hostile::case),
    ];
    let mut failures = 0;
    for (name, cases, case) in groups {
        let mut failed = 0;
        for seed in 0..cases {
            let (difference, taken) = case(table, memory, &mut Numbers::new(seed));
            let difference = match is_intact(memory, taken) {
                true => difference,
                false => Some("writes behind its memory"),
            };
            if let Some(what) = difference {
                println!("failed {} case {}: {}", name, seed, what);
                failed += 1;
            }
        }
        println!("check {} {} of {}", name, cases - failed, cases);
        failures += failed as u32;
    }
    failures
}

/// Whether bits are equal, where all NaNs count as equal.
fn equal(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

/// Inputs of a linear layer: mostly few.
fn inputs(numbers: &mut Numbers) -> usize {
    match numbers.bits() % 8 {
        0 => numbers.between(200, 980),
        _ => numbers.between(1, 200),
    }
}

fn linear_i8(table: &Kernels, memory: &mut [u128], numbers: &mut Numbers) -> (Option<&'static str>, usize) {
    let mut pool = Pool::new(memory);
    let (rows, inputs, outputs) = (numbers.between(1, 10), inputs(numbers), numbers.between(1, 50));
    let zero = numbers.bits().is_multiple_of(2);
    let layer = LinearNumbers::new(&mut pool, numbers, (rows, inputs, outputs), zero);
    let mut oracle = layer.packed(&mut pool, &PORTABLE);
    let mut packed = layer.packed(&mut pool, table);
    let mut difference = None;
    for epilogue in EPILOGUES {
        let (want, got) = (pool.take::<f32>(rows * outputs), pool.take::<f32>(rows * outputs));
        oracle.run(&PORTABLE, epilogue, want);
        packed.run(table, epilogue, got);
        if !equal(want, got) {
            difference = Some("linear_i8");
        }
    }
    let (want, got) = (pool.take::<f16>(rows * outputs), pool.take::<f16>(rows * outputs));
    let limit = if numbers.bits().is_multiple_of(4) { 65504.0 } else { 100.0 };
    numbers.f16s(want, limit);
    if numbers.bits().is_multiple_of(4) {
        // Including infinities and NaNs.
        want.iter_mut().for_each(|to| *to = f16::from_bits(numbers.bits() as u16));
    }
    got.copy_from_slice(want);
    oracle.run_residual(&PORTABLE, want);
    packed.run_residual(table, got);
    if want != got {
        difference = Some("linear_i8_residual");
    }
    (difference, pool.taken())
}

fn linear_f16(table: &Kernels, memory: &mut [u128], numbers: &mut Numbers) -> (Option<&'static str>, usize) {
    let mut pool = Pool::new(memory);
    let (rows, inputs, outputs) = (numbers.between(1, 7), numbers.between(1, 40), numbers.between(1, 50));
    let panels = pool.take::<f16>(outputs.next_multiple_of(16) * inputs);
    numbers.f16s(panels, 2.0);
    let (bias, x) = (pool.take::<f32>(outputs), pool.take::<f32>(rows * inputs));
    numbers.floats(bias, 1.0);
    numbers.floats(x, 4.0);
    let weights = LinearF16 { panels, bias, inputs, outputs };
    let mut difference = None;
    for epilogue in EPILOGUES {
        let (want, got) = (pool.take::<f32>(rows * outputs), pool.take::<f32>(rows * outputs));
        (PORTABLE.linear_f16)(x, &weights, epilogue, want);
        (table.linear_f16)(x, &weights, epilogue, got);
        if !equal(want, got) {
            difference = Some("linear_f16");
        }
    }
    let (want, got) = (pool.take::<f16>(rows * outputs), pool.take::<f16>(rows * outputs));
    numbers.f16s(want, 60000.0);
    got.copy_from_slice(want);
    (PORTABLE.linear_f16_residual)(x, &weights, want);
    (table.linear_f16_residual)(x, &weights, got);
    if want != got {
        difference = Some("linear_f16_residual");
    }
    (difference, pool.taken())
}

fn rows(table: &Kernels, memory: &mut [u128], numbers: &mut Numbers) -> (Option<&'static str>, usize) {
    let mut pool = Pool::new(memory);
    let (length, extra) = (numbers.between(1, 300), numbers.between(0, 33));
    let hostile = numbers.bits().is_multiple_of(2);
    let exponent = numbers.between(0, 40) as u32;
    let limit = f32::from_bits((127 - 20 + exponent) << 23);
    let count = numbers.between(1, 3);
    let (x, above) = (pool.take::<f32>(count * length), pool.take::<f32>(count * length));
    numbers.any_floats(x, limit, hostile);
    above.iter_mut().zip(&*x).for_each(|(to, x)| *to = if *x < -0.172 { -0.172 } else { *x });
    let mut difference = None;
    let shape = RowShape { width: length, pitch: length + extra };
    let (want, got) = (pool.take::<i8>(count * shape.pitch), pool.take::<i8>(count * shape.pitch));
    want.fill(1);
    let (mut scales, mut zeros) = ([[0.0; 3]; 2], [[0; 3]; 2]);
    (PORTABLE.quantize_rows)(x, shape, want, &mut scales[0]);
    (table.quantize_rows)(x, shape, got, &mut scales[1]);
    if scales[0].map(f32::to_bits) != scales[1].map(f32::to_bits) || want != got {
        difference = Some("quantize_rows");
    }
    for floor in [-0.172, 0.0] {
        (PORTABLE.quantize_rows_above)(above, shape, floor, want, &mut scales[0], &mut zeros[0]);
        (table.quantize_rows_above)(above, shape, floor, got, &mut scales[1], &mut zeros[1]);
        if scales[0].map(f32::to_bits) != scales[1].map(f32::to_bits) || zeros[0] != zeros[1] || want != got {
            difference = Some("quantize_rows_above");
        }
    }
    let tokens = pool.take::<f16>(length * (extra % 5 + 1));
    numbers.f16s(tokens, 50.0);
    let (gamma, beta) = (pool.take::<f32>(length), pool.take::<f32>(length));
    numbers.floats(gamma, 2.0);
    numbers.floats(beta, 2.0);
    let norm = NormWeights { gamma, beta, eps: 1e-6 };
    let (want, got) = (pool.take::<f32>(tokens.len()), pool.take::<f32>(tokens.len()));
    (PORTABLE.layer_norm)(tokens, &norm, want);
    (table.layer_norm)(tokens, &norm, got);
    if !equal(want, got) {
        difference = Some("layer_norm");
    }
    let (want, got) = (pool.take::<f16>(length), pool.take::<f16>(length));
    (PORTABLE.narrow)(x, want);
    (table.narrow)(x, got);
    if want != got {
        difference = Some("narrow");
    }
    // Every kind of f16.
    tokens.iter_mut().for_each(|to| *to = f16::from_bits(numbers.bits() as u16));
    let (want, got) = (pool.take::<f32>(tokens.len()), pool.take::<f32>(tokens.len()));
    // Beginning an odd number of elements further on gives the rows another alignment.
    for start in [0, extra % 3] {
        let tokens = tokens.get(start..).unwrap_or(&[]);
        (PORTABLE.widen)(tokens, want);
        (table.widen)(tokens, got);
        if !equal(want, got) {
            difference = Some("widen");
        }
    }
    (difference, pool.taken())
}

fn attention(table: &Kernels, memory: &mut [u128], numbers: &mut Numbers) -> (Option<&'static str>, usize) {
    let mut pool = Pool::new(memory);
    // Mostly many tokens and narrow heads.
    let (queries, tokens, head_dim) = match numbers.between(0, 8) {
        0 => (numbers.between(1, 6), numbers.between(1, 6), numbers.between(400, 1100)),
        _ => (numbers.between(1, 12), numbers.between(1, 120), numbers.between(1, 80)),
    };
    let (hostile, tile) = (numbers.bits().is_multiple_of(2), numbers.between(1, 9));
    let [q, k, v] = [queries, tokens, tokens].map(|rows| {
        let x = pool.take::<f32>(rows * head_dim);
        numbers.any_floats(x, 3.0, hostile);
        if head_dim > 80 {
            // The largest possible sums: all codes are 127. Scales differ, so that scores do.
            x.chunks_mut(head_dim).zip(1..).for_each(|(row, i)| row.fill(0.3 / i as f32));
        }
        &*x
    });
    let (want, got) = (pool.take::<f32>(queries * head_dim), pool.take::<f32>(queries * head_dim));
    Head::new(&mut pool, &PORTABLE, (q, k, v), head_dim, tile).run(&PORTABLE, want);
    Head::new(&mut pool, table, (q, k, v), head_dim, tile).run(table, got);
    let difference = (!equal(want, got)).then_some("attention");
    (difference, pool.taken())
}
