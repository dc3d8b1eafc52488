//! Signal-to-quantization-noise ratio.

/// SQNR that equal signals get: beyond what f32 can hold.
const MAX_DB: f64 = 200.0;

/// Signal-to-quantization-noise ratio: `10·log10(Σ reference² / Σ (reference − value)²)` in dB.
pub fn sqnr_db(reference: &[f32], value: &[f32]) -> f64 {
    let signal: f64 = reference.iter().map(|r| f64::from(*r).powi(2)).sum();
    let noise: f64 = reference.iter().zip(value).map(|(r, v)| (f64::from(*r) - f64::from(*v)).powi(2)).sum();
    if noise == 0.0 {
        return MAX_DB;
    }
    (10.0 * (signal / noise).log10()).min(MAX_DB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqnr_of_a_tenth_is_20_db() {
        assert!((sqnr_db(&[1.0, -2.0], &[1.1, -2.2]) - 20.0).abs() < 1e-4);
        assert_eq!(sqnr_db(&[1.0], &[1.0]), MAX_DB);
    }
}
