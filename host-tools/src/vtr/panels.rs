//! Panels of int8 weights: the orders in which kernels read them.

use vitreous::tensor::{padded, PanelLayout};

/// Packs `(outputs, inputs)` weights, −127 to 127, into zero-padded panels.
pub fn pack_panels(values: &[i8], inputs: usize, layout: PanelLayout) -> Vec<i8> {
    let pitch = padded(inputs);
    let outputs = values.len() / inputs;
    let mut panels = vec![0i8; layout.padded_outputs(outputs) * pitch];
    for (n, row) in values.chunks_exact(inputs).enumerate() {
        for (k, value) in row.iter().enumerate() {
            panels[place(layout, pitch, n, k)] = *value;
        }
    }
    if layout.is_paired() {
        for pair in panels.chunks_exact_mut(2).filter(|pair| pair[0] < 0) {
            pair[1] = pair[1].wrapping_sub(1);
        }
    }
    panels
}

/// The `(outputs, inputs)` weights of panels.
pub fn unpack_panels(panels: &[i8], inputs: usize, outputs: usize, layout: PanelLayout) -> Vec<i8> {
    let pitch = padded(inputs);
    let weight = |n: usize, k: usize| {
        let at = place(layout, pitch, n, k);
        let is_second = layout.is_paired() && n % 2 == 1;
        panels[at].wrapping_add(i8::from(is_second && panels[at - 1] < 0))
    };
    (0..outputs).flat_map(|n| (0..inputs).map(move |k| weight(n, k))).collect()
}

/// Where the weight of output n and input k stands.
fn place(layout: PanelLayout, pitch: usize, n: usize, k: usize) -> usize {
    let (nr, kr) = (layout.nr as usize, layout.kr as usize);
    if nr == 1 {
        return n * pitch + k;
    }
    (n / nr) * nr * pitch + (k / kr) * nr * kr + (n % nr) * kr + k % kr
}
