//! Whole runs on small synthetic pictures.

use super::*;
use vitreous::models::ipt::IptConfig;

/// A recipe whose run takes a second.
pub fn tiny_recipe(tasks: &[&str]) -> Recipe {
    Recipe {
        features: 4,
        window: 8,
        heads: 2,
        hidden: 16,
        head_hidden: 16,
        encoder_layers: 1,
        decoder_layers: 1,
        tasks: tasks.iter().map(|t| (*t).to_owned()).collect(),
        steps: 6,
        batch: 6,
        warmup: 2,
        held_out: 1,
        ..Recipe::default()
    }
}

/// The model of [`tiny_recipe`].
pub fn tiny_config(tasks: &[&str]) -> IptConfig {
    tiny_recipe(tasks).config().unwrap()
}
