//! A task's head: pixels to feature maps. Each function makes one row and returns the number of the next.

use super::config::{IptConfig, BLOCK_KERNEL, COLOURS};
use super::plan::{Slots, HIDDEN_ROWS};
use crate::error::Fault;
use crate::kernels::{Activation, Epilogue};
use crate::ops::{conv_row, Conv, Inputs, Source, Target};
use crate::run::Workspace;

/// `map[y] = W * (pixels − mean) + b`.
pub(super) fn entry_row(
    w: &mut Workspace,
    c: &IptConfig,
    (entry, mean): (&Conv, [f32; COLOURS]),
    slots: &Slots,
    y: usize,
) -> Result<usize, Fault> {
    let pixels = (Source::Pixels(slots.window, mean), c.window, y);
    let map = Target::Row(slots.map, y, Epilogue::None);
    conv_row(w, &slots.conv, (entry, Inputs::Signed), pixels, map)?;
    Ok(y + 1)
}

/// `map[y] += W₂ * relu(W₁ * map + b₁) + b₂`.
///
/// The rows of the hidden maps are made as they are needed and kept in a ring; `made` counts them. `map[y]`
/// can be updated in place: all hidden rows that see it have been made by then.
pub(super) fn block_row(
    w: &mut Workspace,
    c: &IptConfig,
    [first, second]: &[Conv; 2],
    slots: &Slots,
    made: &mut usize,
    y: usize,
) -> Result<usize, Fault> {
    let last = (y + BLOCK_KERNEL / 2).min(c.window - 1);
    while *made <= last {
        let map = (Source::Ring(slots.map), c.window, *made);
        let relu = Epilogue::Activation(Activation::Relu);
        let hidden = Target::Row(slots.hidden_rows, *made % HIDDEN_ROWS, relu);
        conv_row(w, &slots.conv, (first, Inputs::Signed), map, hidden)?;
        *made += 1;
    }
    let hidden = (Source::Ring(slots.hidden_rows), c.window, y);
    conv_row(w, &slots.conv, (second, Inputs::NotNegative), hidden, Target::Add(slots.map, y))?;
    Ok(y + 1)
}
