//! int8 linear layers: blocks of four rows, and what is left row by row.

use core::mem::offset_of;
use core::ptr;

use half::f16;

use crate::kernels::Epilogue;
use crate::math::{relu, GATE_ERF, GATE_TANH, GATE_ZERO};
use crate::models::vit::Activation;
use crate::tensor::{self, rows_mut, LinearI8, PanelLayout, RowsI8};

/// Rows of a block.
pub(super) const BLOCK: usize = 4;

/// Most inputs that are summed up at a time, a multiple of 32: 256 times a sum of paired weights must fit in 32 bits.
const CHUNK: usize = 480;

/// A piece of the assembly: where [`Product`] goes on. Not to be called.
pub(super) type Label = unsafe extern "C" fn();

extern "C" {
    fn vitreous_dsp_product(product: *mut Product);
    fn vitreous_dsp_pack(rows: *const i8, pitch: usize, to: *mut i32, groups: usize);
    fn vitreous_dsp_four_rows();
    fn vitreous_dsp_four_rows_from_middle();
    fn vitreous_dsp_one_row();
    fn vitreous_dsp_next_chunk();
    fn vitreous_dsp_with_zero_points();
    fn vitreous_dsp_to_f32();
    fn vitreous_dsp_gelu_to_f32();
    fn vitreous_dsp_to_residual();
}

/// Arguments of the matrix product, as `product.s` knows them.
#[repr(C)]
pub(super) struct Product {
    /// What accumulators begin with.
    pub zeros: [i32; 8],
    /// Activations: pairs of 16 bits.
    pub activations: *const i32,
    /// Inner loop.
    pub inner: Label,
    /// What becomes of a panel's sums.
    pub epilogue: Label,
    pub activations_end: *const i32,
    /// Panels of two columns, one after the other.
    pub panels: *const i8,
    /// Scale of each column.
    pub scales: *const f32,
    /// Bias of each column.
    pub bias: *const f32,
    /// Two results of the first row, f32 or f16.
    pub out: *mut u8,
    /// Bytes from a row of results to the next.
    pub stride: usize,
    /// End of the first row's results.
    pub out_end: *mut u8,
    pub row_scales: [f32; BLOCK],
    /// Largest score of each row.
    pub largest: [f32; BLOCK],
    pub zero_points: [i32; BLOCK],
    /// Sum of the weights of each column.
    pub sums: *const i32,
    /// What follows the correction by zero points.
    pub then: Label,
    /// From sixteen inputs of a panel to the next, where other panels lie between them.
    pub block_step: usize,
    /// Table of gates, its entry of 0.
    pub gate: *const f16,
    /// End of the first chunk of activations.
    pub first_end: *const i32,
    /// Bytes of the activations of each other chunk.
    pub chunk: usize,
    /// Their inner loop.
    pub chunk_inner: Label,
    /// What follows the last chunk.
    pub after_chunks: Label,
}

const _: () = {
    assert!(offset_of!(Product, activations) == 32 && offset_of!(Product, panels) == 48);
    assert!(offset_of!(Product, out_end) == 68 && offset_of!(Product, zero_points) == 104);
    assert!(offset_of!(Product, sums) == 120 && offset_of!(Product, gate) == 132);
    assert!(offset_of!(Product, after_chunks) == 148);
};

impl Product {
    /// Four rows, nothing else.
    #[inline(always)]
    pub fn new(activations: &[i32], inner: Label, epilogue: Label) -> Self {
        let activations = activations.as_ptr_range();
        Self {
            zeros: [0; 8],
            activations: activations.start,
            inner,
            epilogue,
            activations_end: activations.end,
            panels: ptr::null(),
            scales: ptr::null(),
            bias: ptr::null(),
            out: ptr::null_mut(),
            stride: 0,
            out_end: ptr::null_mut(),
            row_scales: [0.0; BLOCK],
            largest: [f32::MIN; BLOCK],
            zero_points: [0; BLOCK],
            sums: ptr::null(),
            then: epilogue,
            block_step: 0,
            gate: ptr::null(),
            first_end: activations.end,
            chunk: 0,
            chunk_inner: inner,
            after_chunks: epilogue,
        }
    }

    /// Computes columns up to `out_end`.
    ///
    /// # Safety
    /// `activations` are whole groups of sixteen inputs, at least one, for as many rows as `inner` takes. `out_end` is a whole number of
    /// pairs of results behind `out`, at least one; there are panels, and whatever the epilogue reads, for as many columns, and results
    /// may be written in each row.
    pub unsafe fn run(&mut self) {
        vitreous_dsp_product(self)
    }
}

