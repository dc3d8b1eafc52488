//! Convolution with zero padding, one output row at a time, on the kernels of linear layers.
//!
//! The rows that an output row sees are quantized together, with one scale; each output pixel's neighbourhood
//! is then a row of a linear layer, its inputs ordered (row, column, channel).

use half::f16;

use crate::arena::{cast_mut, part_mut};
use crate::error::Error;
use crate::kernels::{Epilogue, Kernels, RowShape};
use crate::ops::{apply, apply_residual, Operand};
use crate::tensor::{rows, rows_mut, Linear, RowsI8};

/// A convolution: `kernel × kernel`, stride 1, zero padding that keeps the size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv<'a> {
    /// `(outputs, kernel·kernel·inputs)`.
    pub linear: Linear<'a>,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
}

/// Memory for one output row.
pub(crate) struct ConvScratch<'a> {
    /// The rows that it sees: `(kernel, width, inputs)` f32.
    pub band: &'a mut [u8],
    /// The same, quantized.
    pub codes: &'a mut [u8],
    /// Neighbourhoods of a tile of pixels: `(tile, pitch)` i8, or `(tile, kernel·kernel·inputs)` f32 for f16
    /// weights.
    pub neighbourhoods: &'a mut [u8],
    /// `(tile)` f32.
    pub scales: &'a mut [u8],
    /// `(tile)` i32.
    pub zero_points: &'a mut [u8],
    /// `(tile, outputs)` f32.
    pub out: &'a mut [u8],
    /// Of the linear layer.
    pub linear: &'a mut [u8],
}

/// What a convolution's inputs are known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// Of either sign.
    Signed,
    /// Never below zero: quantized with a zero point, so that all 256 codes are used.
    NotNegative,
}

/// Gives an input row `(width, inputs)` as floats.
pub(crate) type ReadRow<'a> = dyn FnMut(usize, &mut [f32]) -> Result<(), Error> + 'a;

/// Takes the results of the pixels from the first argument on, `(pixels, outputs)`.
pub(crate) type WritePixels<'a> = dyn FnMut(usize, &[f32]) -> Result<(), Error> + 'a;

/// What becomes of an output row.
pub(crate) enum Output<'a> {
    /// Results behind the epilogue are handed over.
    Write(Epilogue, &'a mut WritePixels<'a>),
    /// They are added to this row, `(width, outputs)`, as into the residual stream.
    Add(&'a mut [f16]),
}

