//! Every table against `portable`, bit for bit, at ragged shapes and with every kind of number that a model
//! can hold.

#[cfg(unix)]
mod calls;
#[cfg(unix)]
mod guarded;

use std::vec;
use std::vec::Vec;

use half::f16;
use proptest::prelude::*;

use super::{
    default_kernels, default_spec, reads, supported_kernels, Attention, AttentionScratch, Epilogue, Kernels,
    LinearF16, LinearI8, NormWeights, RowShape, RowsI8, TableSpec, PORTABLE,
};
use crate::kernels::Activation;
use crate::tensor::{padded, PanelLayout, ALIGN};

#[test]
fn what_is_known_of_the_default_table_is_what_the_table_says() {
    assert_eq!(default_kernels().spec.name, default_spec().name);
    let PanelLayout { nr, kr } = default_spec().layout;
    assert!(reads(nr, kr) && reads(2, 1) == default_spec().reads(PanelLayout::PAIRED) && !reads(0, 0));
    let written = TableSpec::find(default_spec().name).expect("every table has a name");
    assert_eq!(written.layout, default_spec().layout);
}

const EPILOGUES: [Epilogue; 4] = [
    Epilogue::None,
    Epilogue::Activation(Activation::GeluErf),
    Epilogue::Activation(Activation::GeluTanh),
    Epilogue::Activation(Activation::Relu),
];

/// A reproducible stream of numbers (SplitMix64; Steele et al., OOPSLA 2014).
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn codes(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.bits() as i8).collect()
    }

    /// From −`limit` to `limit`.
    fn floats(&mut self, count: usize, limit: f32) -> Vec<f32> {
        (0..count).map(|_| (self.bits() as i32 as f32 / 2f32.powi(31)) * limit).collect()
    }

    /// Mostly ordinary numbers; some zeros of either sign, infinities, not-a-numbers.
    fn hostile(&mut self, count: usize, limit: f32) -> Vec<f32> {
        let mut values = self.floats(count, limit);
        for value in &mut values {
            match self.bits() % 24 {
                0 => *value = 0.0,
                1 => *value = -0.0,
                2 => *value = f32::INFINITY,
                3 => *value = f32::NEG_INFINITY,
                4 => *value = f32::NAN,
                5 => *value = 1e38,
                _ => {}
            }
        }
        values
    }

    fn scales(&mut self, count: usize) -> Vec<f32> {
        self.floats(count, 1.0).into_iter().map(|x| x.abs() * 0.1 + 1e-6).collect()
    }

    fn f16s(&mut self, count: usize, limit: f32) -> Vec<f16> {
        self.floats(count, limit).into_iter().map(f16::from_f32).collect()
    }
}

/// The bits of each number, with one pattern for every NaN.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect()
}

/// Codes as a table keeps them in memory, and back.
fn kept(table: &Kernels, codes: &[i8]) -> Vec<i8> {
    codes.iter().map(|code| code ^ table.spec.input_flip).collect()
}

/// The tables of this machine but `portable`, and those of other machines that any machine can run.
fn tables() -> impl Iterator<Item = &'static Kernels> {
    let of_others = [&super::soft_float::TABLE];
    supported_kernels().filter(|table| table.spec.name != PORTABLE.spec.name).chain(of_others)
}

