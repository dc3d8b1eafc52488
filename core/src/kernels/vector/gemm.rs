//! The int8 matrix product: blocks of rows times blocks of 16-output panels, sums in registers.

use super::{Dot, Floats, Ints, GROUP, LANES};

/// Rows of int8 inputs, `(rows, pitch)`.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    data: &'a [i8],
    rows: usize,
    pitch: usize,
}

/// Panels of 16 outputs, in each groups of 4 inputs: `(panels, pitch/4, 16, 4)`.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    data: &'a [i8],
    panels: usize,
    pitch: usize,
    /// The initial sums of each panel, as [`Dot::initial_to_ints`] wrote them; empty if they are to be
    /// computed.
    initial_sums: &'a [i32],
}

impl<'a> Inputs<'a> {
    /// At most `rows` rows, and no more than the data holds.
    pub(super) fn new(data: &'a [i8], rows: usize, pitch: usize) -> Self {
        let there = data.len().checked_div(pitch).unwrap_or(0);
        Self { data, rows: rows.min(there), pitch }
    }

    /// `MR` rows from `row` on, which exists. The last row stands in for missing ones, whose results are
    /// dropped.
    #[inline(always)]
    fn at<const MR: usize>(&self, row: usize) -> [*const i8; MR] {
        let mut at = [self.data.as_ptr(); MR];
        for r in 0..MR {
            // SAFETY: every row lies in the data.
            at[r] = unsafe { at[r].add((row + r).min(self.rows - 1) * self.pitch) };
        }
        at
    }
}

impl<'a> Panels<'a> {
    /// The panels of `outputs` outputs, and no more than the data holds.
    pub(super) fn new(data: &'a [i8], outputs: usize, pitch: usize) -> Self {
        let there = data.len().checked_div(pitch.saturating_mul(LANES)).unwrap_or(0);
        Self { data, panels: outputs.div_ceil(LANES).min(there), pitch, initial_sums: &[] }
    }

    /// The same panels, with initial sums that were computed before.
    pub(super) fn with_initial_sums(self, initial_sums: &'a [i32]) -> Self {
        Self { initial_sums, ..self }
    }

    /// The initial sums of a panel.
    #[inline(always)]
    fn initial_sums<D: Dot>(&self, panel: usize) -> D::Sums {
        if let Some(initial) = self.initial_sums.get(panel * D::INITIAL_INTS..).and_then(D::initial_from_ints)
        {
            return initial;
        }
        // `new` has seen that the data holds as many, so their bytes can be counted.
        assert!(panel < self.panels);
        let bytes = self.pitch * LANES;
        // SAFETY: the panel is one of them.
        unsafe { D::initial_sums(self.data.as_ptr().add(panel * bytes), self.pitch / 4 / D::GROUPS) }
    }

    /// Writes the initial sums of all panels.
    #[inline(always)]
    pub(super) fn all_initial_sums<D: Dot>(&self, initial_sums: &mut [i32]) {
        if D::INITIAL_INTS > 0 {
            for (panel, to) in initial_sums.chunks_exact_mut(D::INITIAL_INTS).take(self.panels).enumerate() {
                D::initial_to_ints(self.initial_sums::<D>(panel), to);
            }
        }
    }
}

/// Takes the dot products of the matrix product, a row of some panels at a time.
pub(super) trait Epilogue<F: Floats> {
    /// What all rows of some panels have in common, such as scales.
    type Constants<const NV: usize>;
    /// The constants of the `NV` panels from `panel` on. The last outputs of the last panel may not exist.
    fn constants<const NV: usize>(&self, panel: usize) -> Option<Self::Constants<NV>>;
    /// Takes the dot products of a row with some panels.
    fn store_row<const NV: usize>(&mut self, row: usize, panels: &Self::Constants<NV>, dots: [F::Ints; NV]);
    /// What is left to do once the rows from `row` on have been taken.
    #[inline(always)]
    fn finish_rows<const NV: usize>(&mut self, _row: usize, _rows: usize, _panels: &Self::Constants<NV>) {}
}

