//! The `.vtr` container (docs/format.md): bytes in, checked views out.
//!
//! Everything is checked once, in [`Model::parse`] and in the architecture's constructor; afterwards no
//! access can fail.

mod cursor;
mod header;
mod labels;
mod preprocess;
mod words;

pub(crate) use cursor::{Cursor, Values};
pub use header::{
    Model, SectionKind, ARCHITECTURE_IPT, ARCHITECTURE_VIT, FORMAT_VERSION, HEADER_BYTES, MAGIC, NAME_BYTES,
    NUMERICS_VERSION, SECTION_ALIGN, SECTION_ENTRY_BYTES,
};
pub use labels::Labels;
pub use preprocess::{Crop, Filter, Preprocess, PREPROCESS_BYTES};
pub(crate) use words::Words;

/// The CRC of headers and sections: CRC-32/ISO-HDLC, as zip and PNG have it.
pub const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Little-endian u32 at `offset`, or 0 past the end; callers check lengths first.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    match bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(chunk) => u32::from_le_bytes(*chunk),
        None => 0,
    }
}

/// Little-endian u16 at `offset`, or 0 past the end.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    match bytes.get(offset..).and_then(|rest| rest.first_chunk::<2>()) {
        Some(chunk) => u16::from_le_bytes(*chunk),
        None => 0,
    }
}
