//! What the seams between windows cost, apart from what the image holds there.
//!
//! An image is restored on four grids of windows: as it is, and shifted by half a step to the right,
//! downwards and both. So every pixel lies near a seam on one grid and in the middle of a window on another,
//! and errors are compared over the same pixels. A larger window would not tell: it is another network. The
//! crops that are restored lie within the image, nothing is filled up, and of the outermost windows only what
//! is nearer to their seams than to the crop's border counts.

use std::ops::Range;

use serde::Serialize;

use crate::degrade::Picture;
use crate::metrics::luma;

/// Grids that an image is restored on: two shifts per axis.
pub const GRIDS: usize = 4;
/// What a ratio is cut to: equal images have no error to compare with.
const MAX_DB: f64 = 100.0;

/// Errors at seams over errors in the middle of windows, in dB; positive where seams are worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seams {
    /// Squared error of the whole image over that of an image of which every pixel is taken from the middle
    /// of a window: the PSNR that the image loses by its seams.
    pub cost_db: f64,
    /// Squared error of the pixels within an eighth of a window of a seam over that of the same pixels in the
    /// middle.
    pub near_db: f64,
    /// Squared difference between the mean errors of two neighbouring squares, an eighth of a window wide,
    /// with the seam between them over that of the same two squares in the middle: what makes a grid visible.
    pub step_db: f64,
}

impl Seams {
    /// Mean of each figure.
    pub fn mean(all: &[Seams]) -> Option<Seams> {
        let mean = |figure: fn(&Seams) -> f64| all.iter().map(figure).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| Seams {
            cost_db: mean(|s| s.cost_db),
            near_db: mean(|s| s.near_db),
            step_db: mean(|s| s.step_db),
        })
    }
}

/// The four grids of an image.
#[derive(Clone, Copy, Debug)]
pub struct SeamGrids {
    /// Columns and rows.
    axes: [Axis; 2],
    scale: usize,
}

/// Windows along one side. Lengths and places are in pixels of the output but for those said to be of the
/// input.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// Of the input.
    size: usize,
    /// Of the input.
    window: usize,
    /// Of the input, from window to window.
    stride: usize,
    scale: usize,
    /// From a window's start to the first pixel beyond the middle of its ramp.
    lead: usize,
    /// How far from a seam pixels are near it.
    band: usize,
}

impl Axis {
    /// `None` if no two shifted grids of at least two windows fit.
    fn new(size: usize, window: usize, overlap: usize, scale: usize) -> Option<Self> {
        let stride = window.checked_sub(overlap).filter(|stride| *stride > 1)?;
        // As `WindowGrid` lays them where windows lie at whole steps: the ramp is the overlap.
        let lead = overlap * scale / 2;
        let band = ((window / 8).clamp(1, (stride / 4).max(1))) * scale;
        (size >= window + stride + stride / 2).then_some(Self { size, window, stride, scale, lead, band })
    }

    /// Start of a grid, of the input.
    fn shift(&self, grid: usize) -> usize {
        grid * (self.stride / 2)
    }

    /// Whole steps of a grid: one less than its windows.
    fn steps(&self, grid: usize) -> usize {
        (self.size - self.shift(grid) - self.window) / self.stride
    }

    /// From one seam to the next.
    fn period(&self) -> usize {
        self.stride * self.scale
    }

    /// Pixels that both grids have a seam for on at least one side, and that are no nearer to a border than
    /// to it.
    fn region(&self) -> Range<usize> {
        let of = |grid: usize| {
            let start = self.shift(grid) * self.scale + self.lead + self.period() / 2;
            start..start + self.steps(grid) * self.period()
        };
        of(0).start.max(of(1).start)..of(0).end.min(of(1).end)
    }

    /// Pixels from the last seam of a grid to pixel `at` of the region.
    fn behind_seam(&self, grid: usize, at: usize) -> usize {
        // One period more, since the region may begin before the first seam.
        (at + self.period() - self.shift(grid) * self.scale - self.lead) % self.period()
    }

