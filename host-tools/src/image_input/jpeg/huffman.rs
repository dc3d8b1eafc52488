//! Huffman tables.

use super::entropy::Bits;

/// Length of the longest code.
const LONGEST: u32 = 16;

/// Code lengths and symbols by the next 16 bits.
pub(super) struct Huffman {
    /// (length, symbol); a length of 0 is no code.
    by_prefix: Vec<(u8, u8)>,
}

impl Huffman {
    /// A table of codes: how many there are of each length, and their symbols (T.81, C.2). `None` if there
    /// are more codes of a length than fit.
    pub fn new(lengths: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut by_prefix = Vec::with_capacity(1 << LONGEST);
        let mut symbols = symbols.iter();
        for (length, &count) in (1u8..).zip(lengths) {
            for symbol in symbols.by_ref().take(count.into()) {
                let end = by_prefix.len() + (1 << (LONGEST - u32::from(length)));
                if end > 1 << LONGEST {
                    return None;
                }
                by_prefix.resize(end, (length, *symbol));
            }
        }
        by_prefix.resize(1 << LONGEST, (0, 0));
        Some(Huffman { by_prefix })
    }

    /// The next symbol; `None` if the bits are no code.
    pub fn symbol(&self, bits: &mut Bits) -> Option<u8> {
        let (length, symbol) = self.by_prefix[bits.peek(LONGEST) as usize];
        bits.skip(length.into());
        (length > 0).then_some(symbol)
    }
}
