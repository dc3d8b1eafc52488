//! Moves scale between a layer norm and the layers that read it: exact in float, better for int8.
//!
//! `W·(γ⊙z + β) = (W·S)·((γ/s)⊙z + β/s)` for any diagonal S. Dividing the norm's output and multiplying the weights' columns is
//! what SmoothQuant (Xiao et al., arXiv 2211.10438, §4) does with calibration data; here the weights alone say how: each column's
//! largest weight, relative to its row, becomes the same, so that no input wastes the range of the others' weights.

/// A layer norm and the weights that read it, after balancing.
#[derive(Clone, Debug)]
pub struct Equalized {
    /// γ of the norm.
    pub gamma: Vec<f32>,
    /// β of the norm.
    pub beta: Vec<f32>,
    /// All weights that read the norm, `(outputs, dim)`.
    pub weights: Vec<f32>,
}

/// Balances a norm `(dim)` against weights `(outputs, dim)`.
pub fn equalize(gamma: &[f32], beta: &[f32], weights: &[f32]) -> Equalized {
    let scales = column_scales(weights, gamma.len());
    let divide =
        |values: &[f32]| values.iter().zip(&scales).map(|(v, s)| (f64::from(*v) / s) as f32).collect();
    let columns = scales.iter().cycle();
    let weights = weights.iter().zip(columns).map(|(w, s)| (f64::from(*w) * s) as f32).collect();
    Equalized { gamma: divide(gamma), beta: divide(beta), weights }
}

/// `s_k = (1/c_k) / geomean(1/c)`, c_k the largest magnitude in column k of the weights whose rows have been divided by their
/// largest magnitude.
fn column_scales(weights: &[f32], dim: usize) -> Vec<f64> {
    let mut column_max = vec![0f64; dim];
    for row in weights.chunks_exact(dim) {
        let row_max = row.iter().fold(0f32, |m, w| m.max(w.abs()));
        if row_max > 0.0 {
            for (max, w) in column_max.iter_mut().zip(row) {
                *max = max.max(f64::from(w.abs() / row_max));
            }
        }
    }
    // A column without weights has no say, and extreme ones must not push γ out of the floats' range.
    let inverse: Vec<f64> =
        column_max.iter().map(|c| if *c > 0.0 { (1.0 / c).min(1e4) } else { 1.0 }).collect();
    let log_mean = inverse.iter().map(|s| s.ln()).sum::<f64>() / dim as f64;
    inverse.iter().map(|s| s / log_mean.exp()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_stays_the_same() {
        let (gamma, beta) = ([1.0, 0.5, -2.0], [0.1, 0.0, -0.3]);
        let weights = [0.3, -4.0, 0.0, 1.0, 0.25, 0.0];
        let z = [0.7, -1.2, 0.4];
        let apply = |gamma: &[f32], beta: &[f32], weights: &[f32]| -> Vec<f32> {
            weights.chunks(3).map(|row| (0..3).map(|k| row[k] * (gamma[k] * z[k] + beta[k])).sum()).collect()
        };
        let after = equalize(&gamma, &beta, &weights);
        let (want, got) = (apply(&gamma, &beta, &weights), apply(&after.gamma, &after.beta, &after.weights));
        for (want, got) in want.iter().zip(got) {
            assert!((want - got).abs() < 1e-5, "{want} {got}");
        }
    }
}
