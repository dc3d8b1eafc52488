//! Quantization of rows, up to sixteen at a time. Reducing a row to its scale has a long latency, and the
//! rows hide each other's.

use super::{load, rows_per_group, store, store_ints, Floats, Ints, LANES};
use crate::kernels::RowShape;
use crate::quant::{self, row_scale, row_scale_above};

/// Number of rows whose scales are found at a time.
#[inline(always)]
fn rows_per_scale_group<F: Floats>(width: usize) -> usize {
    if F::SCALES_IN_GROUPS {
        rows_per_group(width)
    } else {
        1
    }
}

/// The largest of 0 and all x, or all |x| if `ABS`, by lane.
#[inline(always)]
fn largest_by_lane<F: Floats, const ABS: bool>(row: &[f32]) -> F {
    // Two maxima by turns, since each waits for the one before.
    let mut max = [F::splat(0.0); 2];
    let (pairs, rest) = row.as_chunks::<{ 2 * LANES }>();
    for x in pairs {
        for (v, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
            let x = F::load(x);
            max[v] = if ABS { x.abs() } else { x }.max(max[v]);
        }
    }
    for x in rest.chunks(LANES) {
        let x = load::<F>(x);
        max[0] = if ABS { x.abs() } else { x }.max(max[0]);
    }
    max[0].max(max[1])
}

/// Lane r is the largest of 0 and all x, or all |x| if `ABS`, in row r of `width` floats; 0 for missing rows.
#[inline(always)]
fn largest<F: Floats, const ABS: bool>(x: &[f32], width: usize) -> F {
    let mut largest = [F::splat(0.0); LANES];
    let mut rows = x;
    for largest in &mut largest {
        let Some((row, rest)) = rows.split_at_checked(width) else { break };
        rows = rest;
        *largest = largest_by_lane::<F, ABS>(row);
    }
    F::largest_of_each(&largest)
}

/// Finds the scales of up to 16 rows of `width` floats, and returns the factors that quantize them.
#[inline(always)]
fn scale<F: Floats>(x: &[f32], width: usize, scales: &mut [f32]) -> [f32; LANES] {
    let mut factors = [0.0; LANES];
    if let [scale] = scales {
        (*scale, factors[0]) = row_scale(largest_by_lane::<F, true>(x).largest());
    } else {
        let (scale, factor) = row_scale(largest::<F, true>(x, width));
        store(scale, scales);
        factor.store(&mut factors);
    }
    factors
}

/// Quantizes rows of `width` floats, as many as there are scales.
#[inline(always)]
pub(super) fn quantize<F: Floats>(
    x: &[f32],
    width: usize,
    to: &mut impl CodeRows<F::Ints>,
    scales: &mut [f32],
) {
    let (width, group_rows) = (width.max(1), rows_per_scale_group::<F>(width));
    let mut rows = x;
    for (group, scales) in scales.chunks_mut(group_rows).enumerate() {
        let Some((mut row, rest)) = rows.split_at_checked(width.saturating_mul(scales.len())) else { return };
        rows = rest;
        let factors = scale::<F>(row, width, scales);
        for (r, factor) in factors.iter().enumerate().take(scales.len()) {
            let (x, rest) = row.split_at(width);
            row = rest;
            let Some(mut to) = to.row(group * group_rows + r) else { return };
            encode::<F, false>(x, *factor, 0.0, &mut to);
        }
    }
}

/// Number of rows that both slices have.
#[inline(always)]
fn rows(x: &[f32], codes: &[i8], shape: RowShape) -> usize {
    let count = |length: usize, of: usize| length.checked_div(of).unwrap_or(0);
    count(x.len(), shape.width).min(count(codes.len(), shape.pitch))
}

/// See [`crate::kernels::Kernels::quantize_rows`].
#[inline(always)]
pub(in crate::kernels) fn quantize_rows<F: Floats, const FLIP: i8>(
    x: &[f32],
    shape: RowShape,
    codes: &mut [i8],
    scales: &mut [f32],
) -> usize {
    let count = rows(x, codes, shape).min(scales.len());
    quantize::<F>(x, shape.width, &mut Rows::<FLIP> { codes, shape }, &mut scales[..count]);
    count
}

/// See [`crate::kernels::Kernels::quantize_rows_above`].
#[inline(always)]
pub(in crate::kernels) fn quantize_rows_above<F: Floats, const FLIP: i8>(
    x: &[f32],
    shape: RowShape,
    floor: f32,
    codes: &mut [i8],
    scales: &mut [f32],
    zero_points: &mut [i32],
) -> usize {
    let count = rows(x, codes, shape).min(scales.len()).min(zero_points.len());
    let (width, group_rows) = (shape.width.max(1), rows_per_scale_group::<F>(shape.width));
    let (mut rows, mut to) = (x, Rows::<FLIP> { codes, shape });
    let cells = scales[..count].chunks_mut(group_rows).zip(zero_points[..count].chunks_mut(group_rows));
    for (group, (scales, zero_points)) in cells.enumerate() {
        let Some((mut row, rest)) = rows.split_at_checked(width.saturating_mul(scales.len())) else {
            return count;
        };
        rows = rest;
        let factors = scale_above::<F>(row, width, floor, scales, zero_points);
        for (r, (factor, zero)) in factors.iter().zip(&*zero_points).enumerate() {
            let (x, rest) = row.split_at(width);
            row = rest;
            let Some(mut to) = CodeRows::<F::Ints>::row(&mut to, group * group_rows + r) else {
                return count;
            };
            encode::<F, true>(x, *factor, *zero as f32, &mut to);
        }
    }
    count
}