    /// The grid that has a seam near a pixel.
    fn near(&self, at: usize) -> Option<usize> {
        (0..2).find(|&grid| {
            let behind = self.behind_seam(grid, at);
            behind < self.band || behind >= self.period() - self.band
        })
    }

    /// The grid whose seams are farther from a pixel.
    fn middle(&self, at: usize) -> usize {
        let (behind, period) = (self.behind_seam(0, at), self.period());
        usize::from(behind < period / 4 || behind >= period - period / 4)
    }
}

impl SeamGrids {
    /// The grids of an image of `width` × `height` pixels in windows that overlap by `overlap`, enlarged by
    /// `scale`; `None` if it has no room for two windows and half a step along a side.
    pub fn new((width, height): (usize, usize), window: usize, overlap: usize, scale: usize) -> Option<Self> {
        let axes = [Axis::new(width, window, overlap, scale)?, Axis::new(height, window, overlap, scale)?];
        Some(Self { axes, scale })
    }

    /// The crops to restore, with the overlap of the grids.
    pub fn crops(&self, degraded: &Picture) -> [Picture; GRIDS] {
        let [columns, rows] = &self.axes;
        std::array::from_fn(|grid| {
            let (x, y) = (grid % 2, grid / 2);
            let length = |axis: &Axis, grid: usize| axis.window + axis.steps(grid) * axis.stride;
            let (left, top) = (columns.shift(x) as isize, rows.shift(y) as isize);
            degraded.crop(left, top, length(columns, x), length(rows, y))
        })
    }

    /// Compares the restored crops with the clean image, by luma or by all colours.
    ///
    /// # Panics
    /// If the crops are not those of [`SeamGrids::crops`], or the clean image is smaller than they say.
    pub fn measure(&self, restored: &[Picture], clean: &Picture, by_luma: bool) -> Seams {
        let errors: Vec<Errors> = (0..GRIDS)
            .map(|grid| {
                let [left, top] = [self.axes[0].shift(grid % 2), self.axes[1].shift(grid / 2)];
                Errors::new(&restored[grid], clean, (left * self.scale, top * self.scale), by_luma)
            })
            .collect();
        let mut tally = Tally::default();
        let [columns, rows] = &self.axes;
        for y in rows.region() {
            for x in columns.region() {
                let squares: [f64; GRIDS] = std::array::from_fn(|grid| square(errors[grid].at(x, y)));
                tally.whole += squares.iter().sum::<f64>() / GRIDS as f64;
                tally.whole_middle += squares[columns.middle(x) + 2 * rows.middle(y)];
                for axis in 0..2 {
                    self.add_along(axis, (x, y), &squares, &errors, &mut tally);
                }
            }
        }
        tally.seams()
    }

    /// Adds a pixel that is near a seam across `axis` on one grid.
    fn add_along(
        &self,
        axis: usize,
        (x, y): (usize, usize),
        squares: &[f64; GRIDS],
        errors: &[Errors],
        tally: &mut Tally,
    ) {
        let at = [x, y][axis];
        let Some(near) = self.axes[axis].near(at) else { return };
        // The grid by its shift along this axis and along the other one.
        let grid = |shift: usize, other: usize| if axis == 0 { shift + 2 * other } else { other + 2 * shift };
        let squares_fit = self.squares_fit(axis, (x, y)) && self.axes[axis].behind_seam(near, at) == 0;
        for other in 0..2 {
            let (seam, middle) = (grid(near, other), grid(1 - near, other));
            tally.near += squares[seam];
            tally.near_middle += squares[middle];
            if squares_fit {
                tally.step += self.step(axis, (x, y), &errors[seam]);
                tally.step_middle += self.step(axis, (x, y), &errors[middle]);
            }
        }
    }

