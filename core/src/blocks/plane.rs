//! Planes: the rows that an attention reads, normed, and int8 or f16 as its weights need them.

use bytemuck::{must_cast_slice, must_cast_slice_mut, try_cast_slice, try_cast_slice_mut};
use half::f16;

use crate::arena::{halves, part_mut, Extent, Phases, Plan, Rows};
use crate::error::Fault;
use crate::fork::split_fields;
use crate::kernels::{Kernels, RowShape};
use crate::ops::{quantize_rows, Operand};
use crate::tensor::{padded, quotient, Linear, Precision, RowsI8};

/// The memory of a plane `(tokens, dim)`: int8 codes with a scale per row, or f16 values in the same memory.
#[derive(Clone, Copy)]
pub(crate) struct PlaneSlots {
    area: Extent,
    /// Number of words of the rows, int8 or f16. The words of the scales follow them.
    rows: usize,
    dim: usize,
    is_f16: bool,
}

impl PlaneSlots {
    /// No plane.
    pub const EMPTY: Self = Self { area: Extent::EMPTY, rows: 0, dim: 0, is_f16: false };

    /// `names` are those of the rows and of their scales. `may_be_f16` says that some layer needs f16 rows;
    /// the plane is then f16 unless [`PlaneSlots::of`] makes it int8.
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

    /// The plane for a layer whose weights have this precision.
    pub fn of(self, precision: Precision) -> Self {
        Self { is_f16: precision == Precision::F16, ..self }
    }

    /// Whether there is no plane.
    pub fn is_empty(&self) -> bool {
        self.dim == 0
    }

    /// Where the plane lies.
    #[inline(always)]
    pub fn extent(&self) -> Extent {
        self.area
    }

    /// Divides its words into rows and scales.
    #[inline]
    pub fn view<'a>(&'a self, words: &'a mut [u32]) -> Result<Plane<'a>, Fault> {
        let (rows, scales) = halves(words, self.rows)?;
        let width = if self.is_f16 { 2 * self.dim } else { padded(self.dim) };
        let rows = Rows { data: must_cast_slice_mut(rows), width };
        // Rows of an empty plane have width 0, so that any number of them can be taken.
        let scales = Rows { data: must_cast_slice_mut(scales), width: usize::from(!self.is_empty()) };
        Ok(Plane { rows, scales, slots: self })
    }
}

/// Rows of a plane.
pub(crate) struct Plane<'a> {
    /// Codes, or the bytes of f16 values.
    rows: Rows<'a, u8>,
    /// Scales of the codes; not used with f16.
    scales: Rows<'a, f32>,
    slots: &'a PlaneSlots,
}

split_fields!(Plane { rows, scales, slots });

impl Plane<'_> {
    /// Whether there is no plane.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// `count` rows from row `first` on. An empty plane stays empty.
    #[inline]
    pub fn tile(self, first: usize, count: usize) -> Result<Self, Fault> {
        Ok(Self { rows: self.rows.tile(first, count)?, scales: self.scales.tile(first, count)?, ..self })
    }

    /// The rows as input of a linear layer. f16 rows are widened in `wide`, and then quantized if the weights
    /// are int8, since a plane that one layer needs as f16 may be read by others too.
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

    /// Stores normed rows `(rows, dim)` as the rows from `row` on. Does nothing if the plane is empty.
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

/// Memory for a widened row of an f16 plane, in floats: `dim`. Where int8 weights may read the row, its codes
/// and its scale are added.
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
