//! Conversion of rows between f16 and f32.

use half::f16;

use super::{load, load_f16, store, store_f16, Floats, LANES};

/// Converts f16 to f32.
#[inline(always)]
pub(in crate::kernels) fn widen<F: Floats>(x: &[f16], out: &mut [f32]) {
    let count = x.len().min(out.len());
    for (x, out) in x[..count].chunks(LANES).zip(out[..count].chunks_mut(LANES)) {
        store(load_f16::<F>(x), out);
    }
}

/// Converts f32 to f16, bounded to ±65504.
#[inline(always)]
pub(in crate::kernels) fn narrow<F: Floats>(x: &[f32], out: &mut [f16]) {
    let count = x.len().min(out.len());
    for (x, out) in x[..count].chunks(LANES).zip(out[..count].chunks_mut(LANES)) {
        store_f16(load::<F>(x), out);
    }
}
