//! IPT's contrastive loss (Chen et al., arXiv 2012.00364, §3.2, eq. 5 and 6): the body's features of two
//! patches of one image are to be more alike than those of patches of different images.

use candle_core::{Device, Result, Tensor, D};

/// Settings of [`contrastive_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// λ: weight beside the pixel loss.
    pub weight: f32,
    /// Cosine similarities are divided by this; 1 in the paper.
    pub temperature: f32,
    /// Patches of an image that are compared, evenly spread; all pairs of them count.
    pub patches: usize,
}

/// Mean over images j and pairs of patches (a, b) of
/// `−log( exp d(f_a^j, f_b^j) / Σ_{k≠j} exp d(f_a^j, f_b^k) )`, d being the cosine similarity.
///
/// `features` is (images·tokens, dim). With fewer than two images there is nothing to tell apart, and the
/// loss is 0.
pub fn contrastive_loss(
    features: &Tensor,
    images: usize,
    tokens: usize,
    settings: &Contrast,
) -> Result<Tensor> {
    if images < 2 {
        return features.zeros_like()?.sum_all();
    }
    let patches = settings.patches.clamp(1, tokens);
    let chosen: Vec<u32> = (0..images)
        .flat_map(|image| (0..patches).map(move |p| (image * tokens + p * tokens / patches) as u32))
        .collect();
    let rows = chosen.len();
    let chosen = features.index_select(&Tensor::from_vec(chosen, rows, &Device::Cpu)?, 0)?;
    let length = (chosen.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
    let unit = chosen.broadcast_div(&length)?;
    let similarity = (unit.matmul(&unit.t()?)? / f64::from(settings.temperature))?;
    // (image j, patch a, image k, patch b) → (j, a, b, k)
    let shape = (images, patches, images, patches);
    let similarity = similarity.reshape(shape)?.transpose(2, 3)?.contiguous()?;
    let same: Vec<f32> =
        (0..images * images).map(|i| f32::from(u8::from(i / images == i % images))).collect();
    let same = Tensor::from_vec(same, (images, 1, 1, images), &Device::Cpu)?;
    let other = (1.0 - &same)?;
    let positive = similarity.broadcast_mul(&same)?.sum(D::Minus1)?;
    let negative = similarity.exp()?.broadcast_mul(&other)?.sum(D::Minus1)?.log()?;
    (negative - positive)?.mean_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::ops::check::{finite_differences, random_var};

    /// Equations 5 and 6 as they stand.
    fn definition(rows: &[Vec<f32>], images: usize, patches: usize, temperature: f32) -> f32 {
        let d = |a: usize, b: usize| {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
            let (a, b) = (&rows[a], &rows[b]);
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() / temperature
        };
        let mut sum = 0.0;
        for j in 0..images {
            for a in 0..patches {
                for b in 0..patches {
                    let at = |image: usize, patch: usize| image * patches + patch;
                    let others = (0..images).filter(|k| *k != j);
                    let negative: f32 = others.map(|k| d(at(j, a), at(k, b)).exp()).sum();
                    sum -= (d(at(j, a), at(j, b)).exp() / negative).ln();
                }
            }
        }
        sum / (images * patches * patches) as f32
    }

    #[test]
    fn the_loss_is_the_papers() {
        let features = random_var(&[12, 5], 3);
        let rows = features.to_vec2::<f32>().unwrap();
        let settings = Contrast { weight: 1.0, temperature: 0.5, patches: 4 };
        let loss = contrastive_loss(&features, 3, 4, &settings).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - definition(&rows, 3, 4, 0.5)).abs() < 1e-4, "{loss}");
        // Every second patch of four.
        let fewer: Vec<Vec<f32>> = rows.iter().step_by(2).cloned().collect();
        let settings = Contrast { patches: 2, ..settings };
        let loss = contrastive_loss(&features, 3, 4, &settings).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - definition(&fewer, 3, 2, 0.5)).abs() < 1e-4, "{loss}");
    }

    #[test]
    fn gradients_match_finite_differences_and_one_image_has_no_loss() {
        let settings = Contrast { weight: 1.0, temperature: 0.7, patches: 3 };
        finite_differences(&[random_var(&[6, 4], 5)], |a| contrastive_loss(&a[0], 2, 3, &settings), 5e-3);
        let alone = contrastive_loss(&random_var(&[3, 4], 5), 1, 3, &settings).unwrap();
        assert_eq!(alone.to_scalar::<f32>().unwrap(), 0.0);
    }
}
