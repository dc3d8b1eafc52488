//! A linear layer and an attention head of any shape, in the order of any table.

use half::f16;
use vitreous::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape, PORTABLE};
use vitreous::tensor::{padded, LinearI8, PanelLayout, RowsI8};

use crate::numbers::{Numbers, Pool};

/// An int8 linear layer with its inputs.
pub struct LinearCase<'a> {
    pub rows: RowsI8<'a>,
    pub weights: LinearI8<'a>,
    scratch: &'a mut [i32],
}

/// Numbers of a linear layer, not yet in a table's order.
pub struct LinearNumbers<'a> {
    pub outputs: usize,
    pub pitch: usize,
    row_major: &'a [i8],
    scales: &'a [f32],
    bias: &'a [f32],
    sums: &'a [i32],
    data: &'a [i8],
    x_scales: &'a [f32],
    zero_points: &'a [i32],
}

impl<'a> LinearNumbers<'a> {
    pub fn new(
        pool: &mut Pool<'a>,
        numbers: &mut Numbers,
        (rows, inputs, outputs): (usize, usize, usize),
        zero: bool,
    ) -> Self {
        let pitch = padded(inputs);
        let row_major = pool.take::<i8>(outputs * pitch);
        numbers.codes(row_major);
        // As the converter computes them.
        row_major.iter_mut().for_each(|weight| *weight = (*weight).max(-127));
        let (scales, bias) = (pool.take(outputs), pool.take(outputs));
        numbers.scales(scales);
        numbers.floats(bias, 3.0);
        let sums = pool.take::<i32>(outputs);
        // The sums need not be those of the weights: a hostile file's are not.
        sums.iter_mut().for_each(|sum| *sum = numbers.bits() as i32 >> 9);
        let data = pool.take::<i8>(rows * pitch);
        numbers.codes(data);
        let x_scales = pool.take(rows);
        numbers.scales(x_scales);
        let zero_points = pool.take::<i32>(if zero { rows } else { 0 });
        zero_points.iter_mut().for_each(|z| *z = i32::from(numbers.bits() as i8));
        Self { outputs, pitch, row_major, scales, bias, sums, data, x_scales, zero_points }
    }

    /// The layer in the order of a table.
    pub fn packed(&self, pool: &mut Pool<'a>, table: &Kernels) -> LinearCase<'a> {
        let layout = table.spec.layout;
        let panels = pool.take::<i8>(layout.padded_outputs(self.outputs) * self.pitch);
        for (i, value) in self.row_major.iter().enumerate() {
            panels[place(layout, self.pitch, i)] = *value;
        }
        if layout.is_paired() {
            for pair in panels.chunks_exact_mut(2).filter(|pair| pair[0] < 0) {
                pair[1] = pair[1].wrapping_sub(1);
            }
        }
        let zero = !self.zero_points.is_empty();
        LinearCase {
            rows: RowsI8 {
                data: self.data,
                scales: self.x_scales,
                zero_points: self.zero_points,
                pitch: self.pitch,
            },
            weights: LinearI8 {
                panels,
                scales: self.scales,
                bias: self.bias,
                sums: if zero { self.sums } else { &[] },
                pitch: self.pitch,
                outputs: self.outputs,
                layout,
            },
            scratch: pool.take((table.spec.linear_scratch)(self.pitch)),
        }
    }
}

impl LinearCase<'_> {
    pub fn run(&mut self, table: &Kernels, epilogue: Epilogue, out: &mut [f32]) {
        (table.linear_i8)(&self.rows, &self.weights, epilogue, out, self.scratch);
    }

    pub fn run_residual(&mut self, table: &Kernels, out: &mut [f16]) {
        (table.linear_i8_residual)(&self.rows, &self.weights, out, self.scratch);
    }
}

/// The position in panels of the weight that is number `i` row by row.
fn place(layout: PanelLayout, pitch: usize, i: usize) -> usize {
    let (nr, kr) = (layout.nr as usize, layout.kr as usize);
    let (n, k) = (i / pitch, i % pitch);
    if nr == 1 {
        return i;
    }
    n / nr * nr * pitch + k / kr * nr * kr + n % nr * kr + k % kr
}

/// Keys, values and queries of a head, in the order of a table.
pub struct Head<'a> {
    pub attention: Attention<'a>,
    pub scratch: AttentionScratch<'a>,
}

impl<'a> Head<'a> {
    /// Keys `k` and values `v`, `(tokens, head_dim)`, stored `tile` rows at a time; queries `q`.
    pub fn new(
        pool: &mut Pool<'a>,
        table: &Kernels,
        (q, k, v): (&[f32], &[f32], &[f32]),
        head_dim: usize,
        tile: usize,
    ) -> Self {
        let (pitch, tokens, count) = (padded(head_dim), k.len() / head_dim, q.len() / head_dim);
        let memory = (table.spec.attention_memory)(tokens, head_dim);
        let (keys, values) = (pool.take::<i8>(memory.keys), pool.take::<i8>(memory.values));
        let (key_scales, value_scales) = (pool.take::<f32>(tokens), pool.take::<f32>(tokens));
        for (i, (k, v)) in k.chunks(tile * head_dim).zip(v.chunks(tile * head_dim)).enumerate() {
            let (first, rows) = (i * tile, k.len() / head_dim);
            (table.store_keys)(k, head_dim, first, keys, &mut key_scales[first..first + rows]);
            (table.store_values)(v, head_dim, first, values, &mut value_scales[first..first + rows]);
        }
        let largest = value_scales.iter().fold(9.094_947e-13, |m: f32, s| if *s > m { *s } else { m });
        value_scales.iter_mut().for_each(|scale| *scale /= largest);
        let (codes, scales) = (pool.take::<i8>(count * pitch), pool.take::<f32>(count));
        (PORTABLE.quantize_rows)(q, RowShape { width: head_dim, pitch }, codes, scales);
        let scratch = AttentionScratch {
            scores: pool.take(memory.scores / 4),
            weights: pool.take(memory.weights / 2),
            sums: pool.take(memory.sums / 4),
        };
        let factor = core::f32::consts::LOG2_E * vitreous::math::inverse_sqrt(head_dim as f32);
        let attention = Attention {
            queries: RowsI8 { data: codes, scales, zero_points: &[], pitch },
            head_dim,
            factor,
            keys,
            key_scales,
            values,
            relative_scales: value_scales,
            value_scale: largest,
        };
        Self { attention, scratch }
    }

    pub fn run(&mut self, table: &Kernels, out: &mut [f32]) {
        (table.attend)(&self.attention, &mut self.scratch, out);
    }
}
