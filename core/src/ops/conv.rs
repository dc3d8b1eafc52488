//! Convolution with zero padding, one output row at a time, on the kernels of linear layers.
//!
//! The input rows that an output row depends on form a band, which is quantized as a whole, with one scale.
//! Each output pixel's neighbourhood in the band is then an input row of a linear layer, ordered (row,
//! column, channel).

use core::ops::Range;

use bytemuck::must_cast_slice_mut;
use half::f16;

use crate::arena::{carve, part, part_mut, slots, Extent, Phases, Plan, Rows, Slot};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::format::Cursor;
use crate::kernels::{Epilogue, Kernels, RowShape};
use crate::ops::{apply, apply_residual, Operand};
use crate::run::{Machine, Workspace};
use crate::tensor::{padded, rows, rows_mut, Linear, Precision, RowsI8};

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
    /// What its inputs are known to be.
    pub range: Inputs,
}

impl<'a> Conv<'a> {
    /// Takes a convolution of `[inputs, outputs]` channels from a section.
    pub fn read(
        cursor: &mut Cursor<'a>,
        tensor: &'static str,
        kernel: usize,
        [inputs, outputs]: [usize; 2],
        range: Inputs,
        precision: Precision,
    ) -> Self {
        let taps = kernel * kernel * inputs;
        let linear = match range {
            Inputs::Signed => cursor.linear(tensor, taps, outputs, precision),
            Inputs::NotNegative => cursor.linear_for_zero_points(tensor, taps, outputs, precision),
        };
        Self { linear, kernel, inputs, outputs, range }
    }
}

slots! {
    /// What an output row is computed from.
    BandSlots => BandRows {
        /// The input rows that the output row depends on: `(kernel, width, inputs)`.
        band: Rows<f32>,
        /// The band, quantized.
        codes: Rows<i8>,
    }
}

slots! {
    /// What each worker computes its pixels in.
    tile PixelSlots => PixelRows {
        /// Neighbourhoods of a tile of pixels: as floats for f16 weights, or as codes for int8 weights.
        neighbourhoods: PerWorker<f32>,
        /// Scale of each pixel, `(tile)`.
        scales: PerWorker<f32>,
        /// Zero point of each pixel, `(tile)`.
        zero_points: PerWorker<i32>,
        /// Results, `(tile, outputs)`.
        out: PerWorker<f32>,
        /// Scratch of the linear layer.
        linear: PerWorker<i32>,
    }
}

/// Memory for computing one output row.
#[derive(Clone, Copy)]
pub(crate) struct ConvSlots {
    band: BandSlots,
    pixels: PixelSlots,
}

/// The largest needs of several convolutions that share their memory.
#[derive(Default)]
pub(crate) struct ConvNeeds {
    /// Floats of a band.
    band: usize,
    /// Inputs per output, of layers with int8 weights.
    int8_inputs: usize,
    /// Inputs per output, of layers with f16 weights.
    f16_inputs: usize,
    /// Channels out.
    outputs: usize,
}

impl ConvNeeds {
    /// Adds a convolution on rows of `width` pixels.
    pub fn add(&mut self, kernel: usize, width: usize, inputs: usize, outputs: usize, precision: Precision) {
        let taps = kernel * kernel * inputs;
        match precision {
            Precision::Int8 => self.int8_inputs = self.int8_inputs.max(taps),
            Precision::F16 => self.f16_inputs = self.f16_inputs.max(taps),
        }
        self.band = self.band.max(kernel * width * inputs);
        self.outputs = self.outputs.max(outputs);
    }

