//! Ticks per stage and layer.

use vitreous::Stage as EngineStage;
use vitreous_protocol::{Message, Stage, StageKind};

use crate::report::Report;

/// The largest number of layers that are counted separately.
pub const MAX_LAYERS: usize = 64;

const KINDS: usize = StageKind::ALL.len();

/// Ticks and tiles of each stage of one image.
pub struct Times {
    slots: [[Slot; MAX_LAYERS]; KINDS],
}

#[derive(Clone, Copy)]
struct Slot {
    ticks: u64,
    tiles: u32,
}

impl Times {
    /// With nothing counted.
    pub const fn new() -> Self {
        Self { slots: [[Slot { ticks: 0, tiles: 0 }; MAX_LAYERS]; KINDS] }
    }

    /// Clears the counts of the image before.
    pub fn clear(&mut self) {
        self.slots.as_flattened_mut().fill(Slot { ticks: 0, tiles: 0 });
    }

    /// Adds one tile.
    pub fn add(&mut self, stage: EngineStage, ticks: u64) {
        let (kind, layer) = kind_and_layer(stage);
        let slot = self.slots.get_mut(kind as usize).and_then(|layers| layers.get_mut(usize::from(layer)));
        if let Some(slot) = slot {
            slot.ticks = slot.ticks.wrapping_add(ticks);
            slot.tiles = slot.tiles.wrapping_add(1);
        }
    }

    /// Sends all stages that occurred.
    pub fn send(&self, image: u32, report: &mut Report) {
        for (kind, layers) in StageKind::ALL.into_iter().zip(&self.slots) {
            for (layer, slot) in (0..).zip(layers).filter(|(_, slot)| slot.tiles > 0) {
                report.send(&Message::Stage(Stage {
                    image,
                    kind,
                    layer,
                    tiles: slot.tiles,
                    ticks: slot.ticks,
                }));
            }
        }
    }
}

fn kind_and_layer(stage: EngineStage) -> (StageKind, u16) {
    match stage {
        EngineStage::Embed => (StageKind::Embed, 0),
        EngineStage::Norm { layer } => (StageKind::Norm, layer),
        EngineStage::KeysValues { layer, .. } => (StageKind::KeysValues, layer),
        EngineStage::Attention { layer, .. } => (StageKind::Attention, layer),
        EngineStage::Mlp { layer } => (StageKind::Mlp, layer),
        EngineStage::Head => (StageKind::Head, 0),
        EngineStage::Conv { part } => (StageKind::Conv, part),
        EngineStage::Encode => (StageKind::Encode, 0),
        EngineStage::Memory => (StageKind::Memory, 0),
        EngineStage::CrossNorm { layer } => (StageKind::CrossNorm, layer),
        EngineStage::CrossKeysValues { layer, .. } => (StageKind::CrossKeysValues, layer),
        EngineStage::CrossAttention { layer, .. } => (StageKind::CrossAttention, layer),
        EngineStage::Decode => (StageKind::Decode, 0),
        EngineStage::Tail => (StageKind::Tail, 0),
    }
}
