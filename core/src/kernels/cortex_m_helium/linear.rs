//! int8 linear layers: blocks of 4 rows × 2 outputs (`linear.s`).

use core::ops::Range;
use core::ptr::null;
use core::slice;

use half::f16;

use super::linear_f16::{activate, add_residual, zero_entry};
use super::PORTABLE;
use crate::kernels::spec::CORTEX_M_HELIUM;
use crate::kernels::{Activation, Epilogue};
use crate::math::{GATE_ERF, GATE_TANH};
use crate::tensor::{self, LinearI8, RowsI8};

core::arch::global_asm!(".cpu cortex-m55", include_str!("linear.s"), options(raw));

/// Rows of a block.
const ROWS: usize = 4;
/// Outputs that a single row computes at a time.
const GROUP: usize = 8;
/// Inputs of a step.
const STEP: usize = 16;
/// Steps of a chunk in `linear.s`, and bytes of code of a step.
const CHUNK: usize = 12;
const STEP_CODE: usize = 56;

/// Arguments of `linear.s`, which copies the first 64 bytes to its stack.
#[repr(C)]
struct Block {
    rows: [*const i8; ROWS],
    /// Number of chunks behind the first step. The first chunk is entered `entry` bytes of code before its
    /// end.
    chunks: usize,
    entry: usize,
    scales: *const f32,
    bias: *const f32,
    sums: *const i32,
    weights_end: *const i8,
    weights: *const i8,
    /// The middle of GELU's table.
    gates: *const f16,
    /// Zero points, negated.
    zeros: [i32; ROWS],
    row_scales: [f32; ROWS],
    /// Where the next two results of each row go, minus what the code adds before it stores.
    out: [usize; ROWS],
}

/// Arguments of `linear.s` for a single row.
#[repr(C)]
struct Row {
    x: *const i8,
    steps: usize,
    weights: *const i8,
    /// Bytes of the weights of two outputs.
    pair_bytes: usize,
    scales: *const f32,
    bias: *const f32,
    out: *mut f32,
    sums: *const i32,
    row_scale: f32,
    /// Zero point, negated.
    zero: i32,
    pair_bytes_again: usize,
    groups: usize,
}

extern "C" {
    fn vitreous_helium_linear_row(row: *mut Row);
    fn vitreous_helium_linear_row_zero(row: *mut Row);
    fn vitreous_helium_linear(block: *const Block);
    fn vitreous_helium_linear_gelu(block: *const Block);
    fn vitreous_helium_linear_residual(block: *const Block);
    fn vitreous_helium_linear_wide(block: *const Block);
    fn vitreous_helium_linear_wide_gelu(block: *const Block);
    fn vitreous_helium_linear_wide_relu(block: *const Block);
    fn vitreous_helium_linear_wide_residual(block: *const Block);
    fn vitreous_helium_linear_wide_zero(block: *const Block);
    fn vitreous_helium_linear_wide_zero_residual(block: *const Block);
}

type Code = unsafe extern "C" fn(*const Block);

pub(super) fn linear_i8(x: &RowsI8, w: &LinearI8, epilogue: Epilogue, out: &mut [f32]) {
    let Some(shape) = Shape::of(x, w, out.len()) else {
        return (PORTABLE.linear_i8)(x, w, epilogue, out, &mut []);
    };
    let narrow = is_narrow(w);
    let gelu: Code = if narrow { vitreous_helium_linear_gelu } else { vitreous_helium_linear_wide_gelu };
    let (gates, code): (_, Code) = match epilogue {
        _ if shape.zero => (null(), vitreous_helium_linear_wide_zero),
        Epilogue::None if narrow => (null(), vitreous_helium_linear),
        Epilogue::None => (null(), vitreous_helium_linear_wide),
        Epilogue::Activation(Activation::GeluErf) => (zero_entry(&GATE_ERF), gelu),
        Epilogue::Activation(Activation::GeluTanh) => (zero_entry(&GATE_TANH), gelu),
        Epilogue::Activation(Activation::Relu) => (null(), vitreous_helium_linear_wide_relu),
    };
    let (blocks, groups) = shape.single_row(w);
    let to = out.as_mut_ptr();
    // SAFETY: `Shape::of` has seen that everything is as long as it takes; results are f32.
    unsafe {
        shape.run(x, w, 0..blocks, 0, code, to.cast(), 4, gates);
        if groups > 0 {
            shape.run_row(x, w, blocks, 0, groups, to.wrapping_add(blocks * w.outputs));
            shape.run(x, w, blocks..shape.rows, groups * GROUP, code, to.cast(), 4, gates);
        }
    }
    shape.last_output(x, w, |row, value| {
        if let Some(out) = out.get_mut(row * w.outputs + w.outputs - 1) {
            *out = value;
        }
    });
    let Epilogue::Activation(activation) = epilogue else { return };
    if shape.zero {
        return activate(activation, out);
    }
    let row = blocks * w.outputs;
    activate(activation, out.get_mut(row..row + groups * GROUP).unwrap_or(&mut []));
    if !w.outputs.is_multiple_of(2) {
        for last in tensor::rows_mut(out, w.outputs).filter_map(|row| row.last_mut()) {
            activate(activation, slice::from_mut(last));
        }
    }
}

