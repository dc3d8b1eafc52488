//! Header and section table.

use super::{u16_at, u32_at, Labels, Preprocess, CRC};
use crate::error::Error;
use crate::tensor::{PanelLayout, ALIGN};

/// First bytes of every file. The byte beyond ASCII and the line ends reveal damage by text-mode transfers.
pub const MAGIC: [u8; 8] = *b"\x89VTR\r\n\x1a\n";
/// Version of the container that this engine reads.
pub const FORMAT_VERSION: u16 = 1;
/// Version of the arithmetic contract that this engine computes.
pub const NUMERICS_VERSION: u16 = 2;
/// Bytes of the header; the section table follows.
pub const HEADER_BYTES: usize = 128;
/// Bytes of an entry of the section table.
pub const SECTION_ENTRY_BYTES: usize = 16;
/// Alignment of sections in bytes, for the widest kernels and for cache lines.
pub const SECTION_ALIGN: usize = 64;
/// Bytes of the model's name in the header, padded with zeros.
pub const NAME_BYTES: usize = 48;
/// Architecture id of a ViT.
pub const ARCHITECTURE_VIT: u32 = 1;
/// Architecture id of an IPT.
pub const ARCHITECTURE_IPT: u32 = 2;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u32)]
pub enum SectionKind {
    /// Hyperparameters of the architecture.
    Config = 1,
    /// How a photograph becomes the input.
    Preprocess = 2,
    /// Names of the classes.
    Labels = 3,
    /// Patch and position embedding, special tokens.
    Embed = 4,
    /// One transformer block.
    Block = 5,
    /// Final norms and classifiers.
    Head = 6,
    /// An IPT task's head.
    TaskHead = 7,
    /// An IPT's linear encoding and positions.
    Encode = 8,
    /// One layer of an encoder.
    EncoderLayer = 9,
    /// One layer of a decoder.
    DecoderLayer = 10,
    /// The MLP behind an IPT's decoder.
    MlpHead = 11,
    /// An IPT task's query and tail.
    TaskTail = 12,
    /// Settings that the weights do not state, and where each value comes from. Text for people; this section
    /// is optional.
    Settings = 13,
}

/// A `.vtr` file whose container has been checked: sizes, order, checksums. The architecture checks the
/// sections' contents.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    bytes: &'a [u8],
    sections: usize,
}

#[cfg(feature = "defmt")]
impl defmt::Format for Model<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Model {{ name: {=str}, bytes: {=usize} }}", self.name(), self.bytes.len());
    }
}

