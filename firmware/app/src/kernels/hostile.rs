//! Calls of a table's functions with wrong shapes: nothing beside their views may be written, and the board
//! must reach the end.

use vitreous::kernels::{Attention, AttentionScratch, Epilogue, Kernels, RowShape};
use vitreous::models::vit::Activation;
use vitreous::tensor::{padded, LinearF16, LinearI8, NormWeights, PanelLayout, RowsI8};

use crate::numbers::Numbers;

// The host's tests of the engine make the same calls, with guard pages around each view.
#[path = "../../../../core/src/kernels/tests/calls.rs"]
mod calls;

/// Calls of a case.
const CALLS: usize = 100;

/// As [`crate::check::Case`], but without taking memory from the pool.
pub fn case(table: &Kernels, memory: &mut [u128], numbers: &mut Numbers) -> (Option<&'static str>, usize) {
    memory.iter_mut().for_each(|unit| *unit = u128::from(numbers.bits()) << 64 | u128::from(numbers.bits()));
    let (memory, _) = bytemuck::cast_slice_mut::<u128, u8>(memory).as_chunks_mut::<{ calls::AREA }>();
    for _ in 0..CALLS {
        let Some(areas) = memory.first_chunk_mut::<{ calls::AREAS }>() else { return (Some("memory"), 0) };
        let areas = areas.each_mut().map(|area| area.as_mut_slice());
        let written = calls::call(table, areas, &mut || numbers.bits());
        if written.is_some() {
            return (written, 0);
        }
    }
    (None, 0)
}