    /// Whether a pixel is the first one of a square, in a row of squares along a seam, that has a neighbour
    /// before it.
    fn squares_fit(&self, axis: usize, (x, y): (usize, usize)) -> bool {
        let at = [x, y];
        let (across, along) = (&self.axes[axis], &self.axes[1 - axis]);
        let (inside, row, side) = (across.region(), along.region(), across.band);
        at[axis] >= inside.start + side
            && at[axis] + side <= inside.end
            && (at[1 - axis] - row.start).is_multiple_of(side)
            && at[1 - axis] + side <= row.end
    }

    /// Squared difference between the errors of the square that begins at a pixel and the one before it.
    fn step(&self, axis: usize, (x, y): (usize, usize), errors: &Errors) -> f64 {
        let side = self.axes[axis].band;
        let before = if axis == 0 { (x - side, y) } else { (x, y - side) };
        let (before, here) = (errors.of_square(before, side), errors.of_square((x, y), side));
        square(std::array::from_fn(|c| here[c] - before[c]))
    }
}

/// Sums of squares, at seams and of the same pixels in the middle of windows.
#[derive(Default)]
struct Tally {
    whole: f64,
    whole_middle: f64,
    near: f64,
    near_middle: f64,
    step: f64,
    step_middle: f64,
}

impl Tally {
    fn seams(&self) -> Seams {
        Seams {
            cost_db: ratio_db(self.whole, self.whole_middle),
            near_db: ratio_db(self.near, self.near_middle),
            step_db: ratio_db(self.step, self.step_middle),
        }
    }
}

fn ratio_db(seam: f64, middle: f64) -> f64 {
    if seam == middle {
        return 0.0;
    }
    (10.0 * (seam / middle).log10()).clamp(-MAX_DB, MAX_DB)
}

/// Restored less clean, in the clean image's coordinates; of luma alone in the first place.
struct Errors {
    left: usize,
    top: usize,
    width: usize,
    values: Vec<[f64; 3]>,
}

impl Errors {
    fn new(restored: &Picture, clean: &Picture, (left, top): (usize, usize), by_luma: bool) -> Self {
        let clean = clean.crop(left as isize, top as isize, restored.width, restored.height);
        let values = if by_luma {
            luma(restored).iter().zip(luma(&clean)).map(|(r, c)| [r - c, 0.0, 0.0]).collect()
        } else {
            let pixels = |picture: &Picture| picture.data.as_chunks::<3>().0.to_vec();
            let difference =
                |(r, c): (&[u8; 3], &[u8; 3])| std::array::from_fn(|i| f64::from(r[i]) - f64::from(c[i]));
            pixels(restored).iter().zip(&pixels(&clean)).map(difference).collect()
        };
        Self { left, top, width: restored.width, values }
    }

    fn at(&self, x: usize, y: usize) -> [f64; 3] {
        self.values[(y - self.top) * self.width + x - self.left]
    }

    /// Sum over a square.
    fn of_square(&self, (x, y): (usize, usize), side: usize) -> [f64; 3] {
        let pixels = (y..y + side).flat_map(|y| (x..x + side).map(move |x| (x, y)));
        pixels.fold([0.0; 3], |sum, (x, y)| {
            let error = self.at(x, y);
            std::array::from_fn(|c| sum[c] + error[c])
        })
    }
}

