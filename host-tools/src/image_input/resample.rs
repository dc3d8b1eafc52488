//! Antialiased resampling with Pillow's arithmetic.
//!
//! Models are trained on what Pillow makes of a photograph (timm, torchvision and transformers all call it),
//! so its fixed-point sequence is followed exactly: weights with 22 fractional bits, rows first, 8-bit rows
//! in between (Pillow, `src/libImaging/Resample.c`). Pillow 13 takes the columns first for some tall images,
//! where the results differ by at most one step.
use crate::taps::{taps, Taps};
use vitreous::format::Filter;

/// Fractional bits of a weight: 32 bits less 8 of the pixel and 2 for a sum of weights that overshoots.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// An 8-bit image with interleaved channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    /// (height, width, channels).
    pub data: Vec<u8>,
}

/// The same with Pillow's fixed-point weights.
fn fixed_taps(filter: Filter, from: usize, to: usize) -> Vec<Taps<i32>> {
    let fixed = |weight: &f64| {
        let scaled = weight * f64::from(1u32 << PRECISION_BITS);
        (scaled + if *weight < 0.0 { -0.5 } else { 0.5 }) as i32
    };
    let all = taps(filter, from, to).into_iter();
    all.map(|taps| Taps { start: taps.start, weights: taps.weights.iter().map(fixed).collect() }).collect()
}

/// Rounds and clamps a fixed-point sum to a byte.
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Resizes every row to `width` pixels.
fn resample_rows(image: &Pixels, width: usize, filter: Filter) -> Pixels {
    let channels = image.channels;
    let taps = fixed_taps(filter, image.width, width);
    let mut data = Vec::with_capacity(width * image.height * channels);
    for row in image.data.chunks_exact(image.width * channels) {
        for Taps { start, weights } in &taps {
            let mut sums = [HALF; 4];
            let pixels = row[start * channels..].chunks_exact(channels);
            for (pixel, weight) in pixels.zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            data.extend(sums[..channels].iter().map(|sum| to_byte(*sum)));
        }
    }
    Pixels { width, data, ..*image }
}

/// Resizes every column to `height` pixels.
fn resample_columns(image: &Pixels, height: usize, filter: Filter) -> Pixels {
    let stride = image.width * image.channels;
    let mut data = Vec::with_capacity(height * stride);
    let mut sums = vec![HALF; stride];
    for Taps { start, weights } in fixed_taps(filter, image.height, height) {
        sums.fill(HALF);
        for (row, weight) in image.data[start * stride..].chunks_exact(stride).zip(&weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        data.extend(sums.iter().map(|sum| to_byte(*sum)));
    }
    Pixels { height, data, ..*image }
}

/// Source index of every output pixel along one axis. The position is a running sum, whose rounding decides
/// where an output pixel's centre falls between two source pixels (Pillow, `src/libImaging/Geometry.c`,
/// `ImagingScaleAffine`).
fn nearest_indices(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let positions = std::iter::successors(Some(step * 0.5), |position| Some(position + step));
    positions.take(to).map(|position| (position as usize).min(from - 1)).collect()
}

fn nearest(image: &Pixels, width: usize, height: usize) -> Pixels {
    let channels = image.channels;
    let columns = nearest_indices(image.width, width);
    let mut data = Vec::with_capacity(width * height * channels);
    for y in nearest_indices(image.height, height) {
        for x in &columns {
            let at = (y * image.width + x) * channels;
            data.extend_from_slice(&image.data[at..at + channels]);
        }
    }
    Pixels { width, height, channels, data }
}

/// Pillow's MULDIV255: `a·b/255` rounded.
fn multiply_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Colour that is invisible must not bleed into its surroundings: images with alpha (2 and 4 channels) are
/// filtered with their colour multiplied by alpha.
fn premultiply(image: &mut Pixels) {
    for pixel in image.data.chunks_exact_mut(image.channels) {
        if let Some((alpha, colour)) = pixel.split_last_mut() {
            colour.iter_mut().for_each(|c| *c = multiply_255(*c, *alpha));
        }
    }
}

fn unpremultiply(image: &mut Pixels) {
    for pixel in image.data.chunks_exact_mut(image.channels) {
        if let Some((alpha, colour)) = pixel.split_last_mut() {
            if *alpha != 0 && *alpha != 255 {
                colour.iter_mut().for_each(|c| *c = (255 * u32::from(*c) / u32::from(*alpha)).min(255) as u8);
            }
        }
    }
}

/// `image` at another size; no side may be 0.
pub(super) fn resize(mut image: Pixels, width: usize, height: usize, filter: Filter) -> Pixels {
    if (width, height) == (image.width, image.height) {
        return image;
    }
    if filter == Filter::Nearest {
        return nearest(&image, width, height);
    }
    let alpha = matches!(image.channels, 2 | 4);
    if alpha {
        premultiply(&mut image);
    }
    if width != image.width {
        image = resample_rows(&image, width, filter);
    }
    if height != image.height {
        image = resample_columns(&image, height, filter);
    }
    if alpha {
        unpremultiply(&mut image);
    }
    image
}
