//! A model with its int8 weights in another order.

mod ipt;
mod vit;

use anyhow::{ensure, Context, Result};
use half::f16;
use vitreous::format::SectionKind;
use vitreous::tensor::{padded, PanelLayout, Precision, ALIGN};
use vitreous::Model;

use super::{pack_panels, unpack_panels, AlignedBytes, Family, SectionWriter, VtrHeader, VtrWriter};

/// The same model with its int8 weights in panels of `layout`: what a kernel table wants that can't read the
/// file's own.
///
/// # Errors
/// A file that the engine refuses, or one of over 4 GiB.
pub fn repack(bytes: &[u8], layout: PanelLayout) -> Result<AlignedBytes> {
    let model = Model::parse_without_checksums(bytes)?;
    let mut sections = match Family::of(&model) {
        Family::Vit => vit::sections(&model, layout)?,
        Family::Ipt => ipt::sections(&model, layout)?,
    };
    sections.settings(model.settings()?);
    let header = VtrHeader {
        family: Family::of(&model),
        model_version: model.version(),
        layout,
        tile_rows: model.tile_rows() as u32,
        source_sha256: model.source_sha256(),
        name: model.name().to_owned(),
    };
    Ok(AlignedBytes::copy_of(&sections.finish(&header)?))
}

/// Goes through the sections of a file in their order.
struct Sections<'a> {
    model: &'a Model<'a>,
    layout: PanelLayout,
    next: usize,
    writer: VtrWriter,
}

impl<'a> Sections<'a> {
    fn new(model: &'a Model<'a>, layout: PanelLayout) -> Self {
        Self { model, layout, next: 0, writer: VtrWriter::default() }
    }

    fn input(&mut self) -> Result<&'a [u8]> {
        let (_, start, length) = self.model.section(self.next).context("a section is missing")?;
        self.next += 1;
        Ok(&self.model.bytes()[start..start + length])
    }

    /// The next section as it is.
    fn copy(&mut self, kind: SectionKind) -> Result<()> {
        let bytes = self.input()?.to_vec();
        self.writer.bytes(kind, bytes);
        Ok(())
    }

    /// The next section, of which `pack` takes all tensors.
    fn pack(&mut self, kind: SectionKind, pack: impl FnOnce(&mut Repacker)) -> Result<()> {
        let (from, to, input) = (self.model.layout(), self.layout, self.input()?);
        let mut section = Repacker { from, to, input, out: SectionWriter::default(), is_sound: true };
        pack(&mut section);
        ensure!(section.is_sound, "a weight is -128, which paired panels do not hold");
        self.writer.tensors(kind, section.out);
        Ok(())
    }
}

/// One section on its way; tensors follow each other, each padded to 16 bytes.
struct Repacker<'a> {
    from: PanelLayout,
    to: PanelLayout,
    input: &'a [u8],
    out: SectionWriter,
    /// No weight was met that an order can't hold.
    is_sound: bool,
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
                self.is_sound &=
                    !(self.from.is_paired() || self.to.is_paired()) || !values.contains(&i8::MIN);
                self.out.tensor(&pack_panels(&values, inputs, self.to));
                self.input = rest;
                self.copy(4 * outputs);
                self.copy(4 * outputs);
                self.copy(4 * sums);
            }
        }
    }

    /// Gain and offset of a layer norm.
    fn norm(&mut self, dim: usize) {
        self.copy(4 * dim);
        self.copy(4 * dim);
    }

    /// An attention with the norm before it: query, key, value and projection, head by head.
    fn attention(&mut self, dim: usize, heads: usize, [qkv, proj]: [Precision; 2]) {
        let head_dim = dim / heads;
        self.norm(dim);
        for _ in 0..heads {
            for _ in 0..3 {
                self.linear(dim, head_dim, qkv, 0);
            }
            self.linear(head_dim, dim, proj, 0);
        }
    }

    /// The two layers of an MLP. What the second one reads has a zero point.
    fn mlp(&mut self, dim: usize, hidden: usize, [fc1, fc2]: [Precision; 2]) {
        self.linear(dim, hidden, fc1, 0);
        self.linear(hidden, dim, fc2, dim);
    }
}
