//! The sections of a ViT.

use anyhow::Result;
use vitreous::format::SectionKind;
use vitreous::models::vit::{Head, Vit};
use vitreous::tensor::{PanelLayout, Precision};
use vitreous::Model;

use super::{Repacker, Sections};
use crate::vtr::VtrWriter;

pub(super) fn sections(model: &Model, layout: PanelLayout) -> Result<VtrWriter> {
    let vit = Vit::new(model)?;
    let c = vit.config();
    let mut sections = Sections::new(model, layout);
    for kind in [SectionKind::Config, SectionKind::Preprocess, SectionKind::Labels] {
        sections.copy(kind)?;
    }
    sections.pack(SectionKind::Embed, |section| {
        section.linear(c.patch_bytes(), c.dim, Precision::Int8, 0);
        section.copy_rest();
    })?;
    for layer in 0..c.depth {
        sections.pack(SectionKind::Block, |section| block(section, &vit, layer))?;
    }
    sections.pack(SectionKind::Head, |section| head(section, &vit))?;
    Ok(sections.writer)
}

fn block(section: &mut Repacker, vit: &Vit, layer: usize) {
    let (c, precision) = (vit.config(), vit.block_precision(layer));
    section.attention(c.dim, c.heads, [precision.qkv, precision.proj]);
    section.norm(c.dim);
    section.mlp(c.dim, c.hidden, [precision.fc1, precision.fc2]);
}

fn head(section: &mut Repacker, vit: &Vit) {
    let c = vit.config();
    for there in [c.norm_before_pool, c.norm_after_pool] {
        if there {
            section.norm(c.dim);
        }
    }
    for there in [c.head != Head::None, c.second_head_token().is_some()] {
        if there {
            section.linear(c.dim, c.classes, vit.head_precision(), 0);
        }
    }
}