/// Hands the dot products of a block's rows to the epilogue. The loop over rows is written out, since in a
/// loop all sums would go through memory.
#[inline(always)]
fn run_epilogue<D: Dot, const MR: usize, const NV: usize, E: Epilogue<D::Floats>>(
    epilogue: &mut E,
    row: usize,
    rows: usize,
    panel: usize,
    sums: &[[D::Sums; NV]; MR],
) {
    const { assert!(MR <= 6) };
    let Some(panels) = epilogue.constants::<NV>(panel) else { return };
    macro_rules! take_rows {
        ($($r:literal)*) => {$(
            if $r < MR && $r < rows {
                let mut dots = [<D::Floats as Floats>::Ints::splat(0); NV];
                for v in 0..NV {
                    dots[v] = D::finish(sums[$r][v]);
                }
                epilogue.store_row(row + $r, &panels, dots);
            }
        )*};
    }
    take_rows!(0 1 2 3 4 5);
    epilogue.finish_rows(row, rows, &panels);
}

/// Dot products of all rows with all outputs, `MR` rows and up to `NV` panels at a time. The loop over panels
/// is the outer one, so that their weights stay in the first-level cache while the rows of a tile go by.
#[inline(always)]
pub(super) fn multiply<D: Dot, const MR: usize, const NV: usize>(
    x: Inputs,
    w: Panels,
    epilogue: &mut impl Epilogue<D::Floats>,
) {
    if x.pitch != w.pitch || x.pitch == 0 || !x.pitch.is_multiple_of(4 * D::GROUPS) {
        return;
    }
    if x.rows == 1 {
        all_panels::<D, 1, NV>(&x, &w, epilogue);
    } else {
        all_panels::<D, MR, NV>(&x, &w, epilogue);
    }
}

/// All rows with all panels.
#[inline(always)]
fn all_panels<D: Dot, const MR: usize, const NV: usize>(
    x: &Inputs,
    w: &Panels,
    epilogue: &mut impl Epilogue<D::Floats>,
) {
    let mut panel = 0;
    while panel < w.panels {
        let left = w.panels - panel;
        if NV >= 4 && left >= 4 {
            panel_group::<D, MR, 4>(x, w, panel, epilogue);
            panel += 4;
        } else if NV >= 2 && left >= 2 {
            panel_group::<D, MR, 2>(x, w, panel, epilogue);
            panel += 2;
        } else {
            panel_group::<D, MR, 1>(x, w, panel, epilogue);
            panel += 1;
        }
    }
}

/// All rows with `NV` panels.
#[inline(always)]
fn panel_group<D: Dot, const MR: usize, const NV: usize>(
    x: &Inputs,
    w: &Panels,
    panel: usize,
    epilogue: &mut impl Epilogue<D::Floats>,
) {
    if x.rows == 0 {
        return;
    }
    let (panel_bytes, steps) = (w.pitch * LANES, w.pitch / 4 / D::GROUPS);
    debug_assert!((panel + NV) * panel_bytes <= w.data.len());
    debug_assert!(x.rows * x.pitch <= x.data.len());
    // SAFETY: `Panels::new` has seen that the data holds all panels.
    let at = unsafe { w.data.as_ptr().add(panel * panel_bytes) };
    let weights = WeightsAt { at, panel_bytes, steps };
    let (mut row, mut initial, mut first) = (0, [D::start(); NV], None);
    // A single row leaves no room for the row of ones.
    if MR > 1 && w.initial_sums.is_empty() {
        // SAFETY: the rows have `pitch` inputs, every panel lies in the weights' data.
        first = unsafe { D::first_block::<MR, NV>(x.at(0), &weights) };
    }
    if let Some(first) = first {
        row = (MR - 1).min(x.rows);
        initial = first.initial;
        run_epilogue::<D, MR, NV, _>(epilogue, 0, row, panel, &first.sums);
    } else {
        for v in 0..NV {
            initial[v] = w.initial_sums::<D>(panel + v);
        }
    }
    while row < x.rows {
        // SAFETY: as above.
        let sums = unsafe { D::block::<MR, NV>(x.at(row), &initial, &weights) };
        run_epilogue::<D, MR, NV, _>(epilogue, row, MR.min(x.rows - row), panel, &sums);
        row += MR;
    }
}

