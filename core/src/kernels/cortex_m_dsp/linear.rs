//! int8 linear layers: blocks of four rows, then the remaining rows one by one.

use core::mem::offset_of;
use core::ptr;

use half::f16;

use crate::kernels::{Activation, Epilogue};
use crate::math::{GateTable, GATE_ERF, GATE_TANH, GATE_ZERO};
use crate::tensor::{self, rows_mut, LinearI8, PanelLayout, RowsI8};

/// Rows of a block.
pub(super) const BLOCK: usize = 4;

/// The largest number of inputs that are summed up at a time, a multiple of 32. The limit exists because 256
/// times a sum of paired weights must fit in 32 bits.
const CHUNK: usize = 480;

/// A label in the assembly, at which [`Product`] continues. Not a function to call.
pub(super) type Label = unsafe extern "C" fn();

extern "C" {
    fn vitreous_dsp_product(product: *mut Product);
    fn vitreous_dsp_pack(rows: *const i8, pitch: usize, to: *mut i32, groups: usize);
    fn vitreous_dsp_four_rows();
    fn vitreous_dsp_four_rows_from_middle();
    fn vitreous_dsp_one_row();
    fn vitreous_dsp_next_chunk();
    fn vitreous_dsp_after_chunks();
    fn vitreous_dsp_with_zero_points();
    fn vitreous_dsp_with_zero_points_after_chunks();
    fn vitreous_dsp_to_f32();
    fn vitreous_dsp_floats_to_f32();
    fn vitreous_dsp_relu_to_f32();
    fn vitreous_dsp_floats_relu_to_f32();
    fn vitreous_dsp_gelu_to_f32();
    fn vitreous_dsp_floats_gelu_to_f32();
    fn vitreous_dsp_to_residual();
    fn vitreous_dsp_floats_to_residual();
}

/// Arguments of the matrix product, in the layout that `product.s` expects.
#[repr(C)]
pub(super) struct Product {
    /// Activations, as pairs of 16-bit numbers.
    pub activations: *const i32,
    /// Initial values of the accumulators.
    zeros: [i32; 8],
    /// Scale of each column.
    pub scales: *const f32,
    /// Bias of each column.
    pub bias: *const f32,
    /// Address of each row's next two results, f32 or f16.
    pub out: [*mut u8; BLOCK],
    /// End of the first row's results.
    pub out_end: *mut u8,
    /// Inner loop.
    pub inner: Label,
    /// Epilogue of a panel's sums.
    pub epilogue: Label,
    /// Label that follows a second part of the inner loop, or the correction by zero points.
    pub then: Label,
    /// Label that follows the last chunk.
    pub after_chunks: Label,
    /// Bytes from sixteen inputs of a panel to its next sixteen, where other panels lie between them.
    pub block_step: usize,
    /// Panels of two columns, one after the other.
    pub panels: *const i8,
    /// End of the first chunk of activations.
    pub first_end: *const i32,
    pub row_scales: [f32; BLOCK],
    /// Largest score of each row.
    pub largest: [f32; BLOCK],
    pub zero_points: [i32; BLOCK],
    /// Sum of the weights of each column.
    pub sums: *const i32,
    /// The entry of 0 in the table of gates.
    pub gate: *const f16,
    pub activations_end: *const i32,
    /// Bytes of the activations of each chunk but the first.
    pub chunk: usize,
    /// Inner loop of these chunks.
    pub chunk_inner: Label,
}

const _: () = {
    const BASE: usize = 36;
    assert!(offset_of!(Product, zeros) == 4 && offset_of!(Product, scales) == BASE);
    assert!(offset_of!(Product, out_end) == BASE + 24 && offset_of!(Product, after_chunks) == BASE + 40);
    assert!(offset_of!(Product, first_end) == BASE + 52 && offset_of!(Product, largest) == BASE + 72);
    assert!(offset_of!(Product, sums) == BASE + 104 && offset_of!(Product, chunk_inner) == BASE + 120);
};

impl Product {
    /// With an inner loop and its epilogue, but nothing to read or write yet.
    #[inline(always)]
    pub fn new(inner: Label, epilogue: Label) -> Self {
        Self {
            activations: ptr::null(),
            zeros: [0; 8],
            scales: ptr::null(),
            bias: ptr::null(),
            out: [ptr::null_mut(); BLOCK],
            out_end: ptr::null_mut(),
            inner,
            epilogue,
            then: epilogue,
            after_chunks: epilogue,
            block_step: 0,
            panels: ptr::null(),
            first_end: ptr::null(),
            row_scales: [0.0; BLOCK],
            largest: [f32::MIN; BLOCK],
            zero_points: [0; BLOCK],
            sums: ptr::null(),
            gate: ptr::null(),
            activations_end: ptr::null(),
            chunk: 0,
            chunk_inner: inner,
        }
    }