/// Computes output row `y` of an image `(height, width)`, `tile` pixels at a time.
#[allow(clippy::too_many_arguments, reason = "what a convolution needs; every call names them")]
pub(crate) fn conv_row(
    kernels: &Kernels,
    conv: &Conv,
    inputs: Inputs,
    (height, width): (usize, usize),
    (y, tile): (usize, usize),
    scratch: ConvScratch,
    read: &mut ReadRow,
    mut output: Output,
) -> Result<(), Error> {
    let row = width * conv.inputs;
    let taps = conv.kernel * conv.kernel * conv.inputs;
    let elements = conv.kernel * row;
    let band = cast_mut::<f32>(scratch.band)?.get_mut(..elements).ok_or(Error::Internal(50))?;
    for (ky, to) in rows_mut(band, row).enumerate() {
        match (y + ky).checked_sub(conv.kernel / 2).filter(|y| *y < height) {
            Some(y) => read(y, to)?,
            None => to.fill(0.0),
        }
    }
    let out = cast_mut::<f32>(scratch.out)?;
    let linear_scratch = cast_mut::<i32>(scratch.linear)?;
    let mut multiply = |x: usize, count: usize, operand: &Operand| match &mut output {
        Output::Write(epilogue, write) => {
            let out = out.get_mut(..count * conv.outputs).ok_or(Error::Internal(54))?;
            apply(kernels, operand, &conv.linear, *epilogue, out, linear_scratch)?;
            write(x, out)
        }
        Output::Add(to) => {
            let to = part_mut(to, x * conv.outputs, count * conv.outputs)?;
            apply_residual(kernels, operand, &conv.linear, to, linear_scratch)
        }
    };
    let shape = Neighbourhood { width, channels: conv.inputs, kernel: conv.kernel };
    let tiles = (0..width).step_by(tile.max(1)).map(|x| (x, tile.min(width - x)));
    match conv.linear {
        Linear::Int8(linear) => {
            let codes = cast_mut::<i8>(scratch.codes)?.get_mut(..elements).ok_or(Error::Internal(51))?;
            let shape_of_band = RowShape { width: elements, pitch: elements };
            let (mut scale, mut zero) = ([0.0], [0]);
            match inputs {
                Inputs::Signed => (kernels.quantize_rows)(band, shape_of_band, codes, &mut scale),
                Inputs::NotNegative => {
                    (kernels.quantize_rows_above)(band, shape_of_band, 0.0, codes, &mut scale, &mut zero)
                }
            };
            let ([scale], [zero]) = (scale, zero);
            let (data, scales, zero_points) = (
                cast_mut(scratch.neighbourhoods)?,
                cast_mut(scratch.scales)?,
                cast_mut(scratch.zero_points)?,
            );
            scales.fill(scale);
            zero_points.fill(zero);
            // Without a zero point there are none at all: kernels save the correction, and need no sums of
            // weights.
            let has_zero = inputs == Inputs::NotNegative;
            let flip = kernels.spec.input_flip;
            for (x, count) in tiles {
                for (x, to) in (x..).zip(rows_mut(&mut *data, linear.pitch).take(count)) {
                    shape.gather(codes, x, zero as i8 ^ flip, to);
                    to.iter_mut().skip(taps).for_each(|code| *code = flip);
                }
                let zeros = if has_zero { count } else { 0 };
                let rows = RowsI8 {
                    data,
                    scales: scales.get(..count).ok_or(Error::Internal(52))?,
                    zero_points: zero_points.get(..zeros).ok_or(Error::Internal(53))?,
                    pitch: linear.pitch,
                };
                multiply(x, count, &Operand::Int8(rows))?;
            }
        }
        Linear::F16(_) => {
            let data = cast_mut::<f32>(scratch.neighbourhoods)?;
            for (x, count) in tiles {
                let data = data.get_mut(..count * taps).ok_or(Error::Internal(55))?;
                for (x, to) in (x..).zip(rows_mut(data, taps)) {
                    shape.gather(band, x, 0.0, to);
                }
                multiply(x, count, &Operand::Float(data))?;
            }
        }
    }
    Ok(())
}

/// Shape of the rows that a pixel's neighbourhood is taken from.
struct Neighbourhood {
    width: usize,
    channels: usize,
    kernel: usize,
}

impl Neighbourhood {
    /// Copies the neighbourhood of pixel `x` out of `band`, `(kernel, width, channels)`; `pad` stands in
    /// beyond the sides.
    fn gather<T: Copy>(&self, band: &[T], x: usize, pad: T, to: &mut [T]) {
        let radius = self.kernel / 2;
        let first = x.saturating_sub(radius);
        let last = (x + radius + 1).min(self.width);
        let left = (first + radius - x) * self.channels;
        let count = last.saturating_sub(first) * self.channels;
        let run = self.kernel * self.channels;
        let start = first * self.channels;
        for (from, to) in rows(band, self.width * self.channels).zip(rows_mut(to, run)) {
            let from = from.get(start..start + count).unwrap_or(&[]);
            if count == run {
                copy(from, to);
            } else {
                to.fill(pad);
                copy(from, to.get_mut(left..left + count).unwrap_or(&mut []));
            }
        }
    }
}

/// Copies a run to one of the same length.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    let (mut rest, mut to_rest) = (from, to);
    if size_of::<T>() == 1 {
        // Runs of codes are so short that a call of `memcpy`, which a compiler makes of every plainer loop,
        // takes longer than the copy.
        let (blocks, tail) = from.as_chunks::<16>();
        let (to_blocks, to_tail) = to_rest.as_chunks_mut::<16>();
        for (from, to) in blocks.iter().zip(to_blocks) {
            let ([low, high], []) = from.as_chunks::<8>() else { continue };
            let ([to_low, to_high], []) = to.as_chunks_mut::<8>() else { continue };
            (*to_low, *to_high) = (*low, *high);
        }
        (rest, to_rest) = (tail, to_tail);
    }
    rest.iter().zip(to_rest).for_each(|(from, to)| *to = *from);
}
