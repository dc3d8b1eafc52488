//! Takes tensors from a section one after the other.

use half::f16;

use crate::error::Error;
use crate::tensor::{
    padded, Linear, LinearF16, LinearI8, NormWeights, PanelLayout, Precision, MIN_MAGNITUDE,
};

/// A place in a section. Each tensor is padded to 16 bytes, so the next one is aligned.
pub(crate) struct Cursor<'a> {
    section: u16,
    start: u32,
    bytes: &'a [u8],
    position: usize,
    /// Whether values are checked (at load) or were checked before (at run time).
    check: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(section: usize, (start, bytes): (u32, &'a [u8]), check: bool) -> Self {
        Self { section: section as u16, start, bytes, position: 0, check }
    }

    fn offset(&self) -> u32 {
        self.start.saturating_add(self.position as u32)
    }

    fn take<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<&'a [T], Error> {
        let end = count.checked_mul(size_of::<T>()).and_then(|bytes| self.position.checked_add(bytes));
        let length_error = |expected: usize| Error::SectionLength {
            section: self.section,
            offset: self.offset(),
            found: self.bytes.len() as u32,
            expected: u32::try_from(expected).unwrap_or(u32::MAX),
        };
        let end = end.filter(|end| *end <= usize::MAX - 16).ok_or(length_error(usize::MAX))?;
        let bytes = self.bytes.get(self.position..end).ok_or(length_error(end))?;
        self.position = padded(end).min(self.bytes.len());
        bytemuck::try_cast_slice(bytes).map_err(|_| Error::Internal(10))
    }

    /// f32 values that are finite, and zero or not below [`MIN_MAGNITUDE`].
    fn f32s(&mut self, tensor: &'static str, count: usize) -> Result<&'a [f32], Error> {
        let start = self.offset();
        let values: &[f32] = self.take(count)?;
        self.check_all(tensor, start, values, 4, |v| {
            *v == 0.0 || (v.is_finite() && v.abs() >= MIN_MAGNITUDE)
        })?;
        Ok(values)
    }

    fn scales(&mut self, tensor: &'static str, count: usize) -> Result<&'a [f32], Error> {
        let start = self.offset();
        let values: &[f32] = self.take(count)?;
        self.check_all(tensor, start, values, 4, |v| v.is_finite() && *v >= MIN_MAGNITUDE)?;
        Ok(values)
    }

    /// Sums of weights: at most 2^23, so that 128 times one stays far inside an i32.
    fn sums(&mut self, tensor: &'static str, count: usize) -> Result<&'a [i32], Error> {
        let start = self.offset();
        let values: &[i32] = self.take(count)?;
        self.check_all(tensor, start, values, 4, |v| v.unsigned_abs() <= 1 << 23)?;
        Ok(values)
    }

    /// f16 values that are finite.
    pub(crate) fn f16s(&mut self, tensor: &'static str, count: usize) -> Result<&'a [f16], Error> {
        let start = self.offset();
        let values: &[f16] = self.take(count)?;
        self.check_all(tensor, start, values, 2, |v| v.is_finite())?;
        Ok(values)
    }

    fn check_all<T>(
        &self,
        tensor: &'static str,
        start: u32,
        values: &[T],
        size: u32,
        good: impl Fn(&T) -> bool,
    ) -> Result<(), Error> {
        if !self.check {
            return Ok(());
        }
        match values.iter().position(|v| !good(v)) {
            Some(at) => Err(Error::NotFinite { tensor, offset: start.saturating_add(at as u32 * size) }),
            None => Ok(()),
        }
    }

    /// A linear layer: weights, scales (int8 only), bias.
    pub(crate) fn linear(
        &mut self,
        tensor: &'static str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
        layout: PanelLayout,
    ) -> Result<Linear<'a>, Error> {
        self.linear_with_sums(tensor, inputs, outputs, precision, layout, 0)
    }

    /// The same for a layer whose inputs have a zero point: of the int8 weights of each output the sum
    /// follows.
    pub(crate) fn linear_for_zero_points(
        &mut self,
        tensor: &'static str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
        layout: PanelLayout,
    ) -> Result<Linear<'a>, Error> {
        self.linear_with_sums(tensor, inputs, outputs, precision, layout, outputs)
    }

    fn linear_with_sums(
        &mut self,
        tensor: &'static str,
        inputs: usize,
        outputs: usize,
        precision: Precision,
        layout: PanelLayout,
        sums: usize,
    ) -> Result<Linear<'a>, Error> {
        match precision {
            Precision::Int8 => {
                let pitch = padded(inputs);
                let count = layout.padded_outputs(outputs).checked_mul(pitch).ok_or(Error::PlanTooLarge)?;
                let panels = self.take(count)?;
                let scales = self.scales(tensor, outputs)?;
                let bias = self.f32s(tensor, outputs)?;
                let sums = self.sums(tensor, sums)?;
                Ok(Linear::Int8(LinearI8 { panels, scales, bias, sums, pitch, outputs, layout }))
            }
            Precision::F16 => {
                let count = padded(outputs).checked_mul(inputs).ok_or(Error::PlanTooLarge)?;
                let panels = self.f16s(tensor, count)?;
                let bias = self.f32s(tensor, outputs)?;
                Ok(Linear::F16(LinearF16 { panels, bias, inputs, outputs }))
            }
        }
    }

    /// A layer norm: γ, β.
    pub(crate) fn norm(
        &mut self,
        tensor: &'static str,
        dim: usize,
        eps: f32,
    ) -> Result<NormWeights<'a>, Error> {
        Ok(NormWeights { gamma: self.f32s(tensor, dim)?, beta: self.f32s(tensor, dim)?, eps })
    }

    /// Passes over tensors whose length, padding included, was checked at load.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes).min(self.bytes.len());
    }

    /// The section must end here.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.position == self.bytes.len() {
            return Ok(());
        }
        Err(Error::SectionLength {
            section: self.section,
            offset: self.offset(),
            found: self.bytes.len() as u32,
            expected: self.position as u32,
        })
    }
}