    /// For paired weights and one or four rows of `inputs` inputs, in as many chunks as keep sums within 32
    /// bits. `sums` and `floats` are the epilogues for sums as the inner loop leaves them and for sums that
    /// are floats already. Also returns the number of inputs of the first chunk.
    #[inline(always)]
    pub fn new_in_chunks(rows: usize, inputs: usize, sums: Label, floats: Label) -> (Self, usize) {
        let first = inputs.saturating_sub(1) % CHUNK + 1;
        let inner = |inputs| if rows == BLOCK { four_rows(inputs) } else { vitreous_dsp_one_row };
        let mut product = Self::new(inner(first), sums);
        product.then = floats;
        product.after_chunks = vitreous_dsp_after_chunks;
        if first < inputs {
            product.chunk = CHUNK * rows / 2 * size_of::<i32>();
            product.chunk_inner = inner(CHUNK);
            product.epilogue = vitreous_dsp_next_chunk;
        }
        (product, first)
    }

    /// Sets the activations, whose first chunk has `first` words.
    #[inline(always)]
    pub fn read_from(&mut self, activations: &[i32], first: usize) {
        let all = activations.as_ptr_range();
        self.activations = all.start;
        self.first_end = all.start.wrapping_add(first);
        self.activations_end = all.end;
    }

    /// Sets where results go: to rows that begin at `out`, `stride` bytes apart, with `row` bytes in each.
    #[inline(always)]
    pub fn write_to(&mut self, out: *mut u8, stride: usize, row: usize) {
        self.out = [0, 1, 2, 3].map(|i| out.wrapping_add(i * stride));
        self.out_end = out.wrapping_add(row);
    }

    /// Computes columns up to `out_end`.
    ///
    /// # Safety
    /// `activations` are whole groups of sixteen inputs, at least one, for as many rows as `inner` takes.
    /// `out_end` is a whole number of pairs of results behind `out`, at least one; there are panels, and
    /// whatever the epilogue reads, for as many columns, and results may be written in each row.
    pub unsafe fn run(&mut self) {
        // SAFETY: as the caller promises.
        unsafe { vitreous_dsp_product(self) }
    }
}

/// The inner loop of four rows with `pitch` inputs.
fn four_rows(pitch: usize) -> Label {
    if pitch.is_multiple_of(32) {
        vitreous_dsp_four_rows
    } else {
        vitreous_dsp_four_rows_from_middle
    }
}

/// Unpacks four rows of `pitch` bytes, a multiple of 4, to 16-bit numbers. `None` if there are fewer rows or
/// the scratch is too short.
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
pub(super) fn pack_one<'s>(row: &[i8], to: &'s mut [i32]) -> &'s [i32] {
    for (pair, to) in row.as_chunks::<2>().0.iter().zip(to.iter_mut()) {
        *to = i32::from(pair[0]) & 0xffff | i32::from(pair[1]) << 16;
    }
    to
}

/// Epilogue of a panel's sums: its entry points in the assembly.
#[derive(Clone, Copy)]
struct EpilogueLabels {
    /// Entry for sums as the inner loop leaves them.
    sums: Label,
    /// Entry for sums that are floats already.
    floats: Label,
    /// The entry of 0 in the table of gates.
    gate: *const f16,
}

pub(super) fn linear_i8(
    rows: &RowsI8,
    weights: &LinearI8,
    epilogue: Epilogue,
    out: &mut [f32],
    scratch: &mut [i32],
) {
    let gelu = |table: &'static GateTable| EpilogueLabels {
        sums: vitreous_dsp_gelu_to_f32,
        floats: vitreous_dsp_floats_gelu_to_f32,
        // The table's second half begins with the gate of 0. The assembly also reads the entries before it.
        gate: table.entries().as_ptr().wrapping_add(GATE_ZERO),
    };
    let plain = |sums: Label, floats: Label| EpilogueLabels { sums, floats, gate: ptr::null() };
    let after = match epilogue {
        Epilogue::None => plain(vitreous_dsp_to_f32, vitreous_dsp_floats_to_f32),
        Epilogue::Activation(Activation::GeluErf) => gelu(&GATE_ERF),
        Epilogue::Activation(Activation::GeluTanh) => gelu(&GATE_TANH),
        Epilogue::Activation(Activation::Relu) => {
            plain(vitreous_dsp_relu_to_f32, vitreous_dsp_floats_relu_to_f32)
        }
    };
    let results = Results { bytes: bytemuck::cast_slice_mut(out), size: size_of::<f32>() };
    let _ = multiply(rows, weights, after, results, scratch);
}

