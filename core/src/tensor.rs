//! Views of weights and activations: slices with their shapes.

use half::f16;

/// Alignment in bytes of every tensor in a model and of every region of an arena.
pub const ALIGN: usize = 16;

/// The least magnitude of a scale, and of a bias, γ or β other than zero: 2^−40. Products of such numbers
/// with the least quantized values stay normal, so that a machine which flushes subnormal numbers to zero
/// computes the same bits.
pub const MIN_MAGNITUDE: f32 = 1.0 / (1u64 << 40) as f32;

/// The largest number of layers of a model.
pub const MAX_DEPTH: usize = 256;
/// The largest number of inputs K of a dot product, so that 128·128·K stays below 2^31.
pub const MAX_INPUTS: usize = 131_071;
/// The largest number of tokens, so that softmax weights keep at least 8 bits.
pub const MAX_TOKENS: usize = 65_535;

/// `n` rounded up to a multiple of [`ALIGN`] elements (or bytes), or 0 if that exceeds a `usize`.
pub const fn padded(n: usize) -> usize {
    n.wrapping_add(ALIGN - 1) & !(ALIGN - 1)
}

/// `a / b`; 0 for the b = 0 that no checked model has, so that no panic is linked for it.
pub(crate) const fn quotient(a: usize, b: usize) -> usize {
    match a.checked_div(b) {
        Some(quotient) => quotient,
        None => 0,
    }
}

/// The order of int8 weights in memory: panels of `nr` output columns, and within a panel groups of `kr`
/// inputs of each column.
///
/// The weight of output n and input k (both counted in the zero-padded matrix, `pitch` inputs wide) lies at
/// `(n/nr)·nr·pitch + (k/kr)·nr·kr + (n%nr)·kr + k%kr`. With nr = 1 this is row-major, whatever kr is.
///
/// The layout 2×1 is [paired](Self::is_paired): the two bytes of an input are one 16-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PanelLayout {
    /// Output columns per panel.
    pub nr: u8,
    /// Inputs per group; the pitch is a multiple of it.
    pub kr: u8,
}

impl PanelLayout {
    /// Row-major: one output column after the other.
    pub const ROW_MAJOR: Self = Self { nr: 1, kr: 16 };
    /// Sixteen output columns side by side, four inputs of each together: the order that vector units with
    /// dot products of bytes read.
    pub const VECTOR: Self = Self { nr: 16, kr: 4 };

    /// Two outputs side by side, for cores that multiply pairs of 16-bit numbers.
    pub const PAIRED: Self = Self { nr: 2, kr: 1 };

    /// Whether the two weights of an input, c₀ and c₁, are stored as one 16-bit number `c₀ + 256·c₁`. The
    /// first byte then is c₀, the second is c₁, minus one if c₀ is negative. A kernel multiplies by the
    /// 16-bit number.
    pub const fn is_paired(self) -> bool {
        self.nr == 2 && self.kr == 1
    }

    /// `outputs` rounded up to whole panels.
    pub const fn padded_outputs(self, outputs: usize) -> usize {
        match outputs.checked_next_multiple_of(self.nr as usize) {
            Some(padded) => padded,
            None => outputs,
        }
    }

    /// Whether panels are not empty, and the pitch (a multiple of 16) is a whole number of groups.
    pub const fn is_valid(self) -> bool {
        self.nr >= 1 && self.nr <= 64 && matches!(self.kr, 1 | 2 | 4 | 8 | 16)
    }
}

/// An int8 linear layer: `y[n] = (Σ_k q[n,k]·x[k] − x_zero · sums[n]) · scales[n] · x_scale + bias[n]`.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LinearI8<'a> {
    /// Weights in panels, zero-padded: `(outputs padded to nr, pitch)`.
    pub panels: &'a [i8],
    /// Scale per output.
    pub scales: &'a [f32],
    /// Bias per output.
    pub bias: &'a [f32],
    /// Sum of the weights of each output; empty if the inputs have no zero point.
    pub sums: &'a [i32],
    /// Inputs padded to a multiple of 16: the pitch of the weights and of the activations.
    pub pitch: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Order of the weights.
    pub layout: PanelLayout,
}

