//! Scans: which blocks they hold, and the codes of each.

use super::defect::Defect;
use super::entropy::Bits;
use super::frame::{Frame, COEFFICIENTS};
use super::huffman::Huffman;

/// A scan header (T.81, B.2.3).
pub(super) struct Scan {
    /// Place of the component in the frame, its DC table, its AC table.
    parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    band: [usize; 2],
    /// Whether bits of coefficients have come before.
    refines: bool,
    /// Lowest bit that the scan gives.
    low: u8,
}

/// The tables that blocks of a scan are read with.
struct Tables<'a> {
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
}

impl Scan {
    pub fn read(header: &[u8], frame: &Frame) -> Option<Self> {
        let count = usize::from(*header.first()?);
        let part = |pair: &[u8]| {
            let place = frame.components.iter().position(|c| c.id == pair[0])?;
            Some((place, usize::from(pair[1] >> 4), usize::from(pair[1] & 15)))
        };
        let parts: Option<Vec<_>> = header.get(1..1 + 2 * count)?.chunks_exact(2).map(part).collect();
        let rest = header.get(1 + 2 * count..4 + 2 * count)?;
        let parts = parts.filter(|parts| !parts.is_empty())?;
        if !frame.progressive {
            return Some(Scan { parts, band: [0, COEFFICIENTS - 1], refines: false, low: 0 });
        }
        let band = [usize::from(rest[0]), usize::from(rest[1])];
        let sound = band[0] <= band[1] && band[1] < COEFFICIENTS && (band[0] == 0) == (band[1] == 0);
        let (refines, low) = (rest[2] >> 4 != 0, rest[2] & 15);
        (sound && (band[0] == 0 || parts.len() == 1)).then_some(Scan { parts, band, refines, low })
    }

    /// Notes what the frame has of each coefficient after this scan.
    pub fn mark_known(&self, frame: &mut Frame) {
        for &(place, ..) in &self.parts {
            frame.components[place].known[self.band[0]..=self.band[1]].fill(Some(self.low));
        }
    }

    /// Walks all blocks. The outer `None` is a scan that no decoder can read: a table is missing.
    #[allow(
        clippy::option_option,
        reason = "a scan without a table is another thing than one without a defect"
    )]
    pub fn walk(
        &self,
        frame: &mut Frame,
        dc: &[Option<Huffman>; 4],
        ac: &[Option<Huffman>; 4],
        restart: usize,
        data: &[u8],
    ) -> Option<Option<Defect>> {
        let interleaved = self.parts.len() > 1;
        let first = &frame.components[self.parts[0].0];
        let [across, down] = if interleaved { first.units } else { first.blocks };
        let mut state = Blocks { bits: Bits::new(data), end_run: 0 };
        let mut damage = None;
        // Where the data of this restart interval ran out.
        let mut short = None;
        let mut next_restart = 0;
        for unit in 0..across * down {
            let percent = (unit * 100 / (across * down)) as u8;
            if restart > 0 && unit > 0 && unit % restart == 0 {
                let Some((number, surplus)) = state.bits.restart() else {
                    return Some(Some(Defect::Short(short.unwrap_or(percent))));
                };
                state.end_run = 0;
                if let Some(percent) = short.take() {
                    damage = damage.or(Some(Defect::Codes(percent)));
                }
                if number != next_restart || surplus > 0 {
                    damage = damage.or(Some(Defect::Codes(percent)));
                }
                next_restart = (number + 1) % 8;
            }
            let read = self.unit(frame, unit, across, dc, ac, &mut state)?;
            if state.bits.is_short() {
                short = short.or(Some(percent));
            } else if !read {
                damage = damage.or(Some(Defect::Codes(percent)));
            }
            // Nothing can be known of what follows, but behind the next restart.
            if restart == 0 && (short.is_some() || damage.is_some()) {
                return Some(short.map(Defect::Short).or(damage));
            }
        }
        if let Some(percent) = short {
            return Some(Some(Defect::Short(percent)));
        }
        let surplus = state.bits.surplus() > 0;
        Some(damage.or(surplus.then_some(Defect::Surplus)))
    }

    /// Walks the blocks of one unit; false if their codes cannot be. `None` if a table is missing.
    fn unit(
        &self,
        frame: &mut Frame,
        unit: usize,
        across: usize,
        dc: &[Option<Huffman>; 4],
        ac: &[Option<Huffman>; 4],
        state: &mut Blocks,
    ) -> Option<bool> {
        let (x, y) = (unit % across, unit / across);
        let (progressive, interleaved) = (frame.progressive, self.parts.len() > 1);
        for &(place, dc_table, ac_table) in &self.parts {
            let component = &mut frame.components[place];
            let tables = Tables {
                dc: dc.get(dc_table).and_then(Option::as_ref),
                ac: ac.get(ac_table).and_then(Option::as_ref),
            };
            let stride = component.units[0] * component.sampling[0];
            let [h, v] = if interleaved { component.sampling } else { [1, 1] };
            for block in 0..h * v {
                let read = if progressive {
                    let at = (y * v + block / h) * stride + x * h + block % h;
                    self.progressive(&tables, component.non_zero.get_mut(at)?, state)?
                } else {
                    state.sequential(tables.dc?, tables.ac?)
                };
                if !read {
                    return Some(false);
                }
            }
        }
        Some(true)
    }

    fn progressive(&self, tables: &Tables, non_zero: &mut u64, state: &mut Blocks) -> Option<bool> {
        Some(match (self.band[0], self.refines) {
            (0, false) => state.dc(tables.dc?),
            (0, true) => {
                state.bits.skip(1);
                true
            }
            (_, false) => state.ac_first(tables.ac?, self.band, non_zero),
            (_, true) => state.ac_refine(tables.ac?, self.band, non_zero),
        })
    }
}