pub(super) fn linear_i8_residual(
    rows: &RowsI8,
    weights: &LinearI8,
    residual: &mut [f16],
    scratch: &mut [i32],
) {
    let results = Results { bytes: bytemuck::cast_slice_mut(residual), size: size_of::<f16>() };
    let after = EpilogueLabels {
        sums: vitreous_dsp_to_residual,
        floats: vitreous_dsp_floats_to_residual,
        gate: ptr::null(),
    };
    let _ = multiply(rows, weights, after, results, scratch);
}

/// Rows of results, f32 or f16, as bytes, so that one function serves both.
struct Results<'a> {
    bytes: &'a mut [u8],
    /// Bytes of a result.
    size: usize,
}

/// Whether bytes are aligned for loads of several words, as those of a model and of an arena are.
pub(super) fn is_aligned(bytes: &[i8]) -> bool {
    bytes.as_ptr().cast::<u32>().is_aligned()
}

/// Multiplies as many rows as every view has; none if the weights have a layout that this table can't read.
#[inline(never)]
fn multiply(
    rows: &RowsI8,
    weights: &LinearI8,
    after: EpilogueLabels,
    results: Results,
    scratch: &mut [i32],
) -> Option<()> {
    let pitch = weights.pitch;
    if weights.layout != PanelLayout::PAIRED || rows.pitch != pitch || pitch == 0 || !pitch.is_multiple_of(16)
    {
        return None;
    }
    let row = weights.outputs.checked_mul(results.size)?;
    if row == 0 || !is_aligned(weights.panels) {
        return None;
    }
    let count = rows.scales.len().min(rows.data.len() / pitch).min(results.bytes.len() / row);
    let whole = count / BLOCK * BLOCK;
    let (data, rest) = rows.data.split_at_checked(whole.checked_mul(pitch)?)?;
    let (scales, rest_scales) = rows.scales.get(..count)?.split_at_checked(whole)?;
    let (zero_points, rest_zero_points) = rows.zero_points.split_at_checked(whole).unwrap_or_default();
    let (bytes, rest_bytes) = results.bytes.split_at_mut_checked(whole.checked_mul(row)?)?;
    let views = [(BLOCK, data, scales, zero_points), (1, rest, rest_scales, rest_zero_points)];
    for ((at_a_time, data, scales, zero_points), bytes) in views.into_iter().zip([bytes, rest_bytes]) {
        if !scales.is_empty() {
            let rows = RowsI8 { data, scales, zero_points, pitch };
            multiply_blocks(
                at_a_time,
                &rows,
                weights,
                after,
                Results { bytes, size: results.size },
                scratch,
            )?;
        }
    }
    Some(())
}

/// Multiplies whole blocks of `count` rows: four, or one.
#[inline(never)]
fn multiply_blocks(
    count: usize,
    rows: &RowsI8,
    weights: &LinearI8,
    after: EpilogueLabels,
    results: Results,
    scratch: &mut [i32],
) -> Option<()> {
    let (pitch, outputs, size) = (weights.pitch, weights.outputs, results.size);
    let words = |inputs: usize| inputs * count / 2;
    let packed = scratch.get_mut(..words(pitch))?;
    let (mut product, first_chunk) = Product::new_in_chunks(count, pitch, after.sums, after.floats);
    product.gate = after.gate;
    let has_zero_points = !rows.zero_points.is_empty() && !weights.sums.is_empty();
    if has_zero_points {
        product.after_chunks = vitreous_dsp_with_zero_points_after_chunks;
        if first_chunk == pitch {
            product.epilogue = vitreous_dsp_with_zero_points;
        }
    }
    let columns = Columns::new(weights, has_zero_points)?;
    let row = outputs.checked_mul(size)?;
    let blocks = tensor::rows(rows.data, count.checked_mul(pitch)?).zip(tensor::rows(rows.scales, count));
    let mut zero_points = tensor::rows(rows.zero_points, count);
    let out = rows_mut(results.bytes, row.checked_mul(count)?);
    for ((data, scales), out) in blocks.zip(out) {
        let block = match count {
            BLOCK => pack(data, pitch, packed)?,
            _ => pack_one(data, packed),
        };
        product.read_from(block, words(first_chunk));
        product.row_scales = to_block(scales);
        product.zero_points = to_block(zero_points.next().unwrap_or(&[]));
        columns.run(&mut product, Results { bytes: out, size });
    }
    Some(())
}