/// What [`Dot::first_block`] computes.
pub(in crate::kernels) struct FirstBlock<D: Dot, const MR: usize, const NV: usize> {
    /// Initial sums of each panel.
    pub initial: [D::Sums; NV],
    /// Sums of each row; the last row's have no meaning.
    pub sums: [[D::Sums; NV]; MR],
}

/// The panels of a block.
pub(in crate::kernels) struct WeightsAt {
    /// Address of the first panel.
    pub at: *const i8,
    /// Bytes from one panel to the next.
    pub panel_bytes: usize,
    /// Number of steps, each of 4·`GROUPS` inputs.
    pub steps: usize,
}

/// The default of [`Dot::block`].
///
/// # Safety
/// As for that.
#[inline(always)]
pub(in crate::kernels) unsafe fn block<D: Dot, const MR: usize, const NV: usize>(
    x: [*const i8; MR],
    initial: &[D::Sums; NV],
    weights: &WeightsAt,
) -> [[D::Sums; NV]; MR] {
    let mut sums = [*initial; MR];
    for step in 0..weights.steps {
        let mut w = [const { core::mem::MaybeUninit::<D::Weights>::uninit() }; NV];
        for (v, w) in w.iter_mut().enumerate() {
            // SAFETY: `step` is below `steps`, `v` below `NV`.
            w.write(unsafe {
                D::load_weights(weights.at.add(v * weights.panel_bytes + step * D::GROUPS * GROUP))
            });
        }
        for r in 0..MR {
            // SAFETY: `step` is below `steps`.
            let inputs = unsafe { D::load_inputs(x[r].add(step * D::GROUPS * 4)) };
            for v in 0..NV {
                // SAFETY: written above.
                sums[r][v] = D::dot(sums[r][v], unsafe { w[v].assume_init() }, inputs);
            }
        }
    }
    sums
}

/// Multiply-accumulates of an iteration of [`peak`].
pub(in crate::kernels) const fn peak_macs<D: Dot>(rows: usize, panels: usize) -> usize {
    rows * panels * D::GROUPS * GROUP
}

/// The innermost loop of [`block`] on weights that stay in registers. The inputs are loaded each time, or the
/// compiler would see that all products are equal.
#[inline(always)]
pub(in crate::kernels) fn peak<D: Dot, const MR: usize, const NV: usize>(iterations: usize) -> i32 {
    const MOST_GROUPS: usize = 4;
    const { assert!(D::GROUPS <= MOST_GROUPS) };
    let weights = core::hint::black_box([[1i8; MOST_GROUPS * GROUP]; NV]);
    let inputs = core::hint::black_box([[1i8; MOST_GROUPS * 4]; MR]);
    let mut w = [const { core::mem::MaybeUninit::<D::Weights>::uninit() }; NV];
    for (w, weights) in w.iter_mut().zip(&weights) {
        // SAFETY: the array has the bytes that are read.
        w.write(unsafe { D::load_weights(weights.as_ptr()) });
    }
    let mut sums = [[D::start(); NV]; MR];
    for _ in 0..iterations {
        let inputs = core::hint::black_box(&inputs);
        for r in 0..MR {
            // SAFETY: the array has the bytes that are read.
            let x = unsafe { D::load_inputs(inputs[r].as_ptr()) };
            for v in 0..NV {
                // SAFETY: written above.
                sums[r][v] = D::dot(sums[r][v], unsafe { w[v].assume_init() }, x);
            }
        }
    }
    let mut total = 0i32;
    for r in 0..MR {
        for v in 0..NV {
            total = total.wrapping_add(D::finish(sums[r][v]).sum());
        }
    }
    total
}
