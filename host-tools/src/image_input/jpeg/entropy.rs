//! Bits of entropy-coded data.

use super::marker;

/// A reader of bits that stops at markers and at the end of the file, and gives zeros from there on.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Next byte to be taken up.
    at: usize,
    /// Bits taken up, the next one highest.
    held: u64,
    /// Bits held that are of the data.
    count: u32,
    /// Whether more bits were asked for than there are.
    short: bool,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Bits { data, at: 0, held: 0, count: 0, short: false }
    }

    /// The next `n` ≤ 16 bits, which stay.
    pub fn peek(&mut self, n: u32) -> u32 {
        if self.count < n {
            self.fill();
        }
        (self.held >> 48) as u32 >> (16 - n)
    }

    /// Passes over `n` ≤ 16 bits.
    pub fn skip(&mut self, n: u32) {
        if self.count < n {
            self.fill();
        }
        self.short |= self.count < n;
        self.held <<= n;
        self.count = self.count.saturating_sub(n);
    }

    /// The next `n` ≤ 16 bits.
    pub fn take(&mut self, n: u32) -> u32 {
        let value = self.peek(n);
        self.skip(n);
        value
    }

    /// Whether more bits were asked for than there are.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Goes on after the next restart marker. Gives its number, 0 to 7, and how many whole bytes were passed
    /// over; `None` if another marker or the end of the file comes first.
    pub fn restart(&mut self) -> Option<(u8, usize)> {
        let surplus = self.surplus();
        let number = self.data.get(self.at + 1).filter(|code| marker::RST.contains(code))? & 7;
        *self = Bits { at: self.at + 2, ..Bits::new(self.data) };
        Some((number, surplus))
    }

    /// Passes over what is left before the next marker: its whole bytes.
    pub fn surplus(&mut self) -> usize {
        let mut surplus = self.count as usize / 8;
        self.count = 0;
        while self.next_byte().is_some() {
            surplus += 1;
        }
        // Fill bytes stand before a marker.
        while self.data.get(self.at + 1) == Some(&0xff) {
            self.at += 1;
        }
        surplus
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(byte) = self.next_byte() else { return };
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next byte; 0xff is followed by a 0 that does not count (T.81, B.1.1.5).
    fn next_byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        if byte == 0xff {
            if self.data.get(self.at + 1) != Some(&0) {
                return None;
            }
            self.at += 1;
        }
        self.at += 1;
        Some(byte)
    }
}
