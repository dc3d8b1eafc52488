//! Mixed precision: which layers keep f16 weights, so that the output stays within an error budget.

use anyhow::{bail, ensure, Result};
use serde::Serialize;
use vitreous::models::vit::Head;

use super::vit::{quantize_vit, LayerName, QuantizeOptions};
use crate::checkpoint::FloatVit;
use crate::engine::Engine;
use crate::parity::sqnr_db;
use crate::reference::ReferenceVit;
use crate::vtr::AlignedBytes;

/// What keeping one layer in f16 gains and costs.
#[derive(Clone, Debug, Serialize)]
pub struct LayerGain {
    /// The layer.
    pub layer: String,
    /// Mean SQNR of the output with this layer alone in f16, in dB.
    pub sqnr_db: f64,
    /// The same, less that of the model in int8, in dB.
    pub gain_db: f64,
    /// Bytes that the file grows by.
    pub extra_bytes: usize,
}

/// The choice, with its reasons.
#[derive(Clone, Debug, Serialize)]
pub struct PrecisionChoice {
    /// Layers that keep f16 weights.
    pub keep_f16: Vec<String>,
    /// Mean SQNR of the model in int8, in dB.
    pub int8_sqnr_db: f64,
    /// Mean SQNR with the choice, in dB.
    pub sqnr_db: f64,
    /// Every layer, most gain per byte first; empty if int8 was good enough.
    pub gains: Vec<LayerGain>,
}

/// Chooses layers by gain per byte until the mean SQNR of the output over `images` reaches `min_sqnr_db`.
///
/// Layers that `options` keeps in f16 stay there. `progress` is told models measured and models in all.
///
/// # Errors
/// No images, or a budget that is out of reach with every layer in f16 (attention and patch embedding stay integer).
pub fn choose_precision(
    float: &FloatVit,
    options: &QuantizeOptions,
    images: &[Vec<u8>],
    min_sqnr_db: f64,
    progress: &dyn Fn(usize, usize),
) -> Result<(Vec<LayerName>, PrecisionChoice)> {
    ensure!(!images.is_empty(), "no images to measure the layers' sensitivity on");
    let measure = Measure::new(float, options, images)?;
    let base = measure.with(&options.keep_f16)?;
    let mut choice = PrecisionChoice {
        keep_f16: Vec::new(),
        int8_sqnr_db: base.sqnr_db,
        sqnr_db: base.sqnr_db,
        gains: Vec::new(),
    };
    let mut kept = options.keep_f16.clone();
    let candidates: Vec<LayerName> = all_layers(float).into_iter().filter(|l| !kept.contains(l)).collect();
    if base.sqnr_db < min_sqnr_db {
        let ranked = rank(&measure, &base, &kept, &candidates, progress)?;
        choice.gains = ranked.iter().map(|(_, gain)| gain.clone()).collect();
        for (layer, _) in ranked {
            if choice.sqnr_db >= min_sqnr_db {
                break;
            }
            kept.push(layer);
            choice.sqnr_db = measure.with(&kept)?.sqnr_db;
        }
    }
    if choice.sqnr_db < min_sqnr_db {
        bail!(
            "{min_sqnr_db} dB are out of reach: int8 gives {:.2} dB, f16 in every layer {:.2} dB, since attention and patch \
             embedding stay integer",
            choice.int8_sqnr_db,
            choice.sqnr_db
        );
    }
    choice.keep_f16 = kept.iter().map(LayerName::to_string).collect();
    Ok((kept, choice))
}

/// Measures each layer alone; most gain per byte first.
fn rank(
    measure: &Measure,
    base: &Measured,
    kept: &[LayerName],
    candidates: &[LayerName],
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<(LayerName, LayerGain)>> {
    let mut ranked = Vec::with_capacity(candidates.len());
    for (index, layer) in candidates.iter().enumerate() {
        let measured = measure.with(&[kept, &[*layer]].concat())?;
        let gain = LayerGain {
            layer: layer.to_string(),
            sqnr_db: measured.sqnr_db,
            gain_db: measured.sqnr_db - base.sqnr_db,
            extra_bytes: measured.bytes.saturating_sub(base.bytes),
        };
        ranked.push((*layer, gain));
        progress(index + 1, candidates.len());
    }
    let worth = |gain: &LayerGain| gain.gain_db / gain.extra_bytes.max(1) as f64;
    ranked.sort_by(|(_, a), (_, b)| worth(b).total_cmp(&worth(a)));
    Ok(ranked)
}

fn all_layers(float: &FloatVit) -> Vec<LayerName> {
    let block = |b| [LayerName::Qkv(b), LayerName::Proj(b), LayerName::Fc1(b), LayerName::Fc2(b)];
    let head = (float.config.head != Head::None).then_some(LayerName::Head);
    (0..float.config.depth).flat_map(block).chain(head).collect()
}

struct Measured {
    sqnr_db: f64,
    bytes: usize,
}

/// The images and what the float reference makes of them.
struct Measure<'a> {
    float: &'a FloatVit,
    options: &'a QuantizeOptions,
    images: &'a [Vec<u8>],
    wanted: Vec<Vec<f32>>,
}

impl<'a> Measure<'a> {
    fn new(float: &'a FloatVit, options: &'a QuantizeOptions, images: &'a [Vec<u8>]) -> Result<Self> {
        let reference = ReferenceVit::new(float)?;
        let wanted = images.iter().map(|image| {
            let output = reference.forward(image)?;
            Ok(if output.logits.is_empty() { output.features } else { output.logits })
        });
        Ok(Self { float, options, images, wanted: wanted.collect::<Result<_>>()? })
    }

    fn with(&self, keep_f16: &[LayerName]) -> Result<Measured> {
        let options = QuantizeOptions { keep_f16: keep_f16.to_vec(), ..self.options.clone() };
        let bytes = quantize_vit(self.float, &options)?;
        let engine = Engine::from_bytes(AlignedBytes::copy_of(&bytes), "candidate".as_ref())?;
        let outputs = engine.run_all(self.images, false, || {})?;
        let total: f64 =
            self.wanted.iter().zip(&outputs).map(|(want, got)| sqnr_db(want, got.output())).sum();
        Ok(Measured { sqnr_db: total / self.images.len() as f64, bytes: bytes.len() })
    }
}
