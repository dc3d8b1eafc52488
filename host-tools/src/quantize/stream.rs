//! The residual stream in f16's range: a power of two on all that writes it.
//!
//! The engine keeps the stream in f16 and cuts what is beyond ±65504. A layer norm sees no scale, so
//! everything that writes the stream may be multiplied by 2^n, with ε by 4^n: exact. n is 0 unless a trial
//! run of the float weights shows values that are near the range's end, or a stream so small that f16 loses
//! bits; then the largest value seen goes to a fixed binade, wherever it was.

use anyhow::{bail, ensure, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use vitreous::models::ipt::{IptConfig, COLOURS};
use vitreous::models::vit::{Pool, VitConfig};
use vitreous::tensor::MIN_MAGNITUDE;

use super::balance::{scale_values, Extent, Extents, Tensors};
use crate::checkpoint::ipt::FloatIpt;
use crate::checkpoint::FloatVit;
use crate::image_input::resize_bicubic;
use crate::reference::{in_gib, ipt_bytes, vit_bytes, ReferenceIpt, ReferenceOutput, ReferenceVit};

/// Largest value of a stream that is left as it is: an eighth of f16's largest, since no trial sees all
/// images.
const LARGEST: f32 = 8192.0;
/// Root mean square below which f16's subnormal numbers cost more than its rounding does otherwise.
const LEAST_RMS: f32 = 1.0 / 8192.0;
/// The same for a restorer: the weights of its first convolution, which turns grey levels into the maps, are
/// f16 too.
const LEAST_RMS_OF_MAPS: f32 = 1.0 / 16.0;
/// Binade of the largest value after scaling: a sixteenth to a thirty-second of f16's largest.
const TARGET_EXPONENT: i32 = 11;
/// Blocks along a side of a trial image.
const OCTAVES: [usize; 7] = [2, 4, 8, 16, 32, 56, 112];
/// Seed of the trial images.
const SEED: u64 = 0;

/// Most bytes of a trial image's float pass: a model of larger images is tried on smaller ones.
const TRIAL_BYTES: u64 = 1 << 30;
/// Largest value of a stream whose squares f32 can sum up: beyond it no float norm is right.
const LARGEST_SQUARED: f32 = 1e18;

/// What was found about a model on trial images.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trial {
    /// All that writes the stream is multiplied by two to this power; 0 leaves the model as it is.
    pub exponent: i32,
    /// Largest magnitude in the float weights' stream, over the trial images.
    pub largest: f32,
    /// Whether f16 holds the stream well once it is scaled.
    #[serde(skip)]
    pub is_held: bool,
    /// What could not be done, in sentences for the user.
    pub warnings: Vec<String>,
    /// What the norms of a classifier made of the trial images.
    #[serde(skip)]
    pub extents: Extents,
}

/// What a trial has seen of a stream.
#[derive(Clone, Copy, Debug)]
struct Seen {
    largest: f32,
    /// Least root mean square over the places where the stream was looked at.
    least_rms: f32,
}

impl Seen {
    const NOTHING: Self = Self { largest: 0.0, least_rms: f32::INFINITY };

    fn add(&mut self, stream: &[f32]) {
        let magnitude = |x: &f32| if x.is_nan() { f32::INFINITY } else { x.abs() };
        self.largest = stream.iter().map(magnitude).fold(self.largest, f32::max);
        let squares: f64 = stream.iter().map(|x| f64::from(*x).powi(2)).sum();
        self.least_rms = self.least_rms.min((squares / stream.len().max(1) as f64).sqrt() as f32);
    }
}