fn square(values: [f64; 3]) -> f64 {
    values.iter().map(|v| v * v).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 16;

    /// Noise that depends on the place in the image alone, in grey levels of −6 to 6.
    fn noise(x: usize, y: usize, channel: usize) -> i32 {
        ((x * 7919 + y * 104_729 + channel * 1_299_709 + x * y * 31) % 13) as i32 - 6
    }

    /// Restores grey as grey with noise, and adds `extra` by the distance from the nearest seam and its side.
    fn restored(grids: &SeamGrids, clean: &Picture, extra: impl Fn(usize, bool) -> i32) -> Vec<Picture> {
        let scale = grids.scale;
        let small = Picture::black(clean.width / scale, clean.height / scale);
        let restore = |(grid, crop): (usize, &Picture)| {
            let mut picture = Picture::black(crop.width * scale, crop.height * scale);
            let [columns, rows] = &grids.axes;
            let (left, top) = (columns.shift(grid % 2) * scale, rows.shift(grid / 2) * scale);
            for i in 0..picture.data.len() {
                let (x, y, c) = (i / 3 % picture.width + left, i / 3 / picture.width + top, i % 3);
                let behind = columns.behind_seam(grid % 2, x);
                let (distance, after) = if behind < columns.period() / 2 {
                    (behind, true)
                } else {
                    (columns.period() - 1 - behind, false)
                };
                picture.data[i] = (128 + noise(x, y, c) + extra(distance, after)) as u8;
            }
            picture
        };
        grids.crops(&small).iter().enumerate().map(restore).collect()
    }

    fn grey(width: usize, height: usize) -> Picture {
        Picture { width, height, data: vec![128; width * height * 3] }
    }

    #[test]
    fn without_seams_all_figures_are_zero() {
        for (overlap, scale) in [(0, 1), (4, 1), (5, 1), (8, 2), (3, 3)] {
            let grids = SeamGrids::new((90, 61), WINDOW, overlap, scale).unwrap();
            let clean = grey(90 * scale, 61 * scale);
            for by_luma in [false, true] {
                let seams = grids.measure(&restored(&grids, &clean, |_, _| 0), &clean, by_luma);
                assert_eq!(seams, Seams::default(), "overlap {overlap} scale {scale}");
            }
        }
    }

    #[test]
    fn a_step_at_the_seams_is_seen() {
        for (overlap, scale) in [(0, 1), (4, 1), (5, 1), (8, 2)] {
            let grids = SeamGrids::new((90, 61), WINDOW, overlap, scale).unwrap();
            let clean = grey(90 * scale, 61 * scale);
            let step = |distance: usize, after: bool| match (distance, after) {
                (0, true) => 12,
                (0, false) => -12,
                _ => 0,
            };
            let seams = grids.measure(&restored(&grids, &clean, step), &clean, false);
            assert!(seams.cost_db > 0.2 && seams.near_db > 0.2, "{overlap} {scale}: {seams:?}");
            assert!(seams.step_db > 6.0, "{overlap} {scale}: {seams:?}");
        }
    }

    #[test]
    fn errors_that_grow_towards_the_border_of_windows_are_a_cost_without_a_step() {
        let grids = SeamGrids::new((90, 61), WINDOW, 0, 1).unwrap();
        let clean = grey(90, 61);
        let slope = |distance: usize, _| 12 - 3 * (distance as i32).min(4);
        let seams = grids.measure(&restored(&grids, &clean, slope), &clean, false);
        assert!(seams.cost_db > 1.0 && seams.near_db > 2.0 && seams.step_db < 1e-9, "{seams:?}");
    }

    #[test]
    fn images_without_room_are_left_out() {
        assert!(SeamGrids::new((34, 34), WINDOW, 4, 1).is_some());
        assert!(SeamGrids::new((33, 34), WINDOW, 4, 1).is_none());
        assert!(SeamGrids::new((34, 1), WINDOW, 4, 1).is_none());
        assert!(Seams::mean(&[]).is_none());
    }

    /// The crops have room for whole steps, so that the engine's windows lie as the grids say.
    #[test]
    fn windows_of_the_crops_lie_at_whole_steps() {
        use vitreous::pipeline::WindowGrid;
        for overlap in [0, 3, 4, 7, 8] {
            let grids = SeamGrids::new((97, 64), WINDOW, overlap, 1).unwrap();
            for (index, crop) in grids.crops(&Picture::black(97, 64)).iter().enumerate() {
                let (axis, which) = (&grids.axes[0], index % 2);
                let grid = WindowGrid::new(crop.width, WINDOW, overlap);
                assert_eq!(grid.count(), axis.steps(which) + 1);
                for window in 1..grid.count() {
                    assert_eq!(grid.start(window), window * axis.stride);
                    let middle = grid.ramp_start(window) + overlap / 2 + axis.shift(which);
                    assert_eq!(axis.behind_seam(which, middle), 0, "overlap {overlap} window {window}");
                }
            }
        }
    }
}
