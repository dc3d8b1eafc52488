//! Values of the residual stream that f16 could not hold. The engine cuts them to ±65504 (docs/numerics.md,
//! section 1); only the host looks for them, at the ends of stages.

use half::f16;
use serde::Serialize;
use vitreous::Stage;

use crate::text::grouped;

/// Magnitude bits of 65504, the largest f16.
const LARGEST: u16 = 0x7bff;

/// What was cut in one run, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Saturation {
    /// Where most values were cut: `embedding`, `attention of block 3`, `block 3`, …; empty if none were.
    pub stage: String,
    /// Values cut there.
    pub values: usize,
    /// Values of the stream there.
    pub of: usize,
}

/// What was cut over images.
#[derive(Clone, Debug, Serialize)]
pub struct SaturationReport {
    /// Images on which values were cut.
    pub images: usize,
    /// The image with most of them.
    pub image: String,
    /// What was cut on that image.
    #[serde(flatten)]
    pub worst: Saturation,
}

impl Saturation {
    /// Looks at a stream after a step of `stage`, if `next` is another stage, that is where the stream is
    /// whole.
    ///
    /// # Errors
    /// Those of `stream`.
    pub fn watch<'s, E>(
        &mut self,
        stage: Stage,
        next: Option<Stage>,
        stream: impl FnOnce() -> Result<&'s [f16], E>,
    ) -> Result<(), E> {
        let is_last = match next {
            Some(Stage::KeysValues { .. } | Stage::CrossKeysValues { .. }) => false,
            next => next != Some(stage),
        };
        let stage = match stage {
            _ if !is_last => return Ok(()),
            Stage::Embed | Stage::Encode => "embedding".to_owned(),
            Stage::Attention { layer, .. } => format!("attention of block {layer}"),
            Stage::CrossAttention { layer, .. } => format!("cross-attention of block {layer}"),
            Stage::Mlp { layer } => format!("block {layer}"),
            Stage::Conv { part } => format!("convolutions of the head, part {part}"),
            Stage::Decode => "output of the body".to_owned(),
            _ => return Ok(()),
        };
        let stream = stream()?;
        let values = stream.iter().filter(|x| x.to_bits() & 0x7fff == LARGEST).count();
        self.raise(Self { stage, values, of: stream.len() });
        Ok(())
    }

    /// Keeps the worse of both.
    pub fn raise(&mut self, other: Self) {
        if other.values > self.values {
            *self = other;
        }
    }

    /// Whether anything was cut.
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }
}

impl SaturationReport {
    /// The report over named images; `None` if nothing was cut on any.
    pub fn new<'a>(images: impl IntoIterator<Item = (String, &'a Saturation)>) -> Option<Self> {
        let mut cut: Vec<(String, &Saturation)> =
            images.into_iter().filter(|(_, saturation)| !saturation.is_empty()).collect();
        let images = cut.len();
        // Of equal ones the first.
        cut.sort_by_key(|(_, saturation)| std::cmp::Reverse(saturation.values));
        let (image, worst) = cut.into_iter().next()?;
        Some(Self { images, image, worst: worst.clone() })
    }
}

impl std::fmt::Display for SaturationReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Saturation { stage, values, of } = &self.worst;
        let (values, of) = (grouped(*values as u64), grouped(*of as u64));
        write!(
            f,
            "{stage}: {values} of {of} values of the residual stream saturate at ±65504 on {}",
            self.image
        )?;
        if self.images > 1 {
            write!(f, ", the worst of {} such images", self.images)?;
        }
        write!(
            f,
            "; the output is not to be relied on: convert again (`vitreous convert` scales the stream into \
             f16's range; with --images it looks at these images too)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturated_values_are_counted_at_the_ends_of_stages() {
        let stream: Vec<f16> = [1.0, 65504.0, -65504.0, 65472.0, 0.0].map(f16::from_f32).to_vec();
        let mut saturation = Saturation::default();
        let block = Stage::Mlp { layer: 3 };
        saturation.watch(block, Some(block), || Ok::<_, ()>(&stream)).unwrap();
        let (attention, project) =
            (Stage::Attention { layer: 3, head: 0 }, Stage::KeysValues { layer: 3, head: 1 });
        saturation.watch(attention, Some(project), || Ok::<_, ()>(&stream)).unwrap();
        assert!(saturation.is_empty());
        saturation.watch(block, Some(Stage::Head), || Ok::<_, ()>(&stream)).unwrap();
        assert_eq!(saturation, Saturation { stage: "block 3".into(), values: 2, of: 5 });
        let none = Saturation::default();
        let report = SaturationReport::new([("a.png".into(), &none), ("b.png".into(), &saturation)]).unwrap();
        assert!(report.to_string().starts_with("block 3: 2 of 5 values of the residual stream saturate"));
        assert!(report.to_string().contains("on b.png; "), "{report}");
        assert!(SaturationReport::new([("a.png".into(), &none)]).is_none());
    }
}
