//! The model's stages in the reference's units: the converter moves scale about (docs/numerics.md, section
//! 8).

use anyhow::{Context, Result};
use vitreous::format::SectionKind;
use vitreous::models::vit::VitConfig;
use vitreous::tensor::ALIGN;

use crate::engine::Engine;
use crate::quantize::scaled_eps;
use crate::reference::{NormPair, ReferenceVit};

/// Largest power of two that is looked for.
const MAX_EXPONENT: i32 = 64;

/// How the model's numbers become the reference's.
pub struct Units {
    /// What the residual stream is multiplied by.
    stream: f32,
    /// The norm that makes the features, in the model and in the reference.
    norms: Option<(NormPair, NormPair)>,
}

/// Whether a model with this ε may be of a reference with that one, its stream scaled by a power of two.
pub fn eps_agree(model: f32, reference: f32) -> bool {
    (-MAX_EXPONENT..=MAX_EXPONENT).any(|n| scaled_eps(reference, n) == model)
}

impl Units {
    /// From both models, and the stream after the embedding of one image in both.
    ///
    /// # Errors
    /// None for a model that was loaded.
    pub fn new(engine: &Engine, reference: &ReferenceVit, want: &[f32], got: &[f32]) -> Result<Self> {
        let energy = |stream: &[f32]| stream.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let exponent = ((energy(got) / energy(want)).log2() / 2.0).round() as i32;
        let (ours, theirs) = (engine.config().norm_eps, reference.config().norm_eps);
        // ε tells whether the converter did it; without its word the stream is what it is.
        let done = exponent.abs() <= MAX_EXPONENT && scaled_eps(theirs, exponent) == ours;
        let stream = if done { 2f32.powi(-exponent) } else { 1.0 };
        let norms = match reference.last_norm()? {
            Some(theirs) => Some((last_norm(engine)?, theirs)),
            None => None,
        };
        Ok(Self { stream, norms })
    }

    /// The residual stream `(tokens, dim)`.
    pub fn stream(&self, got: &[f32]) -> Vec<f32> {
        got.iter().map(|x| x * self.stream).collect()
    }

    /// Features `(dim)`: what stands before the last norm's γ and β is the same in both. A channel that no
    /// classifier reads is taken from `want`.
    pub fn features(&self, want: &[f32], got: &[f32]) -> Vec<f32> {
        let Some(((gamma, beta), (wanted_gamma, wanted_beta))) = &self.norms else { return self.stream(got) };
        let channel = |k: usize| match gamma[k] {
            same if (same, beta[k]) == (wanted_gamma[k], wanted_beta[k]) => got[k],
            0.0 => want[k],
            gamma => {
                let z = (f64::from(got[k]) - f64::from(beta[k])) / f64::from(gamma);
                (z * f64::from(wanted_gamma[k]) + f64::from(wanted_beta[k])) as f32
            }
        };
        (0..got.len()).map(channel).collect()
    }
}

/// The norm that makes the features, as the file has it.
fn last_norm(engine: &Engine) -> Result<NormPair> {
    let VitConfig { dim, norm_before_pool, norm_after_pool, .. } = *engine.config();
    engine.with_vit(|vit| {
        let model = vit.model();
        let mut sections = (0..model.sections()).filter_map(|index| model.section(index));
        let (_, offset, _) =
            sections.find(|section| section.0 == SectionKind::Head as u32).context("no head")?;
        let pitch = (4 * dim).next_multiple_of(ALIGN);
        // Of two norms the second.
        let first = offset + if norm_before_pool && norm_after_pool { 2 * pitch } else { 0 };
        let floats = |start: usize| -> Result<Vec<f32>> {
            let bytes =
                model.bytes().get(start..start + 4 * dim).context("the head's section is too short")?;
            Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        Ok((floats(first)?, floats(first + pitch)?))
    })?
}