/// The inner loop of four rows with a number of inputs.
pub(super) fn four_rows(pitch: usize) -> Label {
    if pitch % 32 == 0 {
        vitreous_dsp_four_rows
    } else {
        vitreous_dsp_four_rows_from_middle
    }
}

/// Unpacks four rows of bytes, `pitch` apart and as long, a multiple of 4; fails where there are fewer or the room is too small.
pub(super) fn pack<'s>(rows: &[i8], pitch: usize, scratch: &'s mut [i32]) -> Option<&'s [i32]> {
    let to = scratch.get_mut(..pitch.checked_mul(2)?)?;
    let rows = rows.get(..pitch.checked_mul(BLOCK)?)?;
    if pitch < 4 {
        return None;
    }
    // SAFETY: four rows of `pitch` bytes are read, `pitch / 4` groups of 8 words are written.
    unsafe { vitreous_dsp_pack(rows.as_ptr(), pitch, to.as_mut_ptr(), pitch / 4) };
    Some(to)
}

/// Unpacks one row.
fn pack_one<'s>(row: &[i8], scratch: &'s mut [i32]) -> Option<&'s [i32]> {
    let to = scratch.get_mut(..row.len() / 2)?;
    for (pair, to) in row.as_chunks::<2>().0.iter().zip(to.iter_mut()) {
        *to = i32::from(pair[0]) & 0xffff | i32::from(pair[1]) << 16;
    }
    Some(to)
}

pub(super) fn linear_i8(
    rows: &RowsI8,
    weights: &LinearI8,
    epilogue: Epilogue,
    out: &mut [f32],
    scratch: &mut [i32],
) {
    let gates = match epilogue {
        Epilogue::Activation(Activation::GeluErf) => Some(&GATE_ERF),
        Epilogue::Activation(Activation::GeluTanh) => Some(&GATE_TANH),
        _ => None,
    };
    // The table's second half begins with the gate of 0; entries before it are read as well.
    let gate = gates.map_or(ptr::null(), |table| table.entries().as_ptr().wrapping_add(GATE_ZERO));
    let label = if gates.is_some() { vitreous_dsp_gelu_to_f32 } else { vitreous_dsp_to_f32 as Label };
    let results = Results { bytes: bytemuck::cast_slice_mut(out), size: size_of::<f32>() };
    let _ = multiply(rows, weights, (label, gate), results, scratch);
    if epilogue == Epilogue::Activation(Activation::Relu) {
        out.iter_mut().for_each(|x| *x = relu(*x));
    }
}

pub(super) fn linear_i8_residual(
    rows: &RowsI8,
    weights: &LinearI8,
    residual: &mut [f16],
    scratch: &mut [i32],
) {
    let results = Results { bytes: bytemuck::cast_slice_mut(residual), size: size_of::<f16>() };
    let _ = multiply(rows, weights, (vitreous_dsp_to_residual, ptr::null()), results, scratch);
}

/// Rows of results, f32 or f16: one function does for both.
struct Results<'a> {
    bytes: &'a mut [u8],
    /// Bytes of a result.
    size: usize,
}

