//! Filters of resampling: which source pixels an output pixel is made of, and with which weights. Images and
//! position embeddings are resized by the same ones.
use vitreous::format::Filter;

/// The source pixels of one output pixel and their weights.
pub struct Taps<W = f64> {
    /// The first of them.
    pub start: usize,
    /// Their weights, whose sum is 1.
    pub weights: Vec<W>,
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// The filter's value at `x`, in units of its own grid; 0 outside of its support.
fn filter_value(filter: Filter, x: f64) -> f64 {
    let a = x.abs();
    match filter {
        Filter::Box | Filter::Nearest => f64::from(u8::from(x > -0.5 && x <= 0.5)),
        Filter::Bilinear => (1.0 - a).max(0.0),
        // Keys 1981 with a = −0.5.
        Filter::Bicubic if a < 1.0 => ((-0.5 + 2.0) * a - (-0.5 + 3.0)) * a * a + 1.0,
        Filter::Bicubic if a < 2.0 => (((a - 5.0) * a + 8.0) * a - 4.0) * -0.5,
        Filter::Bicubic => 0.0,
        Filter::Lanczos3 if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Filter::Lanczos3 => 0.0,
    }
}

fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Nearest | Filter::Box => 0.5,
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos3 => 3.0,
    }
}

/// Weights of every output pixel along one axis.
pub fn taps(filter: Filter, from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // Reducing widens the filter, which is what antialiases.
    let filter_scale = scale.max(1.0);
    let radius = support(filter) * filter_scale;
    let taps_of = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let start = ((centre - radius + 0.5) as i64).max(0) as usize;
        let end = ((centre + radius + 0.5) as i64).clamp(0, from as i64) as usize;
        let value = |i: usize| filter_value(filter, (i as f64 - centre + 0.5) * (1.0 / filter_scale));
        let weights: Vec<f64> = (start..end).map(value).collect();
        let sum: f64 = weights.iter().sum();
        let normal = |weight: &f64| if sum == 0.0 { *weight } else { weight / sum };
        Taps { start, weights: weights.iter().map(normal).collect() }
    };
    (0..to).map(taps_of).collect()
}
