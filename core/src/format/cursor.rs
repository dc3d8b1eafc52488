//! Reads tensors from a section, one after the other.

use half::f16;

use super::header::{Model, SectionKind};
use crate::error::{Error, Fault};
use crate::tensor::{
    padded, Linear, LinearF16, LinearI8, NormWeights, PanelLayout, Precision, MIN_MAGNITUDE,
};

/// What is known of the values of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Nothing: the model is being loaded. Each is checked.
    New,
    /// All were checked when the model was loaded.
    Checked,
}

/// A read position in a section. Each tensor is padded to 16 bytes, so that the next one is aligned.
///
/// The first error is kept until all tensors are read, when [`Cursor::done`] or [`Cursor::finish`] returns
/// it. Until then, a tensor that can't be read is empty.
pub(crate) struct Cursor<'a> {
    section: u16,
    start: u32,
    bytes: &'a [u8],
    position: usize,
    /// Order of the int8 weights.
    layout: PanelLayout,
    values: Values,
    error: Option<Error>,
}

impl<'a> Cursor<'a> {
    /// At the beginning of the section at `index`, which must be of `kind`.
    ///
    /// # Errors
    /// [`Error::SectionKind`].
    pub(crate) fn new(
        model: &Model<'a>,
        index: usize,
        kind: SectionKind,
        values: Values,
    ) -> Result<Self, Error> {
        let (start, bytes) = model.expect_section(index, kind)?;
        let (section, layout) = (index as u16, model.layout());
        Ok(Self { section, start, bytes, position: 0, layout, values, error: None })
    }

    /// Order of the int8 weights.
    pub(crate) fn layout(&self) -> PanelLayout {
        self.layout
    }

    fn offset(&self) -> u32 {
        self.start.saturating_add(self.position as u32)
    }

    #[cold]
    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    #[cold]
    fn fail_by_length(&mut self, expected: usize) {
        self.fail(Error::SectionLength {
            section: self.section,
            offset: self.offset(),
            found: self.bytes.len() as u32,
            expected: u32::try_from(expected).unwrap_or(u32::MAX),
        });
    }

    fn take_bytes(&mut self, count: usize, size: usize) -> &'a [u8] {
        let end = count.checked_mul(size).and_then(|bytes| self.position.checked_add(bytes));
        let end = end.filter(|end| *end <= usize::MAX - 16).unwrap_or(usize::MAX);
        match self.bytes.get(self.position..end) {
            Some(bytes) => {
                self.position = padded(end).min(self.bytes.len());
                bytes
            }
            None => {
                self.fail_by_length(end);
                &[]
            }
        }
    }

    fn take<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> &'a [T] {
        let bytes = self.take_bytes(count, size_of::<T>());
        match bytemuck::try_cast_slice(bytes) {
            Ok(values) => values,
            // An empty slice may lie anywhere.
            Err(_) if bytes.is_empty() => &[],
            Err(_) => {
                self.fail(Fault::Weights.into());
                &[]
            }
        }
    }

    /// Reads f32 values, which must be finite, and zero or of a magnitude of at least [`MIN_MAGNITUDE`].
    fn f32s(&mut self, tensor: &'static str, count: usize) -> &'a [f32] {
        let start = self.offset();
        let values: &[f32] = self.take(count);
        self.check_all(tensor, start, values, |v| *v == 0.0 || (v.is_finite() && v.abs() >= MIN_MAGNITUDE));
        values
    }

    fn scales(&mut self, tensor: &'static str, count: usize) -> &'a [f32] {
        let start = self.offset();
        let values: &[f32] = self.take(count);
        self.check_all(tensor, start, values, |v| v.is_finite() && *v >= MIN_MAGNITUDE);
        values
    }

    /// Reads sums of weights, of a magnitude of at most 2^23, so that 128 times a sum stays far inside an
    /// i32.
    fn sums(&mut self, tensor: &'static str, count: usize) -> &'a [i32] {
        let start = self.offset();
        let values: &[i32] = self.take(count);
        self.check_all(tensor, start, values, |v| v.unsigned_abs() <= 1 << 23);
        values
    }

    /// Reads f16 values, which must be finite.
    pub(crate) fn f16s(&mut self, tensor: &'static str, count: usize) -> &'a [f16] {
        let start = self.offset();
        let values: &[f16] = self.take(count);
        self.check_all(tensor, start, values, |v| v.is_finite());
        values
    }

    fn check_all<T>(&mut self, tensor: &'static str, start: u32, values: &[T], good: impl Fn(&T) -> bool) {
        if self.values == Values::Checked {
            return;
        }
        if let Some(at) = values.iter().position(|v| !good(v)) {
            let offset = start.saturating_add((at * size_of::<T>()) as u32);
            self.fail(Error::NotFinite { tensor, offset });
        }
    }

    /// Reads a linear layer: weights, scales (int8 only), bias.
    pub(crate) fn linear(
        &mut self,
        tensor: &'static str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Linear<'a> {
        self.linear_with_sums(tensor, inputs, outputs, precision, 0)
    }

    /// Reads a linear layer whose inputs have a zero point: with int8 weights, the sum of each output's
    /// weights follows the bias.
    pub(crate) fn linear_for_zero_points(
        &mut self,
        tensor: &'static str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Linear<'a> {
        self.linear_with_sums(tensor, inputs, outputs, precision, outputs)
    }

    fn linear_with_sums(
        &mut self,
        tensor: &'static str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
        sums: usize,
    ) -> Linear<'a> {
        let layout = self.layout;
        match precision {
            Precision::Int8 => {
                let pitch = padded(inputs);
                let panels = self.take(layout.padded_outputs(outputs).saturating_mul(pitch));
                let (scales, bias) = (self.scales(tensor, outputs), self.f32s(tensor, outputs));
                let sums = self.sums(tensor, sums);
                Linear::Int8(LinearI8 { panels, scales, bias, sums, pitch, outputs, layout })
            }
            Precision::F16 => {
                let panels = self.f16s(tensor, padded(outputs).saturating_mul(inputs));
                let bias = self.f32s(tensor, outputs);
                Linear::F16(LinearF16 { panels, bias, inputs, outputs })
            }
        }
    }

    /// Reads a layer norm: γ, β.
    pub(crate) fn norm(&mut self, tensor: &'static str, dim: usize, eps: f32) -> NormWeights<'a> {
        NormWeights { gamma: self.f32s(tensor, dim), beta: self.f32s(tensor, dim), eps }
    }

    /// Skips tensors whose length, padding included, was checked at load.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes).min(self.bytes.len());
    }

    /// Returns `value`, which was made of the tensors read, if there was no error.
    ///
    /// # Errors
    /// The first error that was met.
    pub(crate) fn done<T>(self, value: T) -> Result<T, Error> {
        match self.error {
            None => Ok(value),
            Some(error) => Err(error),
        }
    }

    /// The same, for when the section must end here.
    ///
    /// # Errors
    /// Also [`Error::SectionLength`] if it does not.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Error> {
        if self.position != self.bytes.len() {
            self.fail_by_length(self.position);
        }
        self.done(value)
    }
}
