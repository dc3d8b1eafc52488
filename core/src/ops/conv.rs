//! Convolution with zero padding, one output row at a time, on the kernels of linear layers.
//!
//! The rows that an output row sees are quantized together, with one scale; each output pixel's neighbourhood is then a row of a
//! linear layer, its inputs ordered (row, column, channel).

use crate::arena::cast_mut;
use crate::error::Error;
use crate::kernels::{Epilogue, Kernels};
use crate::ops::{apply, Operand};
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
    /// Neighbourhoods of a tile of pixels: `(tile, pitch)` i8, or `(tile, kernel·kernel·inputs)` f32 for f16 weights.
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

/// Computes output row `y` of an image `(height, width)`.
///
/// `read(row, to)` gives an input row `(width, inputs)` as floats; `write(x, values)` takes the results of the pixels from x on,
/// `(pixels, outputs)`.
#[allow(clippy::too_many_arguments, reason = "what a convolution needs; every call names them")]
pub(crate) fn conv_row(
    kernels: &Kernels,
    conv: &Conv,
    inputs: Inputs,
    epilogue: Epilogue,
    (height, width): (usize, usize),
    (y, tile): (usize, usize),
    scratch: ConvScratch,
    mut read: impl FnMut(usize, &mut [f32]) -> Result<(), Error>,
    mut write: impl FnMut(usize, &[f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    let row = width * conv.inputs;
    let taps = conv.kernel * conv.kernel * conv.inputs;
    let elements = conv.kernel * row;
    let band = cast_mut::<f32>(scratch.band)?.get_mut(..elements).ok_or(Error::Internal(50))?;
    for (ky, to) in rows_mut(band, row).enumerate() {
        match (y + ky).checked_sub(conv.kernel / 2).filter(|y| *y < height) {
            Some(y) => read(y, to)?,
            None => to.iter_mut().for_each(|x| *x = 0.0),
        }
    }
    let (out, linear_scratch) = (cast_mut::<f32>(scratch.out)?, cast_mut::<i32>(scratch.linear)?);
    let shape = Neighbourhood { width, channels: conv.inputs, kernel: conv.kernel };
    match conv.linear {
        Linear::Int8(linear) => {
            let codes = cast_mut::<i8>(scratch.codes)?.get_mut(..elements).ok_or(Error::Internal(51))?;
            let (scale, zero) = match inputs {
                Inputs::Signed => ((kernels.quantize_row)(band, codes), 0),
                Inputs::NotNegative => (kernels.quantize_row_above)(band, 0.0, codes),
            };
            let (data, scales, zero_points) = (
                cast_mut(scratch.neighbourhoods)?,
                cast_mut(scratch.scales)?,
                cast_mut(scratch.zero_points)?,
            );
            scales.iter_mut().for_each(|s| *s = scale);
            // Without a zero point there are none at all: kernels save the correction, and need no sums of weights.
            let has_zero = inputs == Inputs::NotNegative;
            zero_points.iter_mut().for_each(|z| *z = zero);
            let mut x = 0;
            while x < width {
                let count = tile.min(width - x);
                for (x, to) in (x..).zip(rows_mut(&mut *data, linear.pitch).take(count)) {
                    shape.gather(codes, x, zero as i8, to);
                    to.iter_mut().skip(taps).for_each(|code| *code = 0);
                }
                let operand = Operand::Int8(RowsI8 {
                    data,
                    scales: scales.get(..count).ok_or(Error::Internal(52))?,
                    zero_points: zero_points.get(..if has_zero { count } else { 0 }).ok_or(Error::Internal(53))?,
                    pitch: linear.pitch,
                });
                let out = out.get_mut(..count * conv.outputs).ok_or(Error::Internal(54))?;
                apply(kernels, &operand, &conv.linear, epilogue, out, linear_scratch)?;
                write(x, out)?;
                x += count;
            }
        }
        Linear::F16(_) => {
            let data = cast_mut::<f32>(scratch.neighbourhoods)?;
            let mut x = 0;
            while x < width {
                let count = tile.min(width - x);
                let data = data.get_mut(..count * taps).ok_or(Error::Internal(55))?;
                for (x, to) in (x..).zip(rows_mut(data, taps)) {
                    shape.gather(band, x, 0.0, to);
                }
                let out = out.get_mut(..count * conv.outputs).ok_or(Error::Internal(56))?;
                apply(kernels, &Operand::Float(data), &conv.linear, epilogue, out, &mut [])?;
                write(x, out)?;
                x += count;
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
    /// Copies the neighbourhood of pixel `x` out of `band`, `(kernel, width, channels)`; `pad` stands in beyond the sides.
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

/// Copies a run to one of the same length. Runs are short: a few words at a time, in line.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    let (blocks, rest) = from.as_chunks::<16>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<16>();
    blocks.iter().zip(to_blocks).for_each(|(from, to)| *to = *from);
    rest.iter().zip(to_rest).for_each(|(from, to)| *to = *from);
}