/// One number per row of the block; 0 for missing rows.
#[inline(always)]
fn to_block<T: Copy + Default>(values: &[T]) -> [T; BLOCK] {
    if let Ok(all) = values.try_into() {
        return all;
    }
    let mut rows = [T::default(); BLOCK];
    for (to, from) in rows.iter_mut().zip(values) {
        *to = *from;
    }
    rows
}

/// A layer's columns, after the lengths of all views have been checked.
struct Columns<'a> {
    outputs: usize,
    /// Outputs in whole panels.
    pairs: usize,
    panels: &'a [i8],
    /// The panel of the last output if their number is odd, else empty.
    last_panel: &'a [i8],
    scales: &'a [f32],
    bias: &'a [f32],
    /// Empty where there are no zero points.
    sums: &'a [i32],
}

impl<'a> Columns<'a> {
    fn new(weights: &LinearI8<'a>, has_zero_points: bool) -> Option<Self> {
        let (outputs, pitch) = (weights.outputs, weights.pitch);
        let pairs = outputs / 2 * 2;
        let (panels, last_panel) = weights.panels.split_at_checked(pairs.checked_mul(pitch)?)?;
        Some(Self {
            outputs,
            pairs,
            panels,
            last_panel: last_panel.get(..(outputs - pairs).checked_mul(pitch)?.checked_mul(2)?)?,
            scales: weights.scales.get(..outputs)?,
            bias: weights.bias.get(..outputs)?,
            sums: if has_zero_points { weights.sums.get(..outputs)? } else { &[] },
        })
    }

    /// All columns of a block; `out` has a row of results for each row of the block. A single row stands in
    /// for all four.
    #[inline(always)]
    fn run(&self, product: &mut Product, out: Results) {
        let Results { bytes, size } = out;
        if self.pairs > 0 {
            let row = self.outputs * size;
            let stride = if bytes.len() == row { 0 } else { row };
            product.panels = self.panels.as_ptr();
            (product.scales, product.bias) = (self.scales.as_ptr(), self.bias.as_ptr());
            product.sums = self.sums.as_ptr();
            product.write_to(bytes.as_mut_ptr(), stride, self.pairs * size);
            // SAFETY: there are panels, scales, biases and, where they are read, sums of `pairs` columns, and
            // as many rows of results, `row` bytes apart. With a single row the distance is 0, so all rows of
            // the block write the same results.
            unsafe { product.run() };
        }
        if self.outputs > self.pairs {
            self.run_last(product, Results { bytes, size });
        }
    }

    /// The last column of an odd number. It has a panel to itself, whose other half is dropped.
    #[inline(never)]
    fn run_last(&self, product: &mut Product, out: Results) {
        let Results { bytes, size } = out;
        let first = |values: &[f32]| [values.get(self.pairs).copied().unwrap_or(0.0), 0.0];
        let (scale, bias) = (first(self.scales), first(self.bias));
        let sum = [self.sums.get(self.pairs).copied().unwrap_or(0), 0];
        let row = self.outputs * size;
        let mut results = [0u32; 2 * BLOCK];
        let results: &mut [u8] = bytemuck::cast_slice_mut(&mut results);
        for (row, to) in tensor::rows(bytes, row).zip(rows_mut(results, 2 * size)) {
            copy(row.get(self.pairs * size..).unwrap_or(&[]), to, size);
        }
        product.panels = self.last_panel.as_ptr();
        (product.scales, product.bias, product.sums) = (scale.as_ptr(), bias.as_ptr(), sum.as_ptr());
        let stride = if bytes.len() == row { 0 } else { 2 * size };
        product.write_to(results.as_mut_ptr(), stride, 2 * size);
        // SAFETY: a panel, and two scales, biases, sums and results of each row.
        unsafe { product.run() };
        for (row, from) in rows_mut(bytes, row).zip(tensor::rows(results, 2 * size)) {
            copy(from, row.get_mut(self.pairs * size..).unwrap_or(&mut []), size);
        }
    }
}

/// Copies up to `count` bytes.
fn copy(from: &[u8], to: &mut [u8], count: usize) {
    to.iter_mut().zip(from).take(count).for_each(|(to, from)| *to = *from);
}
