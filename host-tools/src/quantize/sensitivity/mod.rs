//! Mixed precision: which layers keep f16 weights, so that the output stays within an error budget.

mod ipt;
mod vit;

pub use ipt::IptSensitivity;
pub use vit::VitSensitivity;

use std::fmt::Display;

use anyhow::{bail, Result};
use serde::Serialize;

/// A model whose output can be measured with a choice of layers in f16.
pub trait Sensitivity {
    /// Names a layer.
    type Layer: Copy + PartialEq + Display;

    /// Every layer whose precision can be chosen.
    fn layers(&self) -> Vec<Self::Layer>;

    /// Quantizes with these layers in f16, runs and compares with the float reference.
    ///
    /// # Errors
    /// The engine's.
    fn measure(&self, keep_f16: &[Self::Layer]) -> Result<Measured>;
}

/// A measured choice.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// How near the output is to the float reference's, in dB; larger is nearer.
    pub db: f64,
    /// Bytes of the file.
    pub bytes: usize,
}

/// What keeping one layer in f16 gains and costs.
#[derive(Clone, Debug, Serialize)]
pub struct LayerGain {
    /// The layer.
    pub layer: String,
    /// Nearness of the output with this layer alone in f16, in dB.
    pub db: f64,
    /// The same, less that of the model in int8, in dB.
    pub gain_db: f64,
    /// Bytes that the file grows by.
    pub extra_bytes: usize,
}

/// The choice, with its reasons. Nearness is the mean SQNR of a classifier's output; of a restorer's the PSNR
/// between its pictures and the float reference's, least over its tasks.
#[derive(Clone, Debug, Serialize)]
pub struct PrecisionChoice {
    /// Layers that keep f16 weights.
    pub keep_f16: Vec<String>,
    /// Nearness of the model in int8, in dB.
    pub int8_db: f64,
    /// Nearness with the choice, in dB.
    pub db: f64,
    /// Every layer, most gain per byte first; empty if int8 was good enough.
    pub gains: Vec<LayerGain>,
}

/// Chooses layers by gain per byte until the output is within `min_db` of the reference's. The layers in
/// `kept` stay in f16. `progress` is told models measured and models in all.
///
/// # Errors
/// A budget that is out of reach with every layer in f16 (attention stays integer, and a patch embedding).
pub fn choose_precision<S: Sensitivity>(
    model: &S,
    mut kept: Vec<S::Layer>,
    min_db: f64,
    progress: &dyn Fn(usize, usize),
) -> Result<(Vec<S::Layer>, PrecisionChoice)> {
    let base = model.measure(&kept)?;
    let mut choice =
        PrecisionChoice { keep_f16: Vec::new(), int8_db: base.db, db: base.db, gains: Vec::new() };
    if base.db < min_db {
        let ranked = rank(model, &base, &kept, progress)?;
        choice.gains = ranked.iter().map(|(_, gain)| gain.clone()).collect();
        for (layer, _) in ranked {
            if choice.db >= min_db {
                break;
            }
            kept.push(layer);
            choice.db = model.measure(&kept)?.db;
        }
    }
    if choice.db < min_db {
        bail!(
            "{min_db} dB are out of reach: int8 gives {:.2} dB, f16 in every layer {:.2} dB, since some \
             operations stay integer",
            choice.int8_db,
            choice.db
        );
    }
    choice.keep_f16 = kept.iter().map(S::Layer::to_string).collect();
    Ok((kept, choice))
}

/// Measures each layer alone; most gain per byte first.
fn rank<S: Sensitivity>(
    model: &S,
    base: &Measured,
    kept: &[S::Layer],
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<(S::Layer, LayerGain)>> {
    let candidates: Vec<S::Layer> = model.layers().into_iter().filter(|l| !kept.contains(l)).collect();
    let mut ranked = Vec::with_capacity(candidates.len());
    for (index, layer) in candidates.iter().enumerate() {
        let measured = model.measure(&[kept, &[*layer]].concat())?;
        let gain = LayerGain {
            layer: layer.to_string(),
            db: measured.db,
            gain_db: measured.db - base.db,
            extra_bytes: measured.bytes.saturating_sub(base.bytes),
        };
        ranked.push((*layer, gain));
        progress(index + 1, candidates.len());
    }
    let worth = |gain: &LayerGain| gain.gain_db / gain.extra_bytes.max(1) as f64;
    ranked.sort_by(|(_, a), (_, b)| worth(b).total_cmp(&worth(a)));
    Ok(ranked)
}