/// Row-major weights as zero-padded panels.
fn panels(values: &[i8], outputs: usize, pitch: usize, layout: PanelLayout) -> Vec<i8> {
    let (nr, kr) = (layout.nr as usize, layout.kr as usize);
    let mut panels = vec![0; layout.padded_outputs(outputs) * pitch];
    for (i, value) in values.iter().enumerate() {
        let (n, k) = (i / pitch, i % pitch);
        let at = if nr == 1 { i } else { n / nr * nr * pitch + k / kr * nr * kr + n % nr * kr + k % kr };
        panels[at] = *value;
    }
    panels
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn linear_i8_equals_portable(
        rows in 1usize..20, inputs in 1usize..200, outputs in 1usize..150, zero in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut numbers = Numbers(seed);
        let pitch = padded(inputs);
        let row_major = numbers.codes(outputs * pitch);
        let (scales, bias) = (numbers.scales(outputs), numbers.floats(outputs, 3.0));
        // The sums need not be those of the weights: a hostile file's are not.
        let sums: Vec<i32> = (0..outputs).map(|_| numbers.bits() as i32 >> 9).collect();
        let data = numbers.codes(rows * pitch);
        let (x_scales, zeros) = (numbers.scales(rows), numbers.codes(rows));
        let zero_points: Vec<i32> = zeros.into_iter().map(i32::from).collect();
        let zero_points = if zero { zero_points.as_slice() } else { &[] };
        let x = RowsI8 { data: &data, scales: &x_scales, zero_points, pitch };
        let oracle = LinearI8 {
            panels: &row_major, scales: &scales, bias: &bias, sums: &sums, pitch, outputs,
            layout: PanelLayout::ROW_MAJOR,
        };
        let residual = numbers.f16s(rows * outputs, 100.0);
        for table in tables() {
            let mut scratch = vec![0; (table.spec.linear_scratch)(pitch)];
            let packed = panels(&row_major, outputs, pitch, table.spec.layout);
            let packed = LinearI8 { panels: &packed, layout: table.spec.layout, ..oracle };
            let data = kept(table, &data);
            let kept = RowsI8 { data: &data, ..x };
            for epilogue in EPILOGUES {
                let (mut want, mut got) = (vec![0.0; rows * outputs], vec![0.0; rows * outputs]);
                (PORTABLE.linear_i8)(&x, &oracle, epilogue, &mut want, &mut []);
                (table.linear_i8)(&kept, &packed, epilogue, &mut got, &mut scratch);
                prop_assert_eq!(bits(&want), bits(&got), "{} {:?}", table.spec.name, epilogue);
            }
            let (mut want, mut got) = (residual.clone(), residual.clone());
            (PORTABLE.linear_i8_residual)(&x, &oracle, &mut want, &mut []);
            (table.linear_i8_residual)(&kept, &packed, &mut got, &mut scratch);
            prop_assert_eq!(want, got, "{} residual", table.spec.name);
        }
    }

    #[test]
    fn linear_f16_equals_portable(
        rows in 1usize..15, inputs in 1usize..70, outputs in 1usize..70, seed in any::<u64>(),
    ) {
        let mut numbers = Numbers(seed);
        let panels = numbers.f16s(padded(outputs) * inputs, 2.0);
        let bias = numbers.floats(outputs, 1.0);
        let weights = LinearF16 { panels: &panels, bias: &bias, inputs, outputs };
        let x = numbers.floats(rows * inputs, 4.0);
        let residual = numbers.f16s(rows * outputs, 60000.0);
        for table in tables() {
            for epilogue in EPILOGUES {
                let (mut want, mut got) = (vec![0.0; rows * outputs], vec![0.0; rows * outputs]);
                (PORTABLE.linear_f16)(&x, &weights, epilogue, &mut want);
                (table.linear_f16)(&x, &weights, epilogue, &mut got);
                prop_assert_eq!(bits(&want), bits(&got), "{} {:?}", table.spec.name, epilogue);
            }
            let (mut want, mut got) = (residual.clone(), residual.clone());
            (PORTABLE.linear_f16_residual)(&x, &weights, &mut want);
            (table.linear_f16_residual)(&x, &weights, &mut got);
            prop_assert_eq!(want, got, "{} residual", table.spec.name);
        }
    }

    #[test]
    fn row_functions_equal_portable(
        length in 1usize..300, extra in 0usize..33, hostile in any::<bool>(), exponent in -20i32..20,
        seed in any::<u64>(),
    ) {
        let mut numbers = Numbers(seed);
        let limit = 2f32.powi(exponent);
        let count = numbers.bits() as usize % 40 + 1;
        let x = match hostile {
            true => numbers.hostile(count * length, limit),
            false => numbers.floats(count * length, limit),
        };
        let above: Vec<f32> = x.iter().map(|x| if *x < -0.172 { -0.172 } else { *x }).collect();
        let tokens = numbers.f16s(length * (extra % 7 + 1), 50.0);
        let (gamma, beta) = (numbers.floats(length, 2.0), numbers.floats(length, 2.0));
        let norm = NormWeights { gamma: &gamma, beta: &beta, eps: 1e-6 };
        for table in tables() {
            let shape = RowShape { width: length, pitch: length + extra };
            let quantize = |table: &Kernels, fill: i8| {
                let (mut codes, mut scales) = (vec![fill; count * shape.pitch], vec![0.0; count]);
                let done = (table.quantize_rows)(&x, shape, &mut codes, &mut scales);
                (done, kept(table, &codes), bits(&scales))
            };
            prop_assert_eq!(quantize(&PORTABLE, 1), quantize(table, 2), "{}", table.spec.name);
            for floor in [-0.172, 0.0] {
                let quantize = |table: &Kernels, fill: i8| {
                    let (mut codes, mut scales) = (vec![fill; count * shape.pitch], vec![0.0; count]);
                    let mut zeros = vec![0; count];
                    let done =
                        (table.quantize_rows_above)(&above, shape, floor, &mut codes, &mut scales,
                            &mut zeros);
                    (done, kept(table, &codes), bits(&scales), zeros)
                };
                prop_assert_eq!(quantize(&PORTABLE, 1), quantize(table, 2), "{}", table.spec.name);
            }
            let (mut want, mut got) = (vec![0.0; tokens.len()], vec![1.0; tokens.len()]);
            (PORTABLE.layer_norm)(&tokens, &norm, &mut want);
            (table.layer_norm)(&tokens, &norm, &mut got);
            prop_assert_eq!(bits(&want), bits(&got), "{} layer norm", table.spec.name);
            let (mut want, mut got) = (vec![0.0; tokens.len()], vec![1.0; tokens.len() + 1]);
            (PORTABLE.widen)(&tokens, &mut want);
            (table.widen)(&tokens, &mut got);
            prop_assert_eq!(bits(&want), bits(&got[..tokens.len()]), "{} widen", table.spec.name);
            let (mut want, mut got) = (vec![f16::ZERO; x.len()], vec![f16::ONE; x.len()]);
            (PORTABLE.narrow)(&x, &mut want);
            (table.narrow)(&x, &mut got);
            let bits = |halves: &[f16]| halves.iter().map(|half| half.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&want), bits(&got), "{} narrow", table.spec.name);
        }
    }

    #[test]
    fn attention_equals_portable(
        queries in 1usize..15, tokens in 1usize..150, head_dim in 1usize..100, tile in 1usize..9,
        hostile in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut numbers = Numbers(seed);
        let mut rows = |count: usize| {
            let count = count * head_dim;
            if hostile { numbers.hostile(count, 3.0) } else { numbers.floats(count, 3.0) }
        };
        let (q, k, v) = (rows(queries), rows(tokens), rows(tokens));
        let want = attention(&PORTABLE, &q, &k, &v, head_dim, tile);
        for table in tables() {
            let got = attention(table, &q, &k, &v, head_dim, tile);
            prop_assert_eq!(bits(&want), bits(&got), "{}", table.spec.name);
        }
    }
}