impl<'a> Model<'a> {
    /// Checks header, section table, padding and every checksum.
    ///
    /// # Errors
    /// Each of [`Error`]'s container kinds, with the byte offset.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let model = Self::parse_without_checksums(bytes)?;
        for section in 0..model.sections {
            let entry = model.entry(section);
            if CRC.checksum(model.section_bytes(section)) != u32_at(entry, 12) {
                return Err(Error::SectionChecksum { section: section as u16, offset: u32_at(entry, 4) });
            }
        }
        Ok(model)
    }

    /// Checks everything except the sections' checksums, for targets where a boot loader has checked the
    /// flash already. This is safe with any bytes, but damage in the weights goes unnoticed.
    ///
    /// # Errors
    /// As [`Model::parse`], without [`Error::SectionChecksum`].
    pub fn parse_without_checksums(bytes: &'a [u8]) -> Result<Self, Error> {
        if !(bytes.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(Error::ModelMisaligned { required: ALIGN as u32 });
        }
        let found = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // A file that is shorter than the magic is recognised by its first byte.
        let is_ours = match bytes.first_chunk() {
            Some(magic) => *magic == MAGIC,
            None => bytes.first().is_none_or(|first| *first == MAGIC[0]),
        };
        if !is_ours {
            return Err(Error::BadMagic);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(Error::Truncated { offset: 0, needed: HEADER_BYTES as u32, found });
        }
        let version = u16_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(Error::FormatVersion { found: version, supported: FORMAT_VERSION });
        }
        let file_bytes = u32_at(bytes, 12);
        if found < file_bytes {
            return Err(Error::Truncated { offset: found, needed: file_bytes, found });
        }
        let sections = u32_at(bytes, 20) as usize;
        let table_end = sections.saturating_mul(SECTION_ENTRY_BYTES).saturating_add(HEADER_BYTES);
        if table_end > file_bytes as usize {
            return Err(Error::Field { name: "section_count", offset: 20, value: sections as u32 });
        }
        let model = Self { bytes: bytes.get(..file_bytes as usize).unwrap_or(bytes), sections };
        model.check_header(table_end)?;
        model.check_sections(table_end)?;
        Ok(model)
    }

    fn check_header(&self, table_end: usize) -> Result<(), Error> {
        let mut digest = CRC.digest();
        digest.update(self.bytes.get(..124).unwrap_or(&[]));
        digest.update(self.bytes.get(HEADER_BYTES..table_end).unwrap_or(&[]));
        let (computed, stored) = (digest.finalize(), u32_at(self.bytes, 124));
        if computed != stored {
            return Err(Error::HeaderChecksum { computed, stored });
        }
        let numerics = u16_at(self.bytes, 10);
        if numerics != NUMERICS_VERSION {
            return Err(Error::NumericsVersion { found: numerics, supported: NUMERICS_VERSION });
        }
        let layout = self.layout();
        if !layout.is_valid() {
            return Err(Error::Layout { nr: layout.nr, kr: layout.kr });
        }
        if self.name_checked().is_none() {
            return Err(Error::Field { name: "name", offset: 72, value: u32_at(self.bytes, 72) });
        }
        Ok(())
    }

    /// Checks that each section begins at the next aligned offset behind the one before, with zeros between
    /// them, and that the last one ends the file.
    fn check_sections(&self, table_end: usize) -> Result<(), Error> {
        let mut end = table_end;
        for section in 0..self.sections {
            let entry = self.entry(section);
            let (found, length) = (u32_at(entry, 4), u32_at(entry, 8) as usize);
            let start = end.next_multiple_of(SECTION_ALIGN);
            if found as usize != start {
                return Err(Error::SectionOffset { section: section as u16, found, expected: start as u32 });
            }
            let padding = self.bytes.get(end..start).unwrap_or(&[]);
            if let Some(at) = padding.iter().position(|b| *b != 0) {
                return Err(Error::Padding { offset: (end + at) as u32 });
            }
            end = start.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(
                Error::SectionLength {
                    section: section as u16,
                    offset: self.bytes.len() as u32,
                    found: length as u32,
                    expected: self.bytes.len().saturating_sub(start) as u32,
                },
            )?;
        }
        if end != self.bytes.len() {
            return Err(Error::Field { name: "file_bytes", offset: 12, value: self.bytes.len() as u32 });
        }
        Ok(())
    }

    fn entry(&self, section: usize) -> &'a [u8] {
        let start = HEADER_BYTES + section * SECTION_ENTRY_BYTES;
        self.bytes.get(start..start + SECTION_ENTRY_BYTES).unwrap_or(&[])
    }

    /// Contents of a section. `section` must be below [`Model::sections`].
    fn section_bytes(&self, section: usize) -> &'a [u8] {
        let entry = self.entry(section);
        let start = u32_at(entry, 4) as usize;
        self.bytes.get(start..start + u32_at(entry, 8) as usize).unwrap_or(&[])
    }

    /// Start in the file and bytes of the section at `index`, which must be of `kind`.
    pub(crate) fn expect_section(&self, index: usize, kind: SectionKind) -> Result<(u32, &'a [u8]), Error> {
        let found = if index < self.sections { u32_at(self.entry(index), 0) } else { u32::MAX };
        if found != kind as u32 {
            return Err(Error::SectionKind { section: index as u16, found, expected: kind as u32 });
        }
        Ok((u32_at(self.entry(index), 4), self.section_bytes(index)))
    }

    /// Checks that the architecture's sections end at index `end`; only the settings may follow them.
    pub(crate) fn expect_end(&self, end: usize) -> Result<(), Error> {
        match self.sections.checked_sub(end) {
            Some(0) => Ok(()),
            Some(1) => self.expect_section(end, SectionKind::Settings).map(|_| ()),
            _ => Err(Error::Field { name: "section_count", offset: 20, value: self.sections as u32 }),
        }
    }

    /// Settings that the weights do not state, such as the number of heads, and where each value comes from:
    /// UTF-8, as the converter wrote it (docs/format.md). Empty if the file has none.
    ///
    /// # Errors
    /// [`Error::Field`] if it is not UTF-8.
    pub fn settings(&self) -> Result<&'a str, Error> {
        let last = self.sections.saturating_sub(1);
        let Ok((offset, bytes)) = self.expect_section(last, SectionKind::Settings) else { return Ok("") };
        core::str::from_utf8(bytes).map_err(|e| Error::Field {
            name: "settings",
            offset: offset + e.valid_up_to() as u32,
            value: 0,
        })
    }

    /// Number of sections.
    pub fn sections(&self) -> usize {
        self.sections
    }

    /// Kind (as stored), start in the file and length in bytes of a section, or `None` past the last.
    pub fn section(&self, index: usize) -> Option<(u32, usize, usize)> {
        let entry = (index < self.sections).then(|| self.entry(index))?;
        Some((u32_at(entry, 0), u32_at(entry, 4) as usize, u32_at(entry, 8) as usize))
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Architecture id.
    pub fn architecture(&self) -> u32 {
        u32_at(self.bytes, 16)
    }

    /// The model's own version, which the user gave the converter.
    pub fn version(&self) -> u32 {
        u32_at(self.bytes, 24)
    }

    /// Order of the int8 weights.
    pub fn layout(&self) -> PanelLayout {
        let word = u32_at(self.bytes, 28).to_le_bytes();
        PanelLayout { nr: word[0], kr: word[1] }
    }

    /// Bytes of arena that the converter planned, for [`Model::tile_rows`].
    pub fn arena_bytes(&self) -> usize {
        u32_at(self.bytes, 32) as usize
    }

    /// Rows per tile that the converter planned with.
    pub fn tile_rows(&self) -> usize {
        u32_at(self.bytes, 36) as usize
    }

    /// SHA-256 of the float weights that the model was made from.
    pub fn source_sha256(&self) -> [u8; 32] {
        self.bytes.get(40..).and_then(|rest| rest.first_chunk::<32>()).copied().unwrap_or([0; 32])
    }

    /// The model's name.
    pub fn name(&self) -> &'a str {
        self.name_checked().unwrap_or("")
    }

    fn name_checked(&self) -> Option<&'a str> {
        let field = self.bytes.get(72..72 + NAME_BYTES)?;
        let end = field.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
        if field.get(end..)?.iter().any(|b| *b != 0) {
            return None;
        }
        core::str::from_utf8(field.get(..end)?).ok()
    }

    /// How photographs are prepared.
    ///
    /// # Errors
    /// [`Error::SectionKind`], [`Error::SectionLength`], [`Error::Field`].
    pub fn preprocess(&self) -> Result<Preprocess, Error> {
        let (offset, bytes) = self.expect_section(1, SectionKind::Preprocess)?;
        Preprocess::parse(bytes, offset)
    }

    /// Names of the classes, one line each; empty if the model has none.
    ///
    /// # Errors
    /// [`Error::SectionKind`]; [`Error::Field`] if they are not UTF-8.
    pub fn labels(&self) -> Result<Labels<'a>, Error> {
        let (offset, bytes) = self.expect_section(2, SectionKind::Labels)?;
        Labels::parse(bytes, offset)
    }
}