pub(super) fn linear_i8_residual(x: &RowsI8, w: &LinearI8, residual: &mut [f16]) {
    // Two results of a row are stored as one word.
    let words = w.outputs.is_multiple_of(2) && residual.as_ptr().addr().is_multiple_of(4);
    let Some(shape) = Shape::of(x, w, residual.len()).filter(|_| words) else {
        return (PORTABLE.linear_i8_residual)(x, w, residual, &mut []);
    };
    let code: Code = match (shape.zero, is_narrow(w)) {
        (true, _) => vitreous_helium_linear_wide_zero_residual,
        (false, true) => vitreous_helium_linear_residual,
        (false, false) => vitreous_helium_linear_wide_residual,
    };
    let (blocks, groups) = shape.single_row(w);
    let to = residual.as_mut_ptr();
    // SAFETY: `Shape::of` has seen that everything is as long as it takes; results are f16.
    unsafe { shape.run(x, w, 0..blocks, 0, code, to.cast(), 2, null()) };
    let mut done = 0;
    while done < groups {
        const AT_ONCE: usize = 8;
        let mut sums = [0.0; AT_ONCE * GROUP];
        let count = (groups - done).min(AT_ONCE);
        let to = to.wrapping_add(blocks * w.outputs + done * GROUP);
        // SAFETY: as above; there is room for as many results.
        unsafe {
            shape.run_row(x, w, blocks, done * GROUP, count, sums.as_mut_ptr());
            add_residual(&sums, count, to);
        }
        done += count;
    }
    if groups > 0 {
        // SAFETY: as above.
        unsafe { shape.run(x, w, blocks..shape.rows, groups * GROUP, code, to.cast(), 2, null()) };
    }
}

/// Whether one chunk takes all steps behind the first, so that it needs no loop.
fn is_narrow(w: &LinearI8) -> bool {
    w.pitch <= CHUNK * STEP
}

/// A layer that `linear.s` can do.
struct Shape {
    rows: usize,
    zero: bool,
}

impl Shape {
    /// `None` if views disagree or the weights have another layout.
    fn of(x: &RowsI8, w: &LinearI8, out: usize) -> Option<Self> {
        let zero = !x.zero_points.is_empty();
        let rows = x.scales.len();
        let sound = w.layout == CORTEX_M_HELIUM.layout
            && x.pitch == w.pitch
            && w.pitch.is_multiple_of(STEP)
            && w.pitch > 0
            && w.outputs > 0
            && w.panels.len() >= w.layout.padded_outputs(w.outputs).checked_mul(w.pitch)?
            && w.scales.len() >= w.outputs
            && w.bias.len() >= w.outputs
            && (!zero || (w.sums.len() >= w.outputs && x.zero_points.len() >= rows))
            && x.data.len() >= rows.checked_mul(x.pitch)?
            && out >= rows.checked_mul(w.outputs)?;
        sound.then_some(Self { rows, zero })
    }

    /// The number of rows that are computed in blocks, and the number of output groups of a single remaining
    /// row.
    fn single_row(&self, w: &LinearI8) -> (usize, usize) {
        match self.rows % ROWS {
            1 if w.outputs >= GROUP => (self.rows - 1, w.outputs / GROUP),
            _ => (self.rows, 0),
        }
    }