/// Finds the power of two for a ViT: the float weights run on a few synthetic images and on `images`
/// `(height, width, channels)`. Where a pass of such images would take too much memory, they are made smaller
/// and the positions interpolated, and a warning says so.
///
/// # Errors
/// Images of the wrong size.
pub fn vit_trial(float: &FloatVit, images: &[Vec<u8>]) -> Result<Trial> {
    let whole = [float.config.image_height, float.config.image_width];
    let size = trial_size(&float.config);
    let smaller = (size != whole).then(|| float.with_image(size[0], size[1])).transpose()?;
    let (reference, c) = match &smaller {
        Some(smaller) => (ReferenceVit::new(smaller)?, &smaller.config),
        None => (ReferenceVit::new(float)?, &float.config),
    };
    let ([height, width], channels) = (size, c.channels);
    let shrunk: Vec<Vec<u8>> = match smaller {
        Some(_) => {
            let expected = whole[0] * whole[1] * channels;
            let wrong = images.iter().find(|image| image.len() != expected);
            ensure!(wrong.is_none(), "an image of {} values, expected {expected}", wrong.map_or(0, Vec::len));
            let shrink =
                |image: &Vec<u8>| resize_bicubic(image, channels, [whole[1], whole[0]], [width, height]);
            images.iter().map(shrink).collect()
        }
        None => vec![],
    };
    let images = if smaller.is_some() { &shrunk } else { images };
    let (mut seen, mut extents) = (Seen::NOTHING, Extents::new());
    for image in trial_images(height, width, channels).iter().chain(images) {
        let output = reference.forward(image)?;
        output.hidden.iter().chain(&output.middle).for_each(|stream| seen.add(stream));
        extend(&mut extents, c, &output);
    }
    let mut scale = Trial { extents, ..chosen(&seen, c.norm_eps, LEAST_RMS) };
    if scale.exponent != 0 && !has_final_norm(c) && c.classes == 0 {
        scale.exponent = 0;
        scale.warnings.push(format!(
            "the residual stream reaches {:.3e}, which f16 cannot hold well, and it is the model's output, \
             with neither norm nor classifier behind it, so it cannot be scaled: train with a final norm, \
             or scale the weights that write it",
            seen.largest
        ));
    }
    if smaller.is_some() {
        let needed = in_gib(vit_bytes(&float.config));
        scale.warnings.push(not_measured("images", [height, width], whole, &needed));
    }
    Ok(scale)
}

/// What a trial on something smaller leaves open.
fn not_measured(what: &str, [height, width]: [usize; 2], whole: [usize; 2], needed: &str) -> String {
    format!(
        "the range of the residual stream was measured on {what} of {height}×{width}, for those of {}×{} \
         would take {needed} of memory: what the whole size does to it was not measured",
        whole[0], whole[1]
    )
}

/// Height and width of the largest trial image of a model's shape whose pass fits [`TRIAL_BYTES`].
fn trial_size(config: &VitConfig) -> [usize; 2] {
    let (rows, columns) =
        (config.image_height / config.patch_height, config.image_width / config.patch_width);
    let mut c = *config;
    let mut share = 1.0;
    while vit_bytes(&c) > TRIAL_BYTES && c.patches() > 1 {
        share *= 0.95;
        let part = |patches: usize| ((patches as f64 * share) as usize).max(1);
        (c.image_height, c.image_width) = (part(rows) * c.patch_height, part(columns) * c.patch_width);
    }
    [c.image_height, c.image_width]
}

fn extend(extents: &mut Extents, c: &VitConfig, output: &ReferenceOutput) {
    let mut add = |norm: String, rows: &[f32]| Extent::extend(extents, &norm, rows, c.dim, c.norm_eps);
    for (block, (before, middle)) in output.hidden.iter().zip(&output.middle).enumerate() {
        add(format!("blocks.{block}.norm1"), before);
        add(format!("blocks.{block}.norm2"), middle);
    }
    // The classifiers read the class token, and the other token if there is one; of a mean of tokens nothing
    // is seen here.
    if let (Some(last), Pool::Token) = (output.hidden.last(), c.pool) {
        add(if c.norm_after_pool { "fc_norm" } else { "norm" }.into(), &last[..c.prefix_tokens() * c.dim]);
    }
}