    pub fn plan(&self, plan: &mut Plan, m: &Machine, phases: Phases) -> ConvSlots {
        // Codes are a quarter as long as floats, and rows of them multiples of four.
        let neighbourhood = (padded(self.int8_inputs) / size_of::<f32>()).max(self.f16_inputs);
        let mut area = plan.area(phases);
        let mut band = BandSlots {
            band: area.slot("conv band", 1, self.band),
            codes: area.slot("conv codes", 1, self.band),
            area: Extent::EMPTY,
        };
        let band_words = area.words();
        let mut pixels = PixelSlots {
            neighbourhoods: area.slot("conv neighbourhoods", m.workers, m.tile * neighbourhood),
            scales: area.slot("conv scales", m.workers, m.tile),
            zero_points: area.slot("conv zero points", m.workers, m.tile),
            out: area.slot("conv out", m.workers, m.tile * self.outputs),
            linear: area.slot("conv scratch", m.workers, m.linear_scratch(self.int8_inputs)),
            area: Extent::EMPTY,
        };
        (band.area, pixels.area) = area.place().split(band_words);
        ConvSlots { band, pixels }
    }
}

/// What is known about the sign of a convolution's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// Of either sign.
    Signed,
    /// Never below zero. They are quantized with a zero point, so that all 256 codes are used.
    NotNegative,
}

/// Where a convolution's input rows come from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// A ring buffer of feature rows, each `(width, inputs)`.
    Ring(Slot<f16>),
    /// The pixels of an image, `(height, width·colours)`; a mean colour is subtracted from each.
    Pixels(Slot<u8>, [f32; 3]),
}

/// What is done with an output row.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// It becomes row `.1` of a ring buffer, behind an epilogue.
    Row(Slot<f16>, usize, Epilogue),
    /// It is added to row `.1` of a ring buffer, as to a residual stream.
    Add(Slot<f16>, usize),
    /// Pixel shuffle (Shi et al., arXiv 1609.05158, §3.2): each pixel becomes `factor·factor` pixels, in
    /// `factor` rows of a ring buffer from row `.1` on. `.2` is the factor.
    Shuffle(Slot<f16>, usize, usize),
    /// It becomes a row of pixels, to each of which a mean colour is added.
    Pixels(Slot<f32>, [f32; 3]),
}

/// The largest number of rows that a pixel shuffle makes of one.
const MAX_FACTOR: usize = 3;

/// Computes output row `y` of a square image of `side` pixels, a tile of pixels at a time.
pub(crate) fn conv_row(
    w: &mut Workspace,
    slots: &ConvSlots,
    conv: &Conv,
    (source, side, y): (Source, usize, usize),
    target: Target,
) -> Result<(), Fault> {
    let kernels = w.kernels;
    let is_int8 = matches!(conv.linear, Linear::Int8(_));
    let (ring, pixels) = match source {
        Source::Ring(ring) => (ring, Slot::EMPTY),
        Source::Pixels(pixels, _) => (Slot::EMPTY, pixels),
    };
    let (to_ring, to_image) = match target {
        Target::Row(ring, ..) | Target::Add(ring, _) | Target::Shuffle(ring, ..) => (ring, Slot::EMPTY),
        Target::Pixels(pixels, _) => (Slot::EMPTY, pixels),
    };
    carve!(w.arena =>
        from: ring, from_pixels: pixels, to: to_ring, to_pixels: to_image,
        band: slots.band, memory: slots.pixels
    );
    let (row, elements) = (side * conv.inputs, conv.kernel * side * conv.inputs);
    let BandRows { band, codes } = band;
    let band = part_mut(band.data, 0, elements)?;
    for (ky, to) in rows_mut(&mut *band, row).enumerate() {
        let Some(y) = (y + ky).checked_sub(conv.kernel / 2).filter(|y| *y < side) else {
            to.fill(0.0);
            continue;
        };
        match source {
            Source::Ring(ring) => (kernels.widen)(part(from.data, ring.ring_row(y) * row, row)?, to),
            Source::Pixels(_, mean) => {
                let pixels = part(from_pixels.data, y * row, row)?;
                let centred = pixels.iter().zip(mean.iter().cycle()).map(|(p, mean)| *p as f32 - *mean);
                to.iter_mut().zip(centred).for_each(|(to, x)| *to = x);
            }
        }
    }
    let (codes, shape) = (part_mut(codes.data, 0, elements)?, RowShape { width: elements, pitch: elements });
    let (mut scale, mut zero) = ([0.0], [0]);
    match conv.range {
        _ if !is_int8 => 0,
        Inputs::Signed => (kernels.quantize_rows)(band, shape, codes, &mut scale),
        Inputs::NotNegative => (kernels.quantize_rows_above)(band, shape, 0.0, codes, &mut scale, &mut zero),
    };
    let ([scale], [zero]) = (scale, zero);
    let shape = Neighbourhood { width: side, channels: conv.inputs, kernel: conv.kernel };
    let layer = &Layer { kernels, conv, target, tile: w.tile, shape, band, codes, scale, zero };
    let tile = ConvTile {
        layer,
        range: 0..side,
        rows: target_rows(target, to.data, conv.outputs)?,
        pixels: Rows { width: if to_pixels.data.is_empty() { 0 } else { conv.outputs }, ..to_pixels },
        memory: memory.tile(w.tile)?,
    };
    fork(w.pool, tile)
}