    /// Computes `groups` groups of outputs of one row, from output `first` on, as consecutive f32.
    ///
    /// # Safety
    /// Views are those of [`Self::of`]; the row and the outputs exist, and `out` has room for them.
    unsafe fn run_row(
        &self,
        x: &RowsI8,
        w: &LinearI8,
        row: usize,
        first: usize,
        groups: usize,
        out: *mut f32,
    ) {
        let mut job = Row {
            x: x.data.as_ptr().wrapping_add(row * x.pitch),
            steps: w.pitch / STEP,
            weights: w.panels.as_ptr().wrapping_add(first * w.pitch),
            pair_bytes: 2 * w.pitch,
            scales: w.scales.as_ptr().wrapping_add(first),
            bias: w.bias.as_ptr().wrapping_add(first),
            out,
            sums: w.sums.as_ptr().wrapping_add(first),
            row_scale: x.scales.get(row).copied().unwrap_or(0.0),
            zero: x.zero_points.get(row).copied().unwrap_or(0).wrapping_neg(),
            pair_bytes_again: 2 * w.pitch,
            groups,
        };
        // SAFETY: the code reads the row and the groups' weights, scales, biases and sums.
        unsafe {
            if self.zero {
                vitreous_helium_linear_row_zero(&mut job);
            } else {
                vitreous_helium_linear_row(&mut job);
            }
        }
    }

    /// Computes rows in blocks, all pairs of outputs from `first_output` on, which is even.
    ///
    /// # Safety
    /// Views are those of [`Self::of`]; `out` holds `(rows, outputs)` elements of `bytes` bytes.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a block's shape and its place")]
    unsafe fn run(
        &self,
        x: &RowsI8,
        w: &LinearI8,
        rows: Range<usize>,
        first_output: usize,
        code: Code,
        out: *mut u8,
        bytes: usize,
        gates: *const f16,
    ) {
        let outputs = w.outputs / 2 * 2;
        if first_output >= outputs {
            return;
        }
        let steps = w.pitch / STEP - 1;
        let mut block = Block {
            rows: [x.data.as_ptr(); ROWS],
            chunks: steps / CHUNK + 1,
            entry: steps % CHUNK * STEP_CODE,
            scales: w.scales.as_ptr().wrapping_add(first_output),
            bias: w.bias.as_ptr().wrapping_add(first_output),
            sums: w.sums.as_ptr().wrapping_add(first_output),
            weights_end: w.panels.as_ptr().wrapping_add(outputs * w.pitch),
            weights: w.panels.as_ptr().wrapping_add(first_output * w.pitch),
            gates,
            zeros: [0; ROWS],
            row_scales: [0.0; ROWS],
            out: [0; ROWS],
        };
        let Range { start: mut first, end } = rows;
        while first < end {
            for r in 0..ROWS {
                // The last row stands in for missing rows of the last block: the same results are stored
                // again.
                let row = (first + r).min(end - 1);
                block.rows[r] = x.data.as_ptr().wrapping_add(row * x.pitch);
                block.out[r] =
                    (out.addr() + (row * w.outputs + first_output) * bytes).wrapping_sub(2 * bytes);
                // SAFETY: there are as many scales, and zero points if any, as rows.
                block.row_scales[r] = unsafe { *x.scales.get_unchecked(row) };
                if self.zero {
                    // SAFETY: as above.
                    block.zeros[r] = unsafe { *x.zero_points.get_unchecked(row) }.wrapping_neg();
                }
            }
            // SAFETY: the code reads the rows, the weights of all pairs and their scales, biases and sums,
            // and writes the pairs' results of the rows.
            unsafe { code(&block) };
            first += ROWS;
        }
    }

    /// The last of an odd number of outputs, which has a panel to itself.
    fn last_output(&self, x: &RowsI8, w: &LinearI8, mut store: impl FnMut(usize, f32)) {
        let last = w.outputs - 1;
        if last % 2 == 1 {
            return;
        }
        let (Some(scale), Some(bias)) = (w.scales.get(last), w.bias.get(last)) else { return };
        let panel = w.panels.get(last * w.pitch..).unwrap_or(&[]).chunks(2 * STEP);
        for (row, (codes, row_scale)) in tensor::rows(x.data, x.pitch).zip(x.scales).enumerate() {
            let products = codes.chunks(STEP).zip(panel.clone()).flat_map(|(x, w)| x.iter().zip(w));
            let dot = products.fold(0i32, |sum, (x, w)| sum.wrapping_add(*x as i32 * *w as i32));
            let zero = x.zero_points.get(row).copied().unwrap_or(0);
            let sum = w.sums.get(last).copied().unwrap_or(0);
            let acc = dot.wrapping_sub(zero.wrapping_mul(sum));
            store(row, acc as f32 * *scale * *row_scale + *bias);
        }
    }
}
