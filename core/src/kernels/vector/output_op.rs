//! Output operators: what a linear layer does with its results before they are stored.

use half::f16;

use super::{load, load_f16, store, store_f16, Floats, LANES};
use crate::math::{relu, GateTable, GATE_ERF, GATE_TANH};

/// Takes sixteen results at a time and stores them. Operators are types rather than closures, since a closure
/// doesn't get the instruction set of the function that calls it.
pub(super) trait OutputOp<F> {
    type Element;
    fn store(y: F, out: &mut [Self::Element]);
    /// What is left to do with a row's stored outputs. Operations whose constants don't fit into the
    /// registers beside the sums of a block are done here.
    #[inline(always)]
    fn finish(_out: &mut [Self::Element]) {}
    /// Stores `N` times sixteen results; the slice may end before the last ones.
    #[inline(always)]
    fn store_all<const N: usize>(y: [F; N], out: &mut [Self::Element])
    where
        F: Copy,
    {
        match out.as_chunks_mut::<LANES>().0.first_chunk_mut::<N>() {
            Some(whole) => {
                for v in 0..N {
                    Self::store(y[v], &mut whole[v]);
                }
            }
            None => {
                for (y, out) in y.into_iter().zip(out.chunks_mut(LANES)) {
                    Self::store(y, out);
                }
            }
        }
    }
}

/// Stores results as they are.
pub(super) struct Plain;
/// Stores GELU with the error function of the results.
pub(super) struct Gelu;
pub(super) struct GeluTanh;
pub(super) struct Relu;
/// Adds results to the residual stream.
pub(super) struct Residual;

impl<F: Floats> OutputOp<F> for Plain {
    type Element = f32;
    #[inline(always)]
    fn store(y: F, out: &mut [f32]) {
        store(y, out);
    }
}

impl<F: Floats> OutputOp<F> for Gelu {
    type Element = f32;
    #[inline(always)]
    fn store(y: F, out: &mut [f32]) {
        store_gelu(y, &GATE_ERF, out);
    }
    #[inline(always)]
    fn finish(out: &mut [f32]) {
        finish_gelu::<F>(&GATE_ERF, out);
    }
}

impl<F: Floats> OutputOp<F> for GeluTanh {
    type Element = f32;
    #[inline(always)]
    fn store(y: F, out: &mut [f32]) {
        store_gelu(y, &GATE_TANH, out);
    }
    #[inline(always)]
    fn finish(out: &mut [f32]) {
        finish_gelu::<F>(&GATE_TANH, out);
    }
}

#[inline(always)]
fn store_gelu<F: Floats>(y: F, table: &GateTable, out: &mut [f32]) {
    store(if F::SEPARATE_GATES { y } else { y * y.gate(table) }, out);
}

#[inline(always)]
fn finish_gelu<F: Floats>(table: &GateTable, out: &mut [f32]) {
    if !F::SEPARATE_GATES {
        return;
    }
    let (fours, rest) = out.as_chunks_mut::<{ 4 * LANES }>();
    for out in fours {
        let mut x = [F::splat(0.0); 4];
        let out = out.as_chunks_mut::<LANES>().0;
        for v in 0..4 {
            x[v] = F::load(&out[v]);
        }
        let gates = F::gate_of_each(x, table);
        for v in 0..4 {
            (x[v] * gates[v]).store(&mut out[v]);
        }
    }
    for out in rest.chunks_mut(LANES) {
        let x = load::<F>(out);
        store(x * x.gate(table), out);
    }
}

impl<F: Floats> OutputOp<F> for Relu {
    type Element = f32;
    #[inline(always)]
    fn store(y: F, out: &mut [f32]) {
        store(relu(y), out);
    }
}

impl<F: Floats> OutputOp<F> for Residual {
    type Element = f16;
    #[inline(always)]
    fn store(y: F, out: &mut [f16]) {
        store_f16(load_f16::<F>(out) + y, out);
    }
}