/// The rows of the target's ring buffer that one output row is written to.
fn target_rows<'a>(
    target: Target,
    to: &'a mut [f16],
    outputs: usize,
) -> Result<[Rows<'a, f16>; MAX_FACTOR], Fault> {
    let mut found = [(); MAX_FACTOR].map(|()| Rows { data: [].as_mut_slice(), width: 0 });
    let [first_row, ..] = &mut found;
    match target {
        Target::Row(ring, row, _) | Target::Add(ring, row) => {
            let data = part_mut(to, row * ring.width(), ring.width())?;
            *first_row = Rows { data, width: outputs };
        }
        Target::Shuffle(ring, first, factor) => {
            let width = outputs.checked_div(factor).unwrap_or(0);
            for (number, data) in rows_mut(to, ring.width()).enumerate() {
                let row = (0..factor).find(|i| ring.ring_row(first + i) == number);
                if let Some(row) = row.and_then(|i| found.get_mut(i)) {
                    *row = Rows { data, width };
                }
            }
        }
        Target::Pixels(..) => {}
    }
    Ok(found)
}

/// What all workers share.
struct Layer<'a> {
    kernels: &'static Kernels,
    conv: &'a Conv<'a>,
    target: Target,
    /// Pixels of a tile.
    tile: usize,
    shape: Neighbourhood,
    /// The input rows that the output row depends on.
    band: &'a [f32],
    /// The band, quantized, with one scale and zero point.
    codes: &'a [i8],
    scale: f32,
    zero: i32,
}

/// A range of the pixels of an output row: the work of one worker.
struct ConvTile<'a> {
    layer: &'a Layer<'a>,
    range: Range<usize>,
    /// Where results are written to: rows of a ring buffer, or pixels.
    rows: [Rows<'a, f16>; MAX_FACTOR],
    pixels: Rows<'a, f32>,
    memory: PixelRows<'a>,
}

split_fields!(ConvTile { layer, range, rows, pixels, memory });

impl Work for ConvTile<'_> {
    fn rows(&self) -> usize {
        self.range.len()
    }

    fn run(mut self) -> Result<(), Fault> {
        let Layer { conv, tile, kernels, .. } = self.layer;
        // Signed inputs have no zero points: kernels then skip the correction, and need no sums of weights.
        let has_zero = conv.range == Inputs::NotNegative;
        let PixelRows { neighbourhoods, scales, zero_points, out, linear } = self.memory;
        scales.data.fill(self.layer.scale);
        zero_points.data.fill(self.layer.zero);
        let mut done = 0;
        while done < self.range.len() {
            let (x, count) = (self.range.start + done, (*tile).min(self.range.len() - done));
            let (out, linear) = (part_mut(&mut *out.data, 0, count * conv.outputs)?, &mut *linear.data);
            let memory = &mut *neighbourhoods.data;
            let operand = match conv.linear {
                Linear::Int8(weights) => {
                    let data = self.layer.gather_codes((x, count), weights.pitch, memory);
                    Operand::Int8(RowsI8 {
                        data,
                        scales: part(scales.data, 0, count)?,
                        zero_points: part(zero_points.data, 0, if has_zero { count } else { 0 })?,
                        pitch: weights.pitch,
                    })
                }
                Linear::F16(_) => Operand::Float(self.layer.gather_floats((x, count), memory)?),
            };
            let [row, ..] = &mut self.rows;
            let values = done * conv.outputs;
            done += count;
            if let Target::Add(..) = self.layer.target {
                let to = part_mut(row.data, values, count * conv.outputs)?;
                apply_residual(kernels, &operand, &conv.linear, to, linear)?;
                continue;
            }
            let epilogue = match self.layer.target {
                Target::Row(_, _, epilogue) => epilogue,
                _ => Epilogue::None,
            };
            apply(kernels, &operand, &conv.linear, epilogue, out, linear)?;
            match self.layer.target {
                Target::Row(..) | Target::Add(..) => {
                    (kernels.narrow)(out, part_mut(row.data, values, out.len())?);
                }
                Target::Shuffle(..) => {
                    shuffle(kernels, out, conv.outputs, &mut self.rows, done - count)?;
                }
                Target::Pixels(_, mean) => {
                    let to = part_mut(self.pixels.data, values, out.len())?;
                    let shifted = out.iter().zip(mean.iter().cycle()).map(|(v, mean)| *v + *mean);
                    to.iter_mut().zip(shifted).for_each(|(to, v)| *to = v);
                }
            }
        }
        Ok(())
    }
}

