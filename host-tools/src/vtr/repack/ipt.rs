//! The sections of an IPT.

use anyhow::Result;
use half::f16;
use vitreous::format::SectionKind;
use vitreous::models::ipt::{Ipt, BLOCK_KERNEL, COLOURS, OUTER_KERNEL};
use vitreous::tensor::{PanelLayout, Precision};
use vitreous::Model;

use super::{Repacker, Sections};
use crate::vtr::VtrWriter;

pub(super) fn sections(model: &Model, layout: PanelLayout) -> Result<VtrWriter> {
    let ipt = Ipt::new(model)?;
    let (c, precision) = (ipt.config(), ipt.section().body());
    let mut sections = Sections::new(model, layout);
    sections.copy(SectionKind::Config)?;
    for task in 0..c.tasks.len() {
        sections.pack(SectionKind::TaskHead, |section| head(section, &ipt, task))?;
    }
    sections.pack(SectionKind::Encode, |section| {
        section.linear(c.dim(), c.dim(), precision.encoding, 0);
        section.copy_rest();
    })?;
    for layer in 0..c.encoder_layers {
        sections.pack(SectionKind::EncoderLayer, |section| body_layer(section, &ipt, layer))?;
    }
    for layer in c.encoder_layers..c.encoder_layers + c.decoder_layers {
        sections.pack(SectionKind::DecoderLayer, |section| body_layer(section, &ipt, layer))?;
    }
    sections.pack(SectionKind::MlpHead, |section| {
        section.mlp(c.dim(), c.head_hidden, [precision.fc1, precision.fc2]);
    })?;
    for task in 0..c.tasks.len() {
        sections.pack(SectionKind::TaskTail, |section| tail(section, &ipt, task))?;
    }
    Ok(sections.writer)
}

fn head(section: &mut Repacker, ipt: &Ipt, task: usize) {
    let features = ipt.config().features;
    section.linear(OUTER_KERNEL * OUTER_KERNEL * COLOURS, features, Precision::F16, 0);
    let taps = BLOCK_KERNEL * BLOCK_KERNEL * features;
    for (conv, precision) in ipt.section().task(task).blocks.into_iter().enumerate() {
        // Inputs of a block's second convolution have a zero point.
        section.linear(taps, features, precision, if conv % 2 == 1 { features } else { 0 });
    }
}

fn body_layer(section: &mut Repacker, ipt: &Ipt, layer: usize) {
    let (c, precision) = (ipt.config(), ipt.section().layer(layer));
    section.attention(c.dim(), c.heads, [precision.qkv, precision.proj]);
    if layer >= c.encoder_layers {
        section.attention(c.dim(), c.heads, [precision.cross_qkv, precision.cross_proj]);
    }
    section.norm(c.dim());
    section.mlp(c.dim(), c.hidden, [precision.fc1, precision.fc2]);
}

fn tail(section: &mut Repacker, ipt: &Ipt, task: usize) {
    let c = ipt.config();
    let taps = OUTER_KERNEL * OUTER_KERNEL * c.features;
    section.copy(size_of::<f16>() * c.tokens() * c.dim());
    let steps = c.tasks.get(task).map_or(&[][..], |task| task.upsampler());
    for (factor, precision) in steps.iter().zip(ipt.section().task(task).upsampler) {
        section.linear(taps, c.features * factor * factor, precision, 0);
    }
    section.linear(taps, COLOURS, Precision::F16, 0);
}