/// The codes of blocks. Every function gives false for codes that cannot be.
struct Blocks<'a> {
    bits: Bits<'a>,
    /// Blocks to come that end where they begin (progressive).
    end_run: u32,
}

impl Blocks<'_> {
    /// F.2.2.1.
    fn dc(&mut self, table: &Huffman) -> bool {
        let size = table.symbol(&mut self.bits).filter(|size| *size <= 16);
        self.bits.skip(size.unwrap_or(0).into());
        size.is_some()
    }

    /// F.2.2.
    fn sequential(&mut self, dc: &Huffman, ac: &Huffman) -> bool {
        if !self.dc(dc) {
            return false;
        }
        let mut k = 1;
        while k < COEFFICIENTS {
            let Some(symbol) = ac.symbol(&mut self.bits) else { return false };
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && run < 15 {
                return true;
            }
            k += run + 1;
            self.bits.skip(size);
        }
        k == COEFFICIENTS
    }

    /// G.1.2.2.
    fn ac_first(&mut self, table: &Huffman, [first, last]: [usize; 2], non_zero: &mut u64) -> bool {
        if self.end_run > 0 {
            self.end_run -= 1;
            return true;
        }
        let mut k = first;
        while k <= last {
            let Some(symbol) = table.symbol(&mut self.bits) else { return false };
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && run < 15 {
                self.end_run = (1 << run) + self.bits.take(run) - 1;
                return true;
            }
            k += run as usize;
            if size > 0 && k <= last {
                *non_zero |= 1 << k;
            }
            self.bits.skip(size);
            k += 1;
        }
        k == last + 1
    }

    /// G.1.2.3.
    fn ac_refine(&mut self, table: &Huffman, [first, last]: [usize; 2], non_zero: &mut u64) -> bool {
        let mut k = first;
        while self.end_run == 0 && k <= last {
            let Some(symbol) = table.symbol(&mut self.bits) else { return false };
            let (run, size) = (u32::from(symbol >> 4), symbol & 15);
            if size == 0 && run < 15 {
                self.end_run = (1 << run) + self.bits.take(run);
                break;
            }
            if size > 1 {
                return false;
            }
            self.bits.skip(size.into());
            let mut zeros = run;
            while k <= last {
                if *non_zero >> k & 1 == 1 {
                    self.bits.skip(1);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if size == 1 {
                if k > last {
                    return false;
                }
                *non_zero |= 1 << k;
            }
            k += 1;
        }
        if self.end_run > 0 {
            let rest = *non_zero >> k.min(COEFFICIENTS - 1) & ((1u64 << (last + 1 - k.min(last + 1))) - 1);
            (0..rest.count_ones()).for_each(|_| self.bits.skip(1));
            self.end_run -= 1;
        }
        true
    }
}
