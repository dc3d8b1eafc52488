//! Cost of each layer of a restorer, for one task.

use vitreous::models::ipt::{Ipt, BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use vitreous::tensor::Precision;
use vitreous::Stage;

use super::layer::{precision_name, Layer, Maker};
use super::place::Place;

/// A convolution.
struct Conv {
    /// Side of the kernel, inputs, outputs.
    shape: [usize; 3],
    /// Positions of it.
    pixels: usize,
    precision: Precision,
    /// Whether its inputs have a zero point, and the file the sums of its weights.
    zero_point: bool,
}

fn conv(make: &Maker, name: String, place: Place, conv: Conv) -> Layer {
    let Conv { shape: [kernel, inputs, outputs], pixels, precision, zero_point } = conv;
    let taps = kernel * kernel * inputs;
    Layer {
        name,
        shape: format!("conv {kernel}×{kernel}, {inputs} → {outputs}, {pixels} pixels"),
        precision: precision_name(precision),
        parameters: (taps as u64 + 1) * outputs as u64,
        macs: (pixels * taps * outputs) as u64,
        bytes: make.weight_bytes([taps, outputs], precision, zero_point),
        place,
    }
}

/// All layers that a task runs through, in their order.
///
/// `task` is an index into the model's tasks.
pub fn restorer_layers(ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, body) = (ipt.config(), ipt.section().body());
    let dim = c.dim();
    let make = Maker::new(ipt.model(), c.tokens(), dim, c.heads);
    let mut all = head_layers(&make, ipt, task);
    let encode = Place::In(Stage::Encode);
    all.push(make.linear("encoding".into(), encode, [dim, dim], make.tokens, body.encoding));
    all.push(make.embedding("position_encoding".into(), encode));
    for layer in 0..c.encoder_layers + c.decoder_layers {
        all.extend(body_layers(&make, ipt, layer));
    }
    all.extend(make.mlp("mlp_head", Stage::Decode, c.head_hidden, [body.fc1, body.fc2]));
    // Every norm of the decoder adds the query; the first reads it first.
    let first_decoder = Place::In(Stage::Norm { layer: c.encoder_layers as u16 });
    all.push(make.embedding(format!("tail.{task}.query"), first_decoder));
    all.extend(tail_layers(&make, ipt, task));
    all
}

fn head_layers(make: &Maker, ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, precision) = (ipt.config(), ipt.section().task(task));
    let pixels = c.window * c.window;
    let entry = [OUTER_KERNEL, COLOURS, c.features];
    let entry = Conv { shape: entry, pixels, precision: Precision::F16, zero_point: false };
    let part = |part| Place::In(Stage::Conv { part });
    let mut all = vec![conv(make, format!("head.{task}.entry"), part(0), entry)];
    for (index, precision) in (0u16..).zip(precision.blocks) {
        let shape = [BLOCK_KERNEL, c.features, c.features];
        let layer = Conv { shape, pixels, precision, zero_point: index % 2 == 1 };
        // Two convolutions make a residual block.
        all.push(conv(make, format!("head.{task}.conv{index}"), part(1 + index / 2), layer));
    }
    all
}

/// A layer of encoder or decoder; the decoder's are counted on from the encoder's.
fn body_layers(make: &Maker, ipt: &Ipt, index: usize) -> Vec<Layer> {
    let (c, precision) = (ipt.config(), ipt.section().layer(index));
    let layer = index as u16;
    let decoder = index.checked_sub(c.encoder_layers);
    let name = decoder.map_or(format!("encoder.{index}"), |index| format!("decoder.{index}"));
    let mut all = vec![make.norm(format!("{name}.norm1"), Stage::Norm { layer })];
    let own = [precision.qkv, precision.proj];
    all.extend(make.attention(&format!("{name}.attn"), Place::Own(layer), own, false));
    if decoder.is_some() {
        all.push(make.norm(format!("{name}.norm2"), Stage::CrossNorm { layer }));
        let cross = [precision.cross_qkv, precision.cross_proj];
        all.extend(make.attention(&format!("{name}.cross_attn"), Place::Cross(layer), cross, false));
    }
    let mlp = Stage::Mlp { layer };
    all.push(make.norm(format!("{name}.mlp.norm"), mlp));
    all.extend(make.mlp(&name, mlp, c.hidden, [precision.fc1, precision.fc2]));
    all
}

fn tail_layers(make: &Maker, ipt: &Ipt, task: usize) -> Vec<Layer> {
    let (c, precision) = (ipt.config(), ipt.section().task(task));
    let tail = Place::In(Stage::Tail);
    let (mut side, mut all) = (c.window, Vec::new());
    let steps = c.tasks.get(task).map_or(&[][..], |task| task.upsampler());
    for (index, (factor, precision)) in steps.iter().zip(precision.upsampler).enumerate() {
        let shape = [OUTER_KERNEL, c.features, c.features * factor * factor];
        let layer = Conv { shape, pixels: side * side, precision, zero_point: false };
        all.push(conv(make, format!("tail.{task}.conv{index}"), tail, layer));
        side *= factor;
    }
    let exit = [OUTER_KERNEL, c.features, COLOURS];
    let exit = Conv { shape: exit, pixels: side * side, precision: Precision::F16, zero_point: false };
    all.push(conv(make, format!("tail.{task}.exit"), tail, exit));
    all
}
