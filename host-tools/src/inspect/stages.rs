//! The work of a run's stages.

use vitreous::Stage;

use super::layer::Layer;

/// What a stage has to do and to read, over all heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights in the file.
    pub bytes: usize,
}

/// The stage with head 0, which stands for all of its layer's heads.
pub fn of_all_heads(stage: Stage) -> Stage {
    match stage {
        Stage::KeysValues { layer, .. } => Stage::KeysValues { layer, head: 0 },
        Stage::Attention { layer, .. } => Stage::Attention { layer, head: 0 },
        Stage::CrossKeysValues { layer, .. } => Stage::CrossKeysValues { layer, head: 0 },
        Stage::CrossAttention { layer, .. } => Stage::CrossAttention { layer, head: 0 },
        other => other,
    }
}

/// What all heads of a stage do, by the layers of its model.
pub fn work(layers: &[Layer], stage: Stage) -> Work {
    let stage = of_all_heads(stage);
    let mut sum = Work::default();
    for layer in layers {
        let [part, whole] = layer.place.share(stage);
        sum.macs += layer.macs * part / whole;
        sum.bytes += layer.bytes * part as usize / whole as usize;
    }
    sum
}