impl Layer<'_> {
    /// Inputs of an output.
    #[inline(always)]
    fn taps(&self) -> usize {
        self.conv.kernel * self.conv.kernel * self.conv.inputs
    }

    /// Codes of the neighbourhoods of `count` pixels from `x` on, in rows `pitch` apart.
    #[inline(always)]
    fn gather_codes<'t>(&self, (x, count): (usize, usize), pitch: usize, memory: &'t mut [f32]) -> &'t [i8] {
        let (taps, flip) = (self.taps(), self.kernels.spec.input_flip);
        let data = must_cast_slice_mut::<f32, i8>(memory);
        for (x, to) in (x..).zip(rows_mut(&mut *data, pitch).take(count)) {
            self.shape.gather(self.codes, x, self.zero as i8 ^ flip, to);
            to.iter_mut().skip(taps).for_each(|code| *code = flip);
        }
        data
    }

    /// Floats of the neighbourhoods of `count` pixels from `x` on, one row after the other.
    #[inline(always)]
    fn gather_floats<'t>(
        &self,
        (x, count): (usize, usize),
        memory: &'t mut [f32],
    ) -> Result<&'t [f32], Fault> {
        let taps = self.taps();
        let data = part_mut(memory, 0, count * taps)?;
        for (x, to) in (x..).zip(rows_mut(&mut *data, taps)) {
            self.shape.gather(self.band, x, 0.0, to);
        }
        Ok(data)
    }
}

/// Distributes the results of a tile of pixels, the first of which is pixel `done`. A pixel's outputs are
/// ordered (row in the factor × factor square, column in it, feature), so one run of them goes to each row of
/// the target.
fn shuffle(
    kernels: &Kernels,
    values: &[f32],
    outputs: usize,
    to: &mut [Rows<f16>; MAX_FACTOR],
    done: usize,
) -> Result<(), Fault> {
    for (x, pixel) in (done..).zip(rows(values, outputs)) {
        let mut rest = pixel;
        for row in to.iter_mut().filter(|row| row.width > 0) {
            let (run, behind) = rest.split_at_checked(row.width).unwrap_or((&[], &[]));
            (kernels.narrow)(run, part_mut(row.data, x * row.width, run.len())?);
            rest = behind;
        }
    }
    Ok(())
}

/// Shape of the band that a pixel's neighbourhood is taken from.
struct Neighbourhood {
    width: usize,
    channels: usize,
    kernel: usize,
}

impl Neighbourhood {
    /// Copies the neighbourhood of pixel `x` out of `band`, `(kernel, width, channels)`, with `pad` beyond
    /// the left and right sides.
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

/// Copies `from` to `to`, which is as long.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    let (mut rest, mut to_rest) = (from, to);
    if size_of::<T>() == 1 {
        // Runs of codes are so short that a call of `memcpy` takes longer than the copy, and a compiler makes
        // such a call of every plainer loop.
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