/// A table may compute what others look up, but its result must be every entry exactly.
#[test]
fn every_entry_of_gelu_is_the_oracles() {
    let steps = crate::math::GATE_STEPS;
    let entries = crate::math::GATE_ENTRIES as i32;
    // Both ends and the middle of each step, and a good deal beyond the table. All products are zero, so the
    // output is f(bias).
    let mut bias: Vec<f32> = (-entries..entries)
        .flat_map(|entry| [0.0, 0.5, 0.999].map(|part| (entry as f32 + part) / steps))
        .flat_map(|x| [x, x.next_up(), x.next_down()])
        .collect();
    bias.extend([0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, f32::MAX, f32::MIN]);
    let (outputs, pitch) = (bias.len(), padded(1));
    let (data, scales) = (vec![0; pitch], vec![1.0; outputs]);
    let x = RowsI8 { data: &data, scales: &[1.0], zero_points: &[], pitch };
    for table in tables() {
        let weights = |layout: PanelLayout| vec![0; layout.padded_outputs(outputs) * pitch];
        let (oracle, packed) = (weights(PanelLayout::ROW_MAJOR), weights(table.spec.layout));
        let linear = |panels, layout| LinearI8 {
            panels,
            scales: &scales,
            bias: &bias,
            sums: &[],
            pitch,
            outputs,
            layout,
        };
        let mut scratch = vec![0; (table.spec.linear_scratch)(pitch)];
        let data = kept(table, &data);
        let kept = RowsI8 { data: &data, ..x };
        for epilogue in EPILOGUES {
            let (mut want, mut got) = (vec![0.0; outputs], vec![0.0; outputs]);
            (PORTABLE.linear_i8)(&x, &linear(&oracle, PanelLayout::ROW_MAJOR), epilogue, &mut want, &mut []);
            (table.linear_i8)(&kept, &linear(&packed, table.spec.layout), epilogue, &mut got, &mut scratch);
            assert_eq!(bits(&want), bits(&got), "{} {epilogue:?}", table.spec.name);
        }
    }
}

#[test]
fn peaks_do_the_multiplications_that_they_count() {
    for table in tables() {
        let Some(peak) = table.peak else { continue };
        let (once, thrice) = ((peak.run)(1000), (peak.run)(3000));
        assert_eq!((once > 0, once.wrapping_mul(3)), (true, thrice), "{}", table.spec.name);
        let (start, iterations) = (std::time::Instant::now(), 100_000);
        core::hint::black_box((peak.run)(iterations));
        let rate = (peak.macs * iterations) as f64 / start.elapsed().as_secs_f64() / 1e9;
        std::println!("{}: {rate:.0} thousand million multiply-accumulates per second", table.spec.name);
    }
}