/// As [`scale`], but with zero points.
#[inline(always)]
fn scale_above<F: Floats>(
    x: &[f32],
    width: usize,
    floor: f32,
    scales: &mut [f32],
    zero_points: &mut [i32],
) -> [f32; LANES] {
    let mut factors = [0.0; LANES];
    if let ([scale], [zero_point]) = (&mut *scales, &mut *zero_points) {
        let row = row_scale_above(largest_by_lane::<F, false>(x).largest(), floor);
        (*scale, *zero_point, factors[0]) = (row.scale, row.zero_point, row.factor);
    } else {
        let (scale, factor, zero) = quant::scale_above(largest::<F, false>(x, width), floor);
        store(scale, scales);
        store_ints(zero.round(), zero_points);
        factor.store(&mut factors);
    }
    factors
}

/// Memory for the codes of rows.
pub(super) trait CodeRows<I: Ints> {
    type Row<'a>: CodeRow<I>
    where
        Self: 'a;
    fn row(&mut self, row: usize) -> Option<Self::Row<'_>>;
}

/// Memory for the codes of one row.
pub(super) trait CodeRow<I: Ints> {
    /// Stores the codes of sixteen columns from `column` on; codes behind the row's end are 0.
    fn store(&mut self, column: usize, codes: I);
    /// Stores the codes of sixty-four columns.
    #[inline(always)]
    fn store_four(&mut self, column: usize, codes: [I; 4]) {
        for v in 0..4 {
            self.store(column + v * LANES, codes[v]);
        }
    }
}

/// Computes and stores the codes of a row: `round(clamp(x·factor + zero_point))`.
#[inline(always)]
fn encode<F: Floats, const SHIFTED: bool>(
    x: &[f32],
    factor: f32,
    zero_point: f32,
    to: &mut impl CodeRow<F::Ints>,
) {
    let (factor, zero_point, low) =
        (F::splat(factor), F::splat(zero_point), if SHIFTED { -128.0 } else { -127.0 });
    let (low, high) = (F::splat(low), F::splat(127.0));
    let (fours, rest) = x.as_chunks::<{ 4 * LANES }>();
    for (i, x) in fours.iter().enumerate() {
        let mut codes = [F::Ints::splat(0); 4];
        for (v, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
            codes[v] = code::<F, SHIFTED>(F::load(x), factor, zero_point, low, high);
        }
        to.store_four(i * 4 * LANES, codes);
    }
    let mut column = x.len() - rest.len();
    let (ones, rest) = rest.as_chunks::<LANES>();
    for x in ones {
        to.store(column, code::<F, SHIFTED>(F::load(x), factor, zero_point, low, high));
        column += LANES;
    }
    if !rest.is_empty() {
        to.store(column, code::<F, SHIFTED>(F::load_first(rest), factor, zero_point, low, high));
    }
}

#[inline(always)]
fn code<F: Floats, const SHIFTED: bool>(x: F, factor: F, zero_point: F, low: F, high: F) -> F::Ints {
    let scaled = x * factor;
    let code = if SHIFTED { scaled + zero_point } else { scaled };
    code.max(low).min(high).round()
}

/// Rows of codes, each XORed with `FLIP`.
struct Rows<'a, const FLIP: i8> {
    codes: &'a mut [i8],
    shape: RowShape,
}

impl<I: Ints, const FLIP: i8> CodeRows<I> for Rows<'_, FLIP> {
    type Row<'a>
        = Row<'a, FLIP>
    where
        Self: 'a;
    #[inline(always)]
    fn row(&mut self, row: usize) -> Option<Row<'_, FLIP>> {
        let RowShape { width, pitch } = self.shape;
        let codes = self.codes.get_mut(row * pitch..(row + 1) * pitch)?;
        let (codes, behind) = codes.split_at_mut(width.min(pitch));
        if !behind.is_empty() {
            clear(behind, FLIP);
        }
        Some(Row(codes))
    }
}

/// Fills the codes behind the width of a row that is narrower than its pitch. A function of its own, so that
/// the common case keeps its registers.
#[cold]
#[inline(never)]
fn clear(behind: &mut [i8], zero: i8) {
    behind.fill(zero);
}

/// The codes as they are kept in memory: each XORed with `FLIP`.
#[inline(always)]
fn flipped<const FLIP: i8, const N: usize>(mut codes: [i8; N]) -> [i8; N] {
    if FLIP != 0 {
        for code in &mut codes {
            *code ^= FLIP;
        }
    }
    codes
}

/// A row of codes.
struct Row<'a, const FLIP: i8>(&'a mut [i8]);

impl<I: Ints, const FLIP: i8> CodeRow<I> for Row<'_, FLIP> {
    #[inline(always)]
    fn store(&mut self, column: usize, codes: I) {
        let codes = flipped::<FLIP, _>(codes.to_i8());
        let out = self.0.get_mut(column..).unwrap_or(&mut []);
        match out.first_chunk_mut::<LANES>() {
            Some(out) => *out = codes,
            None => out.iter_mut().zip(codes).for_each(|(out, code)| *out = code),
        }
    }
    #[inline(always)]
    fn store_four(&mut self, column: usize, codes: [I; 4]) {
        let codes = flipped::<FLIP, _>(I::four_to_i8(codes));
        let out = self.0.get_mut(column..).unwrap_or(&mut []);
        match out.first_chunk_mut() {
            Some(out) => *out = codes,
            None => out.iter_mut().zip(codes).for_each(|(out, code)| *out = code),
        }
    }
}
