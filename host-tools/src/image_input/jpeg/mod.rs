//! Whether a JPEG file holds all of its picture.
//!
//! Decoders fill what is missing with grey and say nothing. So the file is walked once without making pixels:
//! markers, and every code of the entropy-coded data (ITU-T T.81, annexes B, F and G). Pillow refuses a file
//! that ends too early; it takes one whose codes are damaged, and so do we, with a warning.

mod defect;
mod entropy;
mod frame;
mod huffman;
mod marker;
mod scan;

pub(super) use defect::Defect;

use frame::{Component, Frame};
use huffman::Huffman;
use marker::be16;
use scan::Scan;

/// Tables and settings that segments leave for scans.
#[derive(Default)]
struct Walk {
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
    frame: Option<Frame>,
    /// The first damage met.
    damage: Option<Defect>,
}

/// What is wrong with the file, if anything is. Nothing is said of frames that are not walked, such as those
/// of arithmetic coding.
pub(super) fn examine(bytes: &[u8]) -> Option<Defect> {
    walk(bytes).unwrap_or(Some(Defect::Markers))
}

/// The same; the outer `None` is a segment that cannot be understood.
#[allow(clippy::option_option, reason = "a segment that cannot be understood ends the walk by `?`")]
fn walk(bytes: &[u8]) -> Option<Option<Defect>> {
    let mut walk = Walk::default();
    let mut at = 2;
    loop {
        let Some((code, data)) = next_marker(bytes, at) else { return Some(walk.at_end_of_file()) };
        at = data;
        match code {
            marker::EOI => return Some(walk.damage.or_else(|| walk.missing_scans())),
            marker::SOI => return Some(Some(Defect::Joined)),
            marker::TEM => continue,
            code if marker::RST.contains(&code) => continue,
            code if marker::SOF_OTHERS.contains(&code) => return Some(None),
            _ => {}
        }
        let Some(segment) = segment(bytes, at) else { return Some(walk.at_end_of_file()) };
        at += 2 + segment.len();
        match code {
            marker::DHT => walk.read_tables(segment)?,
            marker::DRI => walk.restart = usize::from(be16(segment, 0)?),
            marker::SOF_BASELINE | marker::SOF_EXTENDED | marker::SOF_PROGRESSIVE if walk.frame.is_some() => {
                return Some(Some(Defect::Joined));
            }
            marker::SOF_BASELINE | marker::SOF_EXTENDED | marker::SOF_PROGRESSIVE => {
                walk.frame = Some(Frame::read(segment, code == marker::SOF_PROGRESSIVE)?);
            }
            marker::SOS => at = walk.scan(segment, bytes, at)?,
            _ => {}
        }
    }
}

impl Walk {
    /// Reads Huffman tables (B.2.4.2). `None` if they are malformed.
    fn read_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while !segment.is_empty() {
            let (class, index) = (segment[0] >> 4, usize::from(segment[0] & 15));
            let lengths: &[u8; 16] = segment.get(1..17)?.try_into().ok()?;
            let count: usize = lengths.iter().map(|&n| usize::from(n)).sum();
            let table = Huffman::new(lengths, segment.get(17..17 + count)?)?;
            let tables = if class == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(index)? = Some(table);
            segment = &segment[17 + count..];
        }
        Some(())
    }

    /// Walks the data of one scan from `at`; gives where the next marker is. `None` if the scan is malformed.
    fn scan(&mut self, header: &[u8], bytes: &[u8], at: usize) -> Option<usize> {
        let frame = self.frame.as_mut()?;
        let scan = Scan::read(header, frame)?;
        let found = scan.walk(frame, &self.dc, &self.ac, self.restart, &bytes[at..])?;
        if self.damage.is_none() || matches!(found, Some(Defect::Short(_))) {
            self.damage = found;
        }
        scan.mark_known(frame);
        Some(at + end_of_scan(&bytes[at..]))
    }

    fn at_end_of_file(&self) -> Option<Defect> {
        let Some(frame) = &self.frame else { return Some(Defect::Cut(None)) };
        Some(match self.damage {
            Some(Defect::Short(percent)) if !frame.progressive => Defect::Cut(Some(percent)),
            None | Some(Defect::Surplus) if self.missing_scans().is_none() => Defect::NoEnd,
            _ => Defect::Cut(None),
        })
    }

    fn missing_scans(&self) -> Option<Defect> {
        let known = |component: &Component| component.known.iter().all(|low_bit| *low_bit == Some(0));
        let frame = self.frame.as_ref()?;
        (!frame.components.iter().all(known)).then_some(Defect::Scans)
    }
}

/// The next marker at or after `at`, and where what follows it begins; other bytes before it are passed over,
/// as libjpeg does.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        at += bytes[at..].iter().position(|&b| b != 0xff)?;
        match bytes[at] {
            0 => {}
            code => return Some((code, at + 1)),
        }
    }
}

/// The data of a segment, without its length.
fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at + 2..at + usize::from(be16(bytes, at)?))
}

/// Bytes up to the first marker that is no restart.
fn end_of_scan(data: &[u8]) -> usize {
    let end =
        |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff) && !marker::RST.contains(&pair[1]);
    data.windows(2).position(end).unwrap_or(data.len())
}

#[cfg(test)]
mod tests;
