//! Planes: rows of the residual stream on their way into an attention, normed, as its weights want them.

use bytemuck::{must_cast_slice, must_cast_slice_mut, try_cast_slice, try_cast_slice_mut};
use half::f16;

use crate::arena::{halves, part_mut, Extent, Phases, Plan, Rows};
use crate::error::Fault;
use crate::fork::split_fields;
use crate::kernels::{Kernels, RowShape};
use crate::ops::{quantize_rows, Operand};
use crate::tensor::{padded, quotient, Linear, Precision, RowsI8};

/// The memory of a plane of `(tokens, dim)`: int8 with a scale per row, or f16 in the same memory.
#[derive(Clone, Copy)]
pub(crate) struct PlaneSlots {
    area: Extent,
    /// Words of the rows, of whichever kind they are; those of the scales follow.
    rows: usize,
    dim: usize,
    is_f16: bool,
}

impl PlaneSlots {
    /// Nothing.
    pub const EMPTY: Self = Self { area: Extent::EMPTY, rows: 0, dim: 0, is_f16: false };

    /// `may_be_f16` where some layer wants it so, and then it is, unless [`PlaneSlots::of`] says otherwise. `names` are those of the rows and of their scales.
    pub fn plan(
        plan: &mut Plan,
        names: [&'static str; 2],
        (tokens, dim): (usize, usize),
        may_be_f16: bool,
        phases: Phases,
    ) -> Self {
        let row_bytes = if may_be_f16 { padded(dim).max(2 * dim) } else { padded(dim) };
        let mut area = plan.area(phases);
        let rows = area.slot::<u8>(names[0], tokens, row_bytes).words();
        area.slot::<f32>(names[1], tokens, 1);
        Self { area: area.place(), rows, dim, is_f16: may_be_f16 }
    }

    /// The plane as a layer has it whose weights have this precision.
    pub fn of(self, precision: Precision) -> Self {
        Self { is_f16: precision == Precision::F16, ..self }
    }

    /// Whether there is no such plane.
    pub fn is_empty(&self) -> bool {
        self.dim == 0
    }

    /// Where it lies.
    #[inline(always)]
    pub fn extent(&self) -> Extent {
        self.area
    }

    /// Its words as its rows.
    #[inline]
    pub fn view<'a>(&'a self, words: &'a mut [u32]) -> Result<Plane<'a>, Fault> {
        let (rows, scales) = halves(words, self.rows)?;
        let width = if self.is_f16 { 2 * self.dim } else { padded(self.dim) };
        let rows = Rows { data: must_cast_slice_mut(rows), width };
        // An empty plane has as many empty rows as anyone asks for.
        let scales = Rows { data: must_cast_slice_mut(scales), width: usize::from(!self.is_empty()) };
        Ok(Plane { rows, scales, slots: self })
    }
}

/// Rows of a plane.
pub(crate) struct Plane<'a> {
    /// Codes, or f16.
    rows: Rows<'a, u8>,
    /// Of rows of codes.
    scales: Rows<'a, f32>,
    slots: &'a PlaneSlots,
}

split_fields!(Plane { rows, scales, slots });

impl Plane<'_> {
    /// Whether there is no such plane.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// `count` rows from row `first` on; of an empty plane, nothing.
    #[inline]
    pub fn tile(self, first: usize, count: usize) -> Result<Self, Fault> {
        Ok(Self { rows: self.rows.tile(first, count)?, scales: self.scales.tile(first, count)?, ..self })
    }

    /// As the input of weights. f16 rows are widened in `wide`, and quantized where the weights are int8: one
    /// layer's f16 weights make a plane f16 that other layers read too.
    #[inline]
    pub fn operand<'w>(
        &'w self,
        kernels: &Kernels,
        weights: &Linear,
        wide: &'w mut Rows<'_, f32>,
    ) -> Result<Operand<'w>, Fault> {
        if self.slots.is_f16 {
            return widened(kernels, self.rows.data, self.slots.dim, weights, wide.data);
        }
        Ok(Operand::Int8(RowsI8 {
            data: must_cast_slice(self.rows.data),
            scales: self.scales.data,
            zero_points: &[],
            pitch: self.rows.width,
        }))
    }

    /// Stores normed rows `(rows, dim)` as the rows from `row` on; nothing where the plane is empty.
    pub fn store(&mut self, kernels: &Kernels, normed: &[f32], row: usize) {
        let (slots, Rows { data, width }) = (self.slots, &mut self.rows);
        let rows = data.get_mut(row * *width..).unwrap_or(&mut []);
        if slots.is_f16 {
            (kernels.narrow)(normed, try_cast_slice_mut(rows).unwrap_or(&mut []));
        } else if !slots.is_empty() {
            let shape = RowShape { width: slots.dim, pitch: *width };
            let scales = self.scales.data.get_mut(row..).unwrap_or(&mut []);
            (kernels.quantize_rows)(normed, shape, must_cast_slice_mut(rows), scales);
        }
    }
}

/// Floats of a row of a tile of an f16 plane: `dim`; where int8 weights may meet it, also its codes and its
/// scale.
pub(crate) fn wide_row(dim: usize, is_requantized: bool) -> usize {
    dim + if is_requantized { padded(dim) / size_of::<f32>() + 1 } else { 0 }
}

#[inline(never)]
fn widened<'w>(
    kernels: &Kernels,
    rows: &[u8],
    dim: usize,
    weights: &Linear,
    wide: &'w mut [f32],
) -> Result<Operand<'w>, Fault> {
    let f16s: &[f16] = try_cast_slice(rows).map_err(|_| Fault::Shape)?;
    let count = quotient(f16s.len(), dim);
    let (rows, rest) = halves(wide, f16s.len())?;
    (kernels.widen)(f16s, rows);
    if let Linear::F16(_) = weights {
        return Ok(Operand::Float(rows));
    }
    let (scales, rest) = halves(rest, count)?;
    let codes = part_mut(must_cast_slice_mut::<f32, i8>(rest), 0, count * padded(dim))?;
    Ok(quantize_rows(kernels, rows, dim, weights, codes, scales))
}
