//! Structural similarity.

/// Side of the window.
const SIDE: usize = 11;
/// Standard deviation of the window's weights in pixels.
const SIGMA: f64 = 1.5;
/// (K1·L)² and (K2·L)² with K1 = 0.01, K2 = 0.03 and L = 255.
const C1: f64 = 2.55 * 2.55;
const C2: f64 = 7.65 * 7.65;

/// Mean structural similarity of two channels (height, width) of 0..255 (Wang et al. 2004, IEEE Transactions
/// on Image Processing 13(4), eq. 13 and §III.C): an 11×11 window of Gaussian weights with σ = 1.5, over all
/// places where it lies within the image. `None` for an image smaller than the window.
///
/// `size` is width and height.
pub fn ssim(a: &[f64], b: &[f64], size: (usize, usize)) -> Option<f64> {
    if size.0 < SIDE || size.1 < SIDE {
        return None;
    }
    let product = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
    let (mean_a, mean_b) = (smoothed(a, size), smoothed(b, size));
    let (aa, bb, ab) =
        (smoothed(&product(a, a), size), smoothed(&product(b, b), size), smoothed(&product(a, b), size));
    let similarity = |i: usize| {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (var_a, var_b, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        (2.0 * ma * mb + C1) * (2.0 * cov + C2) / ((ma * ma + mb * mb + C1) * (var_a + var_b + C2))
    };
    let count = mean_a.len();
    Some((0..count).map(similarity).sum::<f64>() / count as f64)
}

/// Weighted means, first along the rows, then along the columns: (height, width) to (height − 10, width −
/// 10).
fn smoothed(values: &[f64], (width, height): (usize, usize)) -> Vec<f64> {
    let weights = weights();
    let narrow = width + 1 - SIDE;
    let mut rows = Vec::with_capacity(narrow * height);
    for row in values.chunks_exact(width) {
        rows.extend(row.windows(SIDE).map(|part| part.iter().zip(&weights).map(|(v, w)| v * w).sum::<f64>()));
    }
    let mut out = vec![0.0; narrow * (height + 1 - SIDE)];
    for (y, out) in out.chunks_exact_mut(narrow).enumerate() {
        for (row, weight) in rows[y * narrow..].chunks_exact(narrow).zip(&weights) {
            out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
        }
    }
    out
}

/// The window's weights along one side; they add up to 1.
fn weights() -> [f64; SIDE] {
    let gauss: [f64; SIDE] =
        std::array::from_fn(|i| (-(i as f64 - (SIDE / 2) as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = gauss.iter().sum();
    gauss.map(|weight| weight / sum)
}
