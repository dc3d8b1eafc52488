//! Executed instructions of each function, beside those of `portable`.

use half::f16;
use semihosting::println;
use vitreous::kernels::{Epilogue, Kernels, RowShape, PORTABLE};
use vitreous::models::vit::Activation;
use vitreous::tensor::{LinearF16, NormWeights};

use crate::clock::Clock;
use crate::numbers::{Numbers, Pool};
use crate::shapes::{Head, LinearNumbers};
use crate::BOARD;

/// Prints a line per function: its name, the unit, the number of units, and the instructions of the table and
/// of `portable`.
pub fn all(table: &'static Kernels, memory: &mut [u128]) {
    for (name, rows, inputs, outputs) in [
        ("linear 4x96x96", 4, 96, 96),
        ("linear 4x192x64", 4, 192, 64),
        ("linear 4x192x192", 4, 192, 192),
        ("linear 4x768x48", 4, 768, 48),
        ("linear 1x192x64", 1, 192, 64),
        ("conv 3x3 16 to 16", 4, 144, 16),
    ] {
        let count = |table: &Kernels, memory: &mut [u128]| {
            linear(table, memory, (rows, inputs, outputs), Epilogue::None)
        };
        line(name, "mac", rows * inputs * outputs, [table, &PORTABLE].map(|table| count(table, memory)));
    }
    let both = [table, &PORTABLE].map(|table| residual(table, memory, (4, 64, 192)));
    line("linear 4x64x192 into the residual", "mac", 4 * 64 * 192, both);
    for (name, activation) in [("gelu", Activation::GeluErf), ("relu", Activation::Relu)] {
        let shape = (4, 64, 192);
        let both = [table, &PORTABLE].map(|table| {
            linear(table, memory, shape, Epilogue::Activation(activation)).saturating_sub(linear(
                table,
                memory,
                shape,
                Epilogue::None,
            ))
        });
        line(name, "element", 4 * 192, both);
    }
    let both = [table, &PORTABLE].map(|table| linear_f16(table, memory));
    line("linear f16 4x64x64", "mac", 4 * 64 * 64, both);
    rows(table, memory);
    attention(table, memory);
}

fn line(name: &str, unit: &str, units: usize, [table, portable]: [u64; 2]) {
    println!("count {}|{}|{}|{}|{}", name, unit, units, table, portable);
}

/// Instructions of a call, minus those of reading the counter.
fn count(mut call: impl FnMut()) -> u64 {
    let timed = |call: &mut dyn FnMut()| {
        let mut clock = Clock::start();
        let before = clock.ticks();
        call();
        clock.ticks().wrapping_sub(before)
    };
    let empty = timed(&mut || ());
    BOARD.instructions(timed(&mut call).saturating_sub(empty))
}

fn linear(table: &Kernels, memory: &mut [u128], shape: (usize, usize, usize), epilogue: Epilogue) -> u64 {
    let mut pool = Pool::new(memory);
    let layer = LinearNumbers::new(&mut pool, &mut Numbers::new(1), shape, true);
    let mut layer = layer.packed(&mut pool, table);
    let out = pool.take::<f32>(shape.0 * shape.2);
    count(|| layer.run(table, epilogue, out))
}

fn residual(table: &Kernels, memory: &mut [u128], shape: (usize, usize, usize)) -> u64 {
    let mut pool = Pool::new(memory);
    let layer = LinearNumbers::new(&mut pool, &mut Numbers::new(1), shape, false);
    let mut layer = layer.packed(&mut pool, table);
    let out = pool.take::<f16>(shape.0 * shape.2);
    count(|| layer.run_residual(table, out))
}

fn linear_f16(table: &Kernels, memory: &mut [u128]) -> u64 {
    let (mut pool, mut numbers) = (Pool::new(memory), Numbers::new(2));
    let panels = pool.take::<f16>(64 * 64);
    numbers.f16s(panels, 2.0);
    let (bias, x, out) = (pool.take::<f32>(64), pool.take::<f32>(4 * 64), pool.take::<f32>(4 * 64));
    numbers.floats(x, 4.0);
    let weights = LinearF16 { panels, bias, inputs: 64, outputs: 64 };
    count(|| (table.linear_f16)(x, &weights, Epilogue::None, out))
}

fn rows(table: &Kernels, memory: &mut [u128]) {
    const WIDTH: usize = 192;
    let (mut pool, mut numbers) = (Pool::new(memory), Numbers::new(3));
    let (x, tokens) = (pool.take::<f32>(4 * WIDTH), pool.take::<f16>(4 * WIDTH));
    numbers.floats(x, 3.0);
    numbers.f16s(tokens, 3.0);
    let (gamma, beta) = (pool.take::<f32>(WIDTH), pool.take::<f32>(WIDTH));
    numbers.floats(gamma, 1.0);
    let norm = NormWeights { gamma, beta, eps: 1e-6 };
    let (codes, out) = (pool.take::<i8>(4 * WIDTH), pool.take::<f32>(4 * WIDTH));
    let both = [table, &PORTABLE].map(|table| count(|| (table.layer_norm)(tokens, &norm, out)));
    line("layer norm 4x192", "element", 4 * WIDTH, both);
    let (shape, scales, zeros) = (RowShape { width: WIDTH, pitch: WIDTH }, &mut [0.0; 4], &mut [0; 4]);
    let both = [table, &PORTABLE].map(|table| {
        count(|| {
            (table.quantize_rows)(x, shape, codes, scales);
        })
    });
    line("quantize rows 4x192", "element", 4 * WIDTH, both);
    x.iter_mut().for_each(|x| *x = x.max(-0.172));
    let both = [table, &PORTABLE].map(|table| {
        count(|| {
            (table.quantize_rows_above)(x, shape, -0.172, codes, scales, zeros);
        })
    });
    line("quantize rows with zero points 4x192", "element", 4 * WIDTH, both);
}

/// Attention's cost is that of the softmax plus two products. Measuring two widths of the head separates
/// them.
fn attention(table: &Kernels, memory: &mut [u128]) {
    const TOKENS: usize = 197;
    const QUERIES: usize = 4;
    let mut both = [[0; 2]; 2];
    for (head_dim, counts) in [32, 64].into_iter().zip(&mut both) {
        *counts = [table, &PORTABLE].map(|table| {
            let (mut pool, mut numbers) = (Pool::new(memory), Numbers::new(4));
            let [q, k, v] = [QUERIES, TOKENS, TOKENS].map(|rows| {
                let x = pool.take::<f32>(rows * head_dim);
                numbers.floats(x, 3.0);
                &*x
            });
            let mut head = Head::new(&mut pool, table, (q, k, v), head_dim, 4);
            let out = pool.take::<f32>(QUERIES * head_dim);
            count(|| head.run(table, out))
        });
    }
    let [narrow, wide] = both;
    let scores = QUERIES * TOKENS;
    line("attention 4x197x64", "score", scores, wide);
    line("of it products", "mac", scores * 128, [0, 1].map(|i| 2 * (wide[i] - narrow[i])));
    line("of it softmax", "score", scores, [0, 1].map(|i| (2 * narrow[i]).saturating_sub(wide[i])));
}
