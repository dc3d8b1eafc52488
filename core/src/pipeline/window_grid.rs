//! Overlapping windows along one side of an image, and how they are blended.

/// Weight of a window at a pixel that it determines alone.
pub const FULL: u32 = 256;

/// Windows along one side of an image, evenly spaced, so that neighbours overlap by at least the requested
/// overlap.
///
/// In the middle of the pixels that neighbours share, one window fades into the next over a ramp as long as
/// the requested overlap. So the outer pixels of a window, which see the least of their surroundings, count
/// for little, and windows that differ in tone leave no edge. No pixel depends on more than two windows, and
/// weights add up to [`WindowGrid::FULL`] exactly. A side shorter than the window has one window, which is
/// filled up by mirroring.
///
/// Sides have up to [`MAX_SIDE`](crate::pipeline::MAX_SIDE) pixels, windows up to the 1,024 pixels that a
/// model may have. Sizes near the end of the address space are not supported.
///
/// ```
/// use vitreous::pipeline::WindowGrid;
///
/// let grid = WindowGrid::new(100, 48, 12);
/// assert_eq!((grid.count(), grid.start(1), grid.start(2)), (3, 26, 52));
/// // Windows 0 and 1 share the pixels 26 to 47; one fades into the other from pixel 31 on, over 12 pixels.
/// assert_eq!(grid.ramp_start(1), 31);
/// assert_eq!((grid.weight(0, 31, 1), grid.weight(1, 31, 1)), (246, 10));
/// assert_eq!((grid.weight(0, 43, 1), grid.weight(1, 43, 1)), (0, WindowGrid::FULL));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowGrid {
    size: usize,
    window: usize,
    ramp: usize,
    count: usize,
}

impl WindowGrid {
    /// Weight of a window at a pixel that it determines alone: 256.
    pub const FULL: u32 = FULL;

    /// Windows of `window` pixels on a side of `size` pixels, overlapping by at least `overlap`, which is at
    /// most half a window. The ramp is as long as `overlap`, or shorter if windows lie so near each other
    /// that ramps would meet.
    pub const fn new(size: usize, window: usize, overlap: usize) -> Self {
        let stride = window.saturating_sub(overlap);
        let rest = size.saturating_sub(window);
        let steps = match rest.checked_add(stride.saturating_sub(1)) {
            Some(sum) => match sum.checked_div(stride) {
                Some(steps) => steps,
                None => 0,
            },
            None => 0,
        };
        // Ramps lie as far apart as windows. A single ramp always has room.
        let ramp = match rest.checked_div(steps) {
            Some(spacing) if steps > 1 && spacing < overlap => spacing,
            _ => overlap,
        };
        Self { size, window, ramp, count: steps + 1 }
    }

    /// Number of windows.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// First pixel of window `index`, which is below [`WindowGrid::count`].
    pub fn start(&self, index: usize) -> usize {
        // The product stays below 2^32 for the longest side. Computing it in 64 bits would cost a division in
        // software.
        let rest = self.size.saturating_sub(self.window);
        rest.saturating_mul(index).checked_div(self.count - 1).unwrap_or(0)
    }

    /// First pixel of the ramp from window `index − 1` to window `index`; for an index behind the last
    /// window, the end of the image.
    pub fn ramp_start(&self, index: usize) -> usize {
        if index == 0 {
            return 0;
        }
        if index >= self.count {
            return self.size;
        }
        let (start, end) = (self.start(index), self.start(index - 1) + self.window);
        start + end.saturating_sub(start).saturating_sub(self.ramp) / 2
    }

    /// Weight of window `index` at pixel `at` of an output that is `scale` times larger: 0 to
    /// [`WindowGrid::FULL`].
    pub fn weight(&self, index: usize, at: usize, scale: usize) -> u32 {
        let rising = if index == 0 { FULL } else { self.rise(index, at, scale) };
        let falling = if index + 1 >= self.count { 0 } else { self.rise(index + 1, at, scale) };
        rising - falling.min(rising)
    }

    /// Height of the ramp into window `index` at a pixel: 0 to [`WindowGrid::FULL`].
    fn rise(&self, index: usize, at: usize, scale: usize) -> u32 {
        let (start, length) = (self.ramp_start(index) * scale, self.ramp * scale);
        match at.checked_sub(start) {
            None => 0,
            Some(past) if past >= length => FULL,
            // The ramp is evaluated at the middle of the pixel, so it neither begins with 0 nor ends with 1.
            Some(past) => (((2 * past + 1) as u32 * FULL / 2).checked_div(length as u32)).unwrap_or(FULL),
        }
    }
}

/// The pixel that stands in for pixel `at` of a side of `size` pixels. Beyond the last pixel the image is
/// mirrored, again and again if need be; the edge pixel itself is not repeated.
///
/// ```
/// use vitreous::pipeline::mirror;
///
/// assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|at| mirror(at, 4)), [0, 1, 2, 3, 2, 1, 0]);
/// ```
pub fn mirror(at: usize, size: usize) -> usize {
    let last = size.saturating_sub(1);
    // A side of one pixel has no period.
    match at.checked_rem(last.saturating_mul(2)) {
        None => 0,
        Some(at) if at > last => 2 * last - at,
        Some(at) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_has_full_weight_from_at_most_two_windows_that_hold_it() {
        for window in [8, 9, 32, 48] {
            for overlap in [0, 1, 2, 5, window / 4, window / 2] {
                for size in (1..4 * window).step_by(3) {
                    let grid = WindowGrid::new(size, window, overlap);
                    for scale in 1..=4 {
                        for at in 0..size * scale {
                            let weights: std::vec::Vec<u32> =
                                (0..grid.count()).map(|i| grid.weight(i, at, scale)).collect();
                            let sum: u32 = weights.iter().sum();
                            assert_eq!(sum, FULL, "{grid:?} scale {scale} pixel {at}: {weights:?}");
                            let used = weights.iter().enumerate().filter(|(_, w)| **w > 0);
                            assert!(used.clone().count() <= 2, "{grid:?} pixel {at}");
                            for (index, _) in used {
                                let start = grid.start(index) * scale;
                                assert!(at >= start && at < start + window * scale, "{grid:?} {index} {at}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn windows_are_inside_and_overlap_as_asked() {
        for (size, window, overlap) in
            [(320, 32, 10), (240, 32, 8), (481, 48, 12), (33, 32, 16), (64, 32, 16)]
        {
            let grid = WindowGrid::new(size, window, overlap);
            assert_eq!(grid.start(0), 0);
            assert_eq!(grid.start(grid.count() - 1) + window, size);
            for index in 1..grid.count() {
                assert!(grid.start(index - 1) + window >= grid.start(index) + overlap, "{grid:?} {index}");
            }
        }
        assert_eq!(WindowGrid::new(32, 32, 8).count(), 1);
        assert_eq!(WindowGrid::new(1, 32, 8).count(), 1);
    }

    #[test]
    fn mirroring_does_not_repeat_the_edge() {
        let row: std::vec::Vec<usize> = (0..9).map(|at| mirror(at, 4)).collect();
        assert_eq!(row, [0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!((mirror(5, 1), mirror(7, 2)), (0, 1));
        assert_eq!((mirror(5, 0), mirror(5, usize::MAX)), (0, 5));
    }
}
