//! Adding one row to many, and the derivative of that.

use super::lanes::{accumulate, vectorised};
use super::node::with_elements;
use candle_core::{Result, Tensor};

/// Adds `row` to every whole chunk of `out` of its length.
pub fn add_to_each(out: &mut [f32], row: &[f32]) {
    vectorised(
        #[inline(always)]
        || out.chunks_exact_mut(row.len()).for_each(|chunk| accumulate(chunk, row)),
    );
}

/// The sum of all chunks of `length` elements: the gradient of what [`add_to_each`] adds.
pub fn sum_chunks(grad: &Tensor, length: usize) -> Result<Vec<f32>> {
    let mut sums = vec![0f32; length];
    with_elements([grad], |[grad]| {
        vectorised(
            #[inline(always)]
            || grad.chunks_exact(length).for_each(|chunk| accumulate(&mut sums, chunk)),
        );
    })?;
    Ok(sums)
}
