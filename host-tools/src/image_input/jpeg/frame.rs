//! The frame of a picture and its components.

use super::marker::be16;

/// Frames of more pixels are not walked; no decoder here takes them.
const MOST_PIXELS: usize = 1 << 28;

/// Coefficients of a block.
pub(super) const COEFFICIENTS: usize = 64;
/// Side of a block in pixels.
const SIDE: usize = 8;

/// One colour component of the frame.
pub(super) struct Component {
    pub id: u8,
    /// Blocks per interleaved unit, across and down.
    pub sampling: [usize; 2],
    /// Blocks that hold pixels, across and down.
    pub blocks: [usize; 2],
    /// Interleaved units of the frame, across and down.
    pub units: [usize; 2],
    /// Which coefficients of each block are not 0: refinement depends on it. Empty in sequential frames.
    pub non_zero: Vec<u64>,
    /// Of each coefficient the lowest bit that scans have given so far.
    pub known: [Option<u8>; COEFFICIENTS],
}

impl Component {
    pub fn new(id: u8, sampling: [usize; 2], most: [usize; 2], size: [usize; 2], progressive: bool) -> Self {
        let axis = |i: usize| (size[i] * sampling[i]).div_ceil(most[i] * SIDE);
        let units = [0, 1].map(|i| size[i].div_ceil(most[i] * SIDE));
        let all = units[0] * sampling[0] * units[1] * sampling[1];
        let non_zero = vec![0; if progressive { all } else { 0 }];
        Component { id, sampling, blocks: [axis(0), axis(1)], units, non_zero, known: [None; COEFFICIENTS] }
    }
}

/// The frame: size, components and how far each coefficient is known.
pub(super) struct Frame {
    pub progressive: bool,
    pub components: Vec<Component>,
}

impl Frame {
    /// A frame header (B.2.2).
    pub fn read(segment: &[u8], progressive: bool) -> Option<Self> {
        let (height, width) = (usize::from(be16(segment, 1)?), usize::from(be16(segment, 3)?));
        let parts = segment.get(6..6 + 3 * usize::from(*segment.get(5)?))?;
        let sampling: Vec<[usize; 2]> =
            parts.chunks_exact(3).map(|p| [usize::from(p[1] >> 4), usize::from(p[1] & 15)]).collect();
        let most = |axis: usize| sampling.iter().map(|s| s[axis]).max();
        let most = [most(0)?, most(1)?];
        let size = 0 < width * height && width * height <= MOST_PIXELS && sampling.len() <= 4;
        if !size || sampling.iter().flatten().any(|&s| s == 0 || s > 4) {
            return None;
        }
        let component = |(part, sampling): (&[u8], &[usize; 2])| {
            Component::new(part[0], *sampling, most, [width, height], progressive)
        };
        let components = parts.chunks_exact(3).zip(&sampling).map(component).collect();
        Some(Frame { progressive, components })
    }
}