/// The same for an IPT, over all of its tasks; `windows` are `(window, window, 3)`.
///
/// # Errors
/// Windows of the wrong size.
pub fn ipt_trial(float: &FloatIpt, windows: &[Vec<u8>]) -> Result<Trial> {
    let (whole, window) = (float.config.window, trial_window(&float.config));
    let smaller = (window != whole).then(|| float.with_window(window)).transpose()?;
    let reference = ReferenceIpt::new(smaller.as_ref().unwrap_or(float))?;
    let c = &float.config;
    // A window is any part of a picture, and so is its middle.
    let middles: Result<Vec<Vec<u8>>> = windows.iter().map(|pixels| middle(pixels, whole, window)).collect();
    let middles = middles?;
    let mut seen = Seen::NOTHING;
    for task in &c.tasks {
        for window in trial_images(window, window, COLOURS).iter().chain(&middles) {
            let stages = reference.stages(window, task)?;
            let streams = stages.encoder.iter().chain(&stages.decoder);
            streams.chain([&stages.head, &stages.body]).for_each(|stream| seen.add(stream));
        }
    }
    let mut scale = chosen(&seen, c.norm_eps, LEAST_RMS_OF_MAPS);
    if smaller.is_some() {
        let needed = in_gib(ipt_bytes(c));
        scale.warnings.push(not_measured("windows", [window; 2], [whole; 2], &needed));
    }
    Ok(scale)
}

/// The largest window whose pass fits [`TRIAL_BYTES`].
fn trial_window(config: &IptConfig) -> usize {
    let mut c = config.clone();
    while ipt_bytes(&c) > TRIAL_BYTES && c.window > c.patch {
        c.window -= c.patch;
    }
    c.window
}

/// The middle `(window, window, 3)` of a larger square.
fn middle(pixels: &[u8], whole: usize, window: usize) -> Result<Vec<u8>> {
    let expected = whole * whole * COLOURS;
    ensure!(pixels.len() == expected, "a window of {} values, expected {expected}", pixels.len());
    let from = (whole - window) / 2;
    let rows = pixels.chunks_exact(whole * COLOURS).skip(from).take(window);
    Ok(rows.flat_map(|row| &row[from * COLOURS..(from + window) * COLOURS]).copied().collect())
}

fn chosen(seen: &Seen, eps: f32, least_rms: f32) -> Trial {
    let mut scale = Trial { exponent: 0, largest: seen.largest, ..Trial::default() };
    if !seen.largest.is_finite() {
        scale.warnings.push(
            "the float weights themselves give numbers that are not finite on a trial image: outputs of the \
             model will be useless"
                .into(),
        );
        return scale;
    }
    if seen.largest > LARGEST_SQUARED {
        scale.warnings.push(format!(
            "the residual stream reaches {:.3e}, whose square f32 cannot hold: norms of the float weights \
             give nonsense, in PyTorch too, and outputs of the model will be useless",
            seen.largest
        ));
    }
    if seen.largest == 0.0 || (seen.largest <= LARGEST && seen.least_rms >= least_rms) {
        scale.is_held = true;
        return scale;
    }
    let wanted = TARGET_EXPONENT - exponent_of(seen.largest);
    // ε may be at most 1; a stream that is small beside it needs its bits less.
    let highest = (-exponent_of(eps.max(MIN_MAGNITUDE)) / 2 - 1).max(0);
    scale.exponent = wanted.min(highest);
    let rms = f64::from(seen.least_rms) * 2f64.powi(scale.exponent);
    scale.is_held = rms >= f64::from(LEAST_RMS) && scale.warnings.is_empty();
    if scale.exponent < 0 && rms < f64::from(LEAST_RMS) {
        scale.warnings.push(format!(
            "the residual stream reaches {:.3e} in one place and has a root mean square of {:.3e} in \
             another: f16 cannot hold both well; look at `vitreous parity`",
            seen.largest, seen.least_rms
        ));
    }
    if f64::from(seen.largest).powi(2) < 1e-6 * f64::from(eps) {
        scale.warnings.push(format!(
            "the residual stream reaches {:.3e} alone, next to nothing beside the norms' epsilon of {eps:e}: \
             outputs hardly depend on the image, of the float weights neither",
            seen.largest
        ));
    }
    let exact = f64::from(eps) * 4f64.powi(scale.exponent);
    if exact < f64::from(MIN_MAGNITUDE) && rms * rms < 1e4 * f64::from(MIN_MAGNITUDE) {
        scale.warnings.push(format!(
            "scaling the residual stream by 2^{} asks for a norm's epsilon of {exact:.1e}, and the format's \
             least is 2^-40: rows of small variance change a little",
            scale.exponent
        ));
    }
    scale
}