/// Attention with keys and values stored `tile` rows at a time, into memory that held something else before.
fn attention(kernels: &Kernels, q: &[f32], k: &[f32], v: &[f32], head_dim: usize, tile: usize) -> Vec<f32> {
    let (pitch, tokens) = (padded(head_dim), k.len() / head_dim);
    let memory = (kernels.spec.attention_memory)(tokens, head_dim);
    // i32 for alignment, as the arena has it.
    let used = |bytes: usize| vec![0x5a5a_a5a5_u32 as i32; bytes.div_ceil(4)];
    let (mut keys, mut values) = (used(memory.keys), used(memory.values));
    let (mut key_scales, mut value_scales) = (vec![0.0; tokens], vec![0.0; tokens]);
    for (i, (k, v)) in k.chunks(tile * head_dim).zip(v.chunks(tile * head_dim)).enumerate() {
        let (first, count) = (i * tile, k.len() / head_dim);
        // The caches begin with the block of the first token, as in the models.
        let start = first / ALIGN * ALIGN;
        let before = (kernels.spec.attention_memory)(start, head_dim);
        let keys = &mut bytemuck::cast_slice_mut(&mut keys)[before.keys..];
        let values = &mut bytemuck::cast_slice_mut(&mut values)[before.values..];
        (kernels.store_keys)(k, head_dim, first - start, keys, &mut key_scales[first..first + count]);
        (kernels.store_values)(v, head_dim, first - start, values, &mut value_scales[first..first + count]);
    }
    let largest = value_scales.iter().copied().fold(crate::quant::MIN_ROW_MAX, f32::max);
    value_scales.iter_mut().for_each(|scale| *scale /= largest);
    let count = q.len() / head_dim;
    let (mut codes, mut scales) = (vec![0i8; count * pitch], vec![0.0; count]);
    (PORTABLE.quantize_rows)(q, RowShape { width: head_dim, pitch }, &mut codes, &mut scales);
    let codes = kept(kernels, &codes);
    let (mut scores, mut weights, mut sums) = (used(memory.scores), used(memory.weights), used(memory.sums));
    let mut scratch = AttentionScratch {
        scores: bytemuck::cast_slice_mut(&mut scores),
        weights: bytemuck::cast_slice_mut(&mut weights),
        sums: &mut sums,
    };
    let attention = Attention {
        queries: RowsI8 { data: &codes, scales: &scales, zero_points: &[], pitch },
        head_dim,
        factor: core::f32::consts::LOG2_E * crate::math::inverse_sqrt(head_dim as f32),
        keys: bytemuck::cast_slice(&keys),
        key_scales: &key_scales,
        values: bytemuck::cast_slice(&values),
        relative_scales: &value_scales,
        value_scale: largest,
    };
    let mut out = vec![f32::NAN; count * head_dim];
    (kernels.attend)(&attention, &mut scratch, &mut out);
    out
}

/// Weights of −128, which a converter never makes, times activations of −128: the largest products that
/// exist.
#[test]
fn the_largest_products_equal_portable() {
    let (rows, pitch, outputs) = (4, 32, 5);
    let (data, weights) = (vec![i8::MIN; rows * pitch], vec![i8::MIN; outputs * pitch]);
    let x = RowsI8 { data: &data, scales: &[0.5; 4], zero_points: &[], pitch };
    let layout = PanelLayout::ROW_MAJOR;
    let (scales, bias) = ([0.25; 5], [0.0; 5]);
    let oracle =
        LinearI8 { panels: &weights, scales: &scales, bias: &bias, sums: &[], pitch, outputs, layout };
    let mut want = vec![0.0; rows * outputs];
    (PORTABLE.linear_i8)(&x, &oracle, Epilogue::None, &mut want, &mut []);
    // Paired panels can't hold such weights.
    for table in tables().filter(|table| !table.spec.layout.is_paired()) {
        let layout = table.spec.layout;
        let packed = panels(&weights, outputs, pitch, layout);
        let packed = LinearI8 { panels: &packed, layout, ..oracle };
        let mut scratch = vec![0; (table.spec.linear_scratch)(pitch)];
        let mut got = vec![0.0; rows * outputs];
        let data = kept(table, &data);
        let x = RowsI8 { data: &data, ..x };
        (table.linear_i8)(&x, &packed, Epilogue::None, &mut got, &mut scratch);
        assert_eq!(want, got, "{}", table.spec.name);
    }
}