/// All rows; nothing more from the first view on that is too short.
#[inline(never)]
fn multiply(
    rows: &RowsI8,
    weights: &LinearI8,
    (epilogue, gate): (Label, *const f16),
    results: Results,
    scratch: &mut [i32],
) -> Option<()> {
    let (pitch, outputs) = (weights.pitch, weights.outputs);
    if weights.layout != PanelLayout::PAIRED || rows.pitch != pitch || pitch == 0 || pitch % 16 != 0 {
        return None;
    }
    let Results { bytes: mut out, size } = results;
    let row = outputs.checked_mul(size)?;
    let (mut data, mut scales, mut zero_points) = (rows.data, rows.scales, rows.zero_points);
    let first_chunk = (pitch - 1) % CHUNK + 1;
    while !scales.is_empty() {
        let count = if scales.len() < BLOCK { 1 } else { BLOCK };
        let (block, inner, chunk_inner) = if count == 1 {
            let one: Label = vitreous_dsp_one_row;
            (pack_one(data.get(..pitch)?, scratch)?, one, one)
        } else {
            (pack(data, pitch, scratch)?, four_rows(first_chunk), four_rows(CHUNK))
        };
        let mut product = Product::new(block, inner, epilogue);
        product.gate = gate;
        product.row_scales = to_block(scales);
        product.stride = if count == 1 { 0 } else { row };
        if !zero_points.is_empty() && !weights.sums.is_empty() {
            product.epilogue = vitreous_dsp_with_zero_points;
            product.after_chunks = product.epilogue;
            product.zero_points = to_block(zero_points);
            // Until the columns' own sums stand there.
            product.sums = weights.sums.as_ptr();
        }
        if first_chunk < pitch {
            let words = |inputs: usize| inputs * count / 2;
            product.first_end = block.get(..words(first_chunk))?.as_ptr_range().end;
            product.chunk = words(CHUNK) * size_of::<i32>();
            product.chunk_inner = chunk_inner;
            product.epilogue = vitreous_dsp_next_chunk;
        }
        let (bytes, rest) = out.split_at_mut_checked(row.checked_mul(count)?)?;
        columns(&mut product, weights, Results { bytes, size })?;
        data = data.get(pitch.checked_mul(count)?..)?;
        scales = scales.get(count..)?;
        zero_points = zero_points.get(count..).unwrap_or(&[]);
        out = rest;
    }
    Some(())
}

/// One number per row; 0 for rows that are not there.
fn to_block<T: Copy + Default>(values: &[T]) -> [T; BLOCK] {
    let mut rows = [T::default(); BLOCK];
    for (to, from) in rows.iter_mut().zip(values) {
        *to = *from;
    }
    rows
}

/// All columns of one row or a block, `out` being as many rows of results.
#[inline(always)]
fn columns(product: &mut Product, weights: &LinearI8, out: Results) -> Option<()> {
    let (outputs, size) = (weights.outputs, out.size);
    let pairs = outputs / 2 * 2;
    let (panels, last_panel) = weights.panels.split_at_checked(pairs.checked_mul(weights.pitch)?)?;
    let (scales, last_scale) = weights.scales.get(..outputs)?.split_at_checked(pairs)?;
    let (bias, last_bias) = weights.bias.get(..outputs)?.split_at_checked(pairs)?;
    let (sums, last_sum) = match product.sums.is_null() {
        true => Default::default(),
        false => weights.sums.get(..outputs)?.split_at_checked(pairs)?,
    };
    product.panels = panels.as_ptr();
    product.scales = scales.as_ptr();
    product.bias = bias.as_ptr();
    product.sums = sums.as_ptr();
    product.out = out.bytes.as_mut_ptr();
    product.out_end = product.out.wrapping_add(pairs * size);
    if pairs > 0 {
        // SAFETY: there are panels, scales, biases and, where they are read, sums of `pairs` columns, and as many rows of results,
        // `outputs` apart; a single row's are written by all rows of the block, whose distance is 0.
        unsafe { product.run() };
    }
    if outputs > pairs {
        // The last column is half a panel, whose other half is thrown away.
        let _ = last_panel.get(..weights.pitch.checked_mul(2)?)?;
        let last = |values: &[f32]| [values.first().copied().unwrap_or(0.0), 0.0];
        let (scale, bias) = (last(last_scale), last(last_bias));
        let sum = [last_sum.first().copied().unwrap_or(0), 0];
        let mut results = [0u32; 2 * BLOCK];
        let results: &mut [u8] = bytemuck::cast_slice_mut(&mut results);
        let column = |row: usize| (row + 1) * outputs * size - size;
        for (row, to) in rows_mut(results, 2 * size).enumerate() {
            copy(out.bytes.get(column(row)..).unwrap_or(&[]), to, size);
        }
        product.panels = last_panel.as_ptr();
        (product.scales, product.bias, product.sums) = (scale.as_ptr(), bias.as_ptr(), sum.as_ptr());
        product.out = results.as_mut_ptr();
        product.out_end = product.out.wrapping_add(2 * size);
        product.stride = if product.stride == 0 { 0 } else { 2 * size };
        // SAFETY: a panel, and two scales, biases, sums and results of each row.
        unsafe { product.run() };
        for (row, from) in tensor::rows(results, 2 * size).enumerate() {
            copy(from, out.bytes.get_mut(column(row)..).unwrap_or(&mut []), size);
        }
    }
    Some(())
}

/// Copies up to `count` bytes.
fn copy(from: &[u8], to: &mut [u8], count: usize) {
    to.iter_mut().zip(from).take(count).for_each(|(to, from)| *to = *from);
}