/// n with 2^n ≤ x < 2^(n+1), for a positive finite x.
fn exponent_of(x: f32) -> i32 {
    x.log2().floor() as i32
}

fn has_final_norm(config: &VitConfig) -> bool {
    config.norm_before_pool || config.norm_after_pool
}

/// ε of a model whose stream is multiplied by `2^exponent`, within the format's bounds.
pub fn scaled_eps(eps: f32, exponent: i32) -> f32 {
    match exponent {
        0 => eps,
        _ => ((f64::from(eps) * 4f64.powi(exponent)) as f32).clamp(MIN_MAGNITUDE, 1.0),
    }
}

/// Multiplies all that writes a ViT's residual stream by `2^exponent`; without a final norm the classifiers
/// are divided by it.
pub fn scale_vit_stream(tensors: &mut Tensors, config: &VitConfig, exponent: i32) {
    let reads_stream =
        |name: &str| !has_final_norm(config) && name.starts_with("head") && name.ends_with("weight");
    let writes = |name: &str| {
        let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
        ["cls_token", "dist_token", "pos_embed", "patch_embed.proj"].contains(&layer)
            || layer.ends_with(".attn.proj")
            || layer.ends_with(".mlp.fc2")
    };
    for (name, tensor) in tensors {
        if writes(name) {
            scale_values(&mut tensor.data, exponent);
        } else if reads_stream(name) {
            scale_values(&mut tensor.data, -exponent);
        }
    }
}

/// Multiplies all that writes an IPT's feature maps and residual stream by `2^exponent`, and divides what
/// reads them without a norm.
///
/// Layers between both (residual convolutions, the encoding, the MLP behind the decoder, the upsampler) keep
/// their weights; their biases are multiplied.
pub fn scale_ipt_stream(tensors: &mut Tensors, exponent: i32) {
    for (name, tensor) in tensors {
        let parts: Vec<&str> = name.split('.').collect();
        let weight = parts.last().is_some_and(|leaf| leaf.ends_with("weight"));
        match parts.as_slice() {
            ["head", _, "0", _] | ["body", "position_encoding", ..] => {
                scale_values(&mut tensor.data, exponent)
            }
            ["head", ..] | ["tail", _, "0", ..] | ["body", "linear_encoding" | "mlp_head", ..] if !weight => {
                scale_values(&mut tensor.data, exponent);
            }
            ["tail", _, "1", "weight"] => scale_values(&mut tensor.data, -exponent),
            ["body", _, "layers", _, "linear2", _] | ["body", _, "layers", _, _, "out_proj", _] => {
                scale_values(&mut tensor.data, exponent);
            }
            // Keys and values of a cross-attention read the stream itself.
            ["body", "decoder", "layers", _, "multihead_attn", "in_proj_weight"] => {
                let first = tensor.data.len() / 3;
                scale_values(&mut tensor.data[first..], -exponent);
            }
            _ => {}
        }
    }
}