/// A linear layer with f16 weights, accumulated in f32 by ascending k: `y[n] = Σ_k w[n,k]·x[k] + bias[n]`.
#[derive(Clone, Copy, Debug)]
pub struct LinearF16<'a> {
    /// Panels of 16 outputs, each `(inputs, 16)`; the outputs are zero-padded to a multiple of 16.
    pub panels: &'a [f16],
    /// Bias per output.
    pub bias: &'a [f32],
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
}

#[cfg(feature = "defmt")]
impl defmt::Format for LinearF16<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "LinearF16 {{ inputs: {=usize}, outputs: {=usize} }}", self.inputs, self.outputs);
    }
}

/// A linear layer of either precision.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Linear<'a> {
    /// int8 weights and activations.
    Int8(LinearI8<'a>),
    /// f16 weights, f32 activations.
    F16(LinearF16<'a>),
}

impl Linear<'_> {
    /// Number of outputs.
    pub const fn outputs(&self) -> usize {
        match self {
            Linear::Int8(weights) => weights.outputs,
            Linear::F16(weights) => weights.outputs,
        }
    }
}

/// Precision of a linear layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Precision {
    /// int8, symmetric, one scale per output.
    Int8,
    /// f16.
    F16,
}

impl Precision {
    /// The bit that stands for the precision in a file: 1 for f16.
    pub(crate) const fn bit(self) -> u32 {
        match self {
            Precision::Int8 => 0,
            Precision::F16 => 1,
        }
    }

    pub(crate) const fn from_bit(bit: u32) -> Self {
        if bit == 0 {
            Precision::Int8
        } else {
            Precision::F16
        }
    }

    /// The word that precisions of several layers are stored as: bit i is that of layer i.
    pub(crate) fn to_word(of: impl IntoIterator<Item = Self>) -> u32 {
        of.into_iter().zip(0..u32::BITS).fold(0, |word, (precision, bit)| word | precision.bit() << bit)
    }

    /// The precisions of the first layers of such a word.
    pub(crate) fn from_word<const N: usize>(word: u32) -> [Self; N] {
        let mut rest = word;
        [(); N].map(|()| {
            let bit = rest & 1;
            rest >>= 1;
            Self::from_bit(bit)
        })
    }
}

/// Bytes of a linear layer as stored: weights, scales (int8), bias, each padded to 16.
pub fn linear_bytes(inputs: usize, outputs: usize, precision: Precision, layout: PanelLayout) -> usize {
    let floats = padded(4 * outputs);
    match precision {
        Precision::Int8 => layout.padded_outputs(outputs) * padded(inputs) + 2 * floats,
        Precision::F16 => 2 * padded(outputs) * inputs + floats,
    }
}

/// Learned gain and offset of a layer norm, each `(dim)`.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NormWeights<'a> {
    /// Gain γ.
    pub gamma: &'a [f32],
    /// Offset β.
    pub beta: &'a [f32],
    /// ε, which is added to the variance.
    pub eps: f32,
}

/// Rows of int8 activations with one scale each: `x[r,k] = scales[r] · (code[r,k] − zero_points[r])`, where
/// `code[r,k] = data[r·pitch + k] ^ flip` with the [`input_flip`] of the kernel table that the rows are for.
///
/// [`input_flip`]: crate::kernels::TableSpec::input_flip
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RowsI8<'a> {
    /// Codes `(rows, pitch)`; those between the row's length and the pitch are zero.
    pub data: &'a [i8],
    /// Scale per row; their number is the number of rows.
    pub scales: &'a [f32],
    /// Zero point per row; empty if all are 0.
    pub zero_points: &'a [i32],
    /// Distance between rows in elements.
    pub pitch: usize,
}

/// The whole rows of `width` elements of a slice; none if `width` is 0. Unlike `chunks_exact`, which divides
/// by the width when zipped, this links no panic.
pub(crate) fn rows<T>(mut slice: &[T], width: usize) -> impl Iterator<Item = &[T]> {
    core::iter::from_fn(move || {
        let (row, rest) = slice.split_at_checked(width).filter(|(row, _)| !row.is_empty())?;
        slice = rest;
        Some(row)
    })
}

/// The same, as mutable rows.
pub(crate) fn rows_mut<T>(slice: &mut [T], width: usize) -> impl Iterator<Item = &mut [T]> {
    let mut slice = Some(slice);
    core::iter::from_fn(move || {
        let (row, rest) = slice.take()?.split_at_mut_checked(width).filter(|(row, _)| !row.is_empty())?;
        slice = Some(rest);
        Some(row)
    })
}
