//! A model with its int8 weights in another order.

use anyhow::{Context, Result};
use half::f16;
use vitreous::format::SectionKind;
use vitreous::models::vit::{Head, Vit, VitConfig};
use vitreous::tensor::{padded, PanelLayout, Precision, ALIGN};
use vitreous::Model;

use super::{AlignedBytes, SectionWriter, VtrHeader, VtrWriter};
use crate::quantize::{pack_panels, unpack_panels};

/// The same ViT with its int8 weights in panels of `layout`: what a kernel table wants that can't read the file's own.
///
/// # Errors
/// A file that the engine refuses, or one of over 4 GiB.
pub fn repack(bytes: &[u8], layout: PanelLayout) -> Result<AlignedBytes> {
    let model = Model::parse_without_checksums(bytes)?;
    let vit = Vit::new(&model)?;
    let c = *vit.config();
    let mut writer = VtrWriter::default();
    for index in 0..model.sections() {
        let (kind, start, length) = model.section(index).context("a section is missing")?;
        let input = &bytes[start..start + length];
        let mut section = Repacker { from: model.layout(), to: layout, input, out: SectionWriter::default() };
        // The sections' order is the format's: configuration, preprocessing, labels, embedding, blocks, head.
        let kinds = [SectionKind::Config, SectionKind::Preprocess, SectionKind::Labels];
        if let Some(kind) = kinds.into_iter().find(|k| *k as u32 == kind) {
            writer.bytes(kind, input.to_vec());
        } else if kind == SectionKind::Embed as u32 {
            section.linear(c.patch_bytes(), c.dim, Precision::Int8, 0);
            section.copy_rest();
            writer.tensors(SectionKind::Embed, section.out);
        } else if kind == SectionKind::Block as u32 {
            section.block(&vit, index - 4);
            writer.tensors(SectionKind::Block, section.out);
        } else {
            section.head(&vit);
            writer.tensors(SectionKind::Head, section.out);
        }
    }
    let header = VtrHeader {
        architecture: model.architecture(),
        model_version: model.version(),
        layout,
        arena_bytes: model.arena_bytes() as u32,
        tile_rows: model.tile_rows() as u32,
        source_sha256: model.source_sha256(),
        name: model.name().to_owned(),
    };
    Ok(AlignedBytes::copy_of(&writer.finish(&header)?))
}

/// One section on its way; tensors follow each other, each padded to 16 bytes.
struct Repacker<'a> {
    from: PanelLayout,
    to: PanelLayout,
    input: &'a [u8],
    out: SectionWriter,
}

impl Repacker<'_> {
    fn copy(&mut self, bytes: usize) {
        let (tensor, rest) = self.input.split_at(bytes.next_multiple_of(ALIGN).min(self.input.len()));
        self.out.tensor(tensor);
        self.input = rest;
    }

    fn copy_rest(&mut self) {
        self.copy(self.input.len());
    }

    /// Weights in the new order; scales, bias and `sums` sums as they are.
    fn linear(&mut self, inputs: usize, outputs: usize, precision: Precision, sums: usize) {
        match precision {
            Precision::F16 => {
                self.copy(size_of::<f16>() * padded(outputs) * inputs);
                self.copy(4 * outputs);
            }
            Precision::Int8 => {
                let bytes = self.from.padded_outputs(outputs) * padded(inputs);
                let (panels, rest) = self.input.split_at(bytes);
                let values = unpack_panels(bytemuck::cast_slice(panels), inputs, outputs, self.from);
                self.out.tensor(&pack_panels(&values, inputs, self.to));
                self.input = rest;
                self.copy(4 * outputs);
                self.copy(4 * outputs);
                self.copy(4 * sums);
            }
        }
    }

    fn norm(&mut self, c: &VitConfig) {
        self.copy(4 * c.dim);
        self.copy(4 * c.dim);
    }

    fn block(&mut self, vit: &Vit, layer: usize) {
        let (c, precision) = (*vit.config(), vit.block_precision(layer));
        self.norm(&c);
        for _ in 0..c.heads {
            for _ in 0..3 {
                self.linear(c.dim, c.head_dim(), precision.qkv, 0);
            }
            self.linear(c.head_dim(), c.dim, precision.proj, 0);
        }
        self.norm(&c);
        self.linear(c.dim, c.hidden, precision.fc1, 0);
        self.linear(c.hidden, c.dim, precision.fc2, c.dim);
    }

    fn head(&mut self, vit: &Vit) {
        let c = vit.config();
        for there in [c.norm_before_pool, c.norm_after_pool] {
            if there {
                self.norm(c);
            }
        }
        for there in [c.head != Head::None, c.head == Head::Distilled] {
            if there {
                self.linear(c.dim, c.classes, vit.head_precision(), 0);
            }
        }
    }
}
