//! Writes the container: header, section table, sections with their checksums (docs/format.md).

use anyhow::{Context, Result};
use bytemuck::NoUninit;
use vitreous::format::{
    SectionKind, CRC, FORMAT_VERSION, HEADER_BYTES, MAGIC, NAME_BYTES, NUMERICS_VERSION, SECTION_ALIGN,
    SECTION_ENTRY_BYTES,
};
use vitreous::tensor::{PanelLayout, ALIGN, MIN_MAGNITUDE};

use super::arena::arena_of;
use super::{AlignedBytes, Family};
use crate::text::printable;

/// What the header says of a model.
#[derive(Clone, Debug)]
pub struct VtrHeader {
    /// Architecture.
    pub family: Family,
    /// The model's own version.
    pub model_version: u32,
    /// Order of the int8 weights.
    pub layout: PanelLayout,
    /// Rows per tile of the plan.
    pub tile_rows: u32,
    /// SHA-256 of the float weights.
    pub source_sha256: [u8; 32],
    /// Name; written as [`printable`] text, cut to 48 bytes at a character's border.
    pub name: String,
}

/// The name of a model, as an option gives it.
///
/// # Errors
/// No name, or one that is too long for a `.vtr`.
pub fn parse_name(text: &str) -> Result<String, String> {
    let bytes = printable(text).len();
    if text.trim().is_empty() {
        return Err("a name is wanted".into());
    }
    if bytes > NAME_BYTES {
        return Err(format!("a .vtr holds {NAME_BYTES} bytes of a name, and this one has {bytes}"));
    }
    Ok(text.into())
}

/// Collects sections in their order.
#[derive(Debug, Default)]
pub struct VtrWriter {
    sections: Vec<(SectionKind, Vec<u8>)>,
}

/// Collects the tensors of one section, each padded to 16 bytes.
#[derive(Debug, Default)]
pub struct SectionWriter {
    bytes: Vec<u8>,
}

impl SectionWriter {
    /// Appends a tensor.
    pub fn tensor<T: NoUninit>(&mut self, values: &[T]) {
        self.bytes.extend_from_slice(bytemuck::cast_slice(values));
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// Appends f32 values; those below [`MIN_MAGNITUDE`] become zero, as the format wants it.
    pub fn floats(&mut self, values: &[f32]) {
        let flush = |v: &f32| if v.abs() < MIN_MAGNITUDE { 0.0 } else { *v };
        self.tensor(&values.iter().map(flush).collect::<Vec<f32>>());
    }
}

impl VtrWriter {
    /// Appends a section of raw bytes.
    pub fn bytes(&mut self, kind: SectionKind, bytes: Vec<u8>) {
        self.sections.push((kind, bytes));
    }

    /// Appends a section of tensors.
    pub fn tensors(&mut self, kind: SectionKind, section: SectionWriter) {
        self.sections.push((kind, section.bytes));
    }

    /// Appends where the settings come from, behind all other sections; nothing where nothing is said.
    pub fn settings(&mut self, text: &str) {
        if !text.is_empty() {
            self.bytes(SectionKind::Settings, text.as_bytes().to_vec());
        }
    }

    /// The whole file. The engine itself plans the arena that the header states, from a first version of the
    /// file.
    ///
    /// # Errors
    /// A file that the engine refuses, with its reason, or one of over 4 GiB.
    pub fn finish(&self, header: &VtrHeader) -> Result<Vec<u8>> {
        let draft = AlignedBytes::copy_of(&self.file(header, 0)?);
        let arena_bytes = arena_of(draft.as_slice()).context("the engine refuses the converted model")?;
        self.file(header, arena_bytes)
    }

    fn file(&self, header: &VtrHeader, arena_bytes: u32) -> Result<Vec<u8>> {
        let table_end = HEADER_BYTES + SECTION_ENTRY_BYTES * self.sections.len();
        let mut file = vec![0u8; table_end];
        for (index, (kind, bytes)) in self.sections.iter().enumerate() {
            file.resize(file.len().next_multiple_of(SECTION_ALIGN), 0);
            let start = u32::try_from(file.len())?;
            let entry = [*kind as u32, start, u32::try_from(bytes.len())?, CRC.checksum(bytes)];
            let at = HEADER_BYTES + SECTION_ENTRY_BYTES * index;
            file[at..at + SECTION_ENTRY_BYTES].copy_from_slice(bytemuck::cast_slice(&entry));
            file.extend_from_slice(bytes);
        }
        let file_bytes = u32::try_from(file.len()).map_err(|_| {
            anyhow::anyhow!("the model would be {} bytes; a .vtr file holds at most 4 GiB", file.len())
        })?;
        self.write_header(header, [file_bytes, arena_bytes], &mut file);
        let mut digest = CRC.digest();
        digest.update(&file[..124]);
        digest.update(&file[HEADER_BYTES..table_end]);
        let crc = digest.finalize();
        file[124..128].copy_from_slice(&crc.to_le_bytes());
        Ok(file)
    }

    fn write_header(&self, header: &VtrHeader, [file_bytes, arena_bytes]: [u32; 2], file: &mut [u8]) {
        file[..8].copy_from_slice(&MAGIC);
        file[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        file[10..12].copy_from_slice(&NUMERICS_VERSION.to_le_bytes());
        let layout = u32::from_le_bytes([header.layout.nr, header.layout.kr, 0, 0]);
        let words = [
            file_bytes,
            header.family.number(),
            self.sections.len() as u32,
            header.model_version,
            layout,
            arena_bytes,
            header.tile_rows,
        ];
        file[12..40].copy_from_slice(bytemuck::cast_slice(&words));
        file[40..72].copy_from_slice(&header.source_sha256);
        let name = printable(&header.name);
        let fits = |end: &usize| *end <= NAME_BYTES;
        let ends = name.char_indices().map(|(start, c)| start + c.len_utf8());
        let end = ends.take_while(fits).last().unwrap_or(0);
        file[72..72 + end].copy_from_slice(&name.as_bytes()[..end]);
    }
}
