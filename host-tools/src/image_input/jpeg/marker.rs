//! Markers (T.81, table B.1) and the numbers in their segments.

pub const SOF_BASELINE: u8 = 0xc0;
pub const SOF_EXTENDED: u8 = 0xc1;
pub const SOF_PROGRESSIVE: u8 = 0xc2;
pub const DHT: u8 = 0xc4;
/// Frames of other kinds (lossless, hierarchical, arithmetic), of which DHT, 0xc8 and DAC are none.
pub const SOF_OTHERS: [u8; 10] = [0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];
pub const RST: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
pub const SOI: u8 = 0xd8;
pub const EOI: u8 = 0xd9;
pub const SOS: u8 = 0xda;
pub const DRI: u8 = 0xdd;
pub const TEM: u8 = 0x01;

/// The number of 16 bits at a place of a segment.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}