/// Images that any model can be tried on, each `(height, width, channels)`: a slope of colours, noise, coarse
/// blocks, and blocks of all sizes upon each other, whose spectrum is near that of photographs.
fn trial_images(height: usize, width: usize, channels: usize) -> Vec<Vec<u8>> {
    let rng = &mut ChaCha8Rng::seed_from_u64(SEED);
    let places = || (0..height * width).map(|i| (i / width, i % width));
    let ramp = |at: usize, length: usize| (at * 255 / length.max(2).saturating_sub(1)).min(255);
    let slope = places().flat_map(|(y, x)| {
        let colours = [ramp(x, width), ramp(y, height), ramp(x + y, width + height - 1)];
        (0..channels).map(move |channel| colours[channel.min(2)] as u8)
    });
    let mut images = vec![slope.collect(), (0..height * width * channels).map(|_| rng.random()).collect()];
    for octaves in [&[8][..], &OCTAVES, &OCTAVES, &OCTAVES] {
        let amplitude = if octaves.len() > 1 { 60.0 } else { 127.0 };
        let mut sum = vec![128f32; height * width * channels];
        for &side in octaves {
            let blocks: Vec<f32> =
                (0..side * side * channels).map(|_| amplitude * rng.random_range(-1.0..1.0)).collect();
            for ((y, x), pixel) in places().zip(sum.chunks_exact_mut(channels)) {
                let block = (y * side / height * side + x * side / width) * channels;
                pixel.iter_mut().zip(&blocks[block..]).for_each(|(value, more)| *value += more);
            }
        }
        images.push(sum.into_iter().map(|value| value.clamp(0.0, 255.0) as u8).collect());
    }
    images
}

/// Values as f16.
///
/// # Errors
/// One that f16 cannot hold, with the tensor's name.
pub(super) fn f16s(name: &str, values: &[f32]) -> Result<Vec<half::f16>> {
    if let Some(index) = values.iter().position(|x| x.is_nan() || x.abs() >= 65520.0) {
        bail!(
            "`{name}` holds {:e} at element {index}, and f16 ends at 65504: is the checkpoint damaged, or \
             one channel of it much larger than all others?",
            values[index]
        );
    }
    Ok(values.iter().map(|x| half::f16::from_f32(*x)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{small_ipt, small_vit};

    fn config(side: usize) -> VitConfig {
        VitConfig {
            image_height: side,
            image_width: 2 * side,
            patch_height: 8,
            patch_width: 8,
            dim: 64,
            heads: 4,
            hidden: 256,
            ..small_vit()
        }
    }

    #[test]
    fn a_trial_takes_no_more_memory_than_is_stated() {
        assert_eq!(trial_size(&config(224)), [224, 448]);
        let large = config(1024);
        let [height, width] = trial_size(&large);
        let tried = VitConfig { image_height: height, image_width: width, ..large };
        assert!(vit_bytes(&large) > 8 * TRIAL_BYTES && vit_bytes(&tried) <= TRIAL_BYTES);
        assert!(vit_bytes(&tried) > TRIAL_BYTES / 2, "{height}×{width}");
        assert!(height.is_multiple_of(8) && width.abs_diff(2 * height) <= 16);
        let ipt = IptConfig {
            features: 64,
            window: 1024,
            patch: 4,
            heads: 12,
            hidden: 4096,
            head_hidden: 4096,
            encoder_layers: 12,
            decoder_layers: 12,
            ..small_ipt(&["denoise30"])
        };
        let window = trial_window(&ipt);
        assert!(window.is_multiple_of(4) && (16..512).contains(&window), "{window}");
        assert_eq!(middle(&[1, 2, 3, 4].map(|v| [v; 3]).concat(), 2, 1).unwrap(), [1; 3]);
    }

    #[test]
    fn what_no_norm_can_hold_is_not_said_to_be_held() {
        let trial = |largest: f32, least_rms: f32| chosen(&Seen { largest, least_rms }, 1e-6, LEAST_RMS);
        assert!(trial(1e6, 1e3).is_held && trial(1e6, 1e3).warnings.is_empty());
        for (largest, words) in [(1e30, "f32 cannot hold"), (1e-30, "hardly depend on the image")] {
            let trial = trial(largest, largest / 10.0);
            assert!(!trial.is_held && trial.warnings.iter().any(|w| w.contains(words)), "{trial:?}");
        }
    }
}
