//! The configuration section of a ViT: how it is stored, and how it is checked.

use super::config::{Head, Output, Pool, VitConfig};
use crate::blocks::LayerPrecision;
use crate::error::Error;
use crate::format::{u32_at, Words};
use crate::kernels::Activation;
use crate::tensor::{Precision, MAX_DEPTH, MAX_INPUTS, MAX_TOKENS, MIN_MAGNITUDE};

/// Words (u32) before the precision words.
const FIXED_WORDS: usize = 16;

/// The configuration section, read in place: precisions of the blocks are read when they are needed.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigSection<'a> {
    bytes: &'a [u8],
    /// Precision of the classifiers.
    pub head_precision: Precision,
}

impl<'a> ConfigSection<'a> {
    /// Number of bytes for a model of `depth` blocks.
    pub const fn bytes(depth: usize) -> usize {
        4 * (FIXED_WORDS + depth)
    }

    /// The fixed words of the section, for the converter. The precision words of the blocks follow them.
    pub fn fixed_words(config: &VitConfig, head_precision: Precision) -> [u32; FIXED_WORDS] {
        let flags = config.class_token as u32
            | (config.distill_token as u32) << 1
            | (config.norm_before_pool as u32) << 2
            | (config.norm_after_pool as u32) << 3
            | head_precision.bit() << 4;
        [
            config.image_height as u32,
            config.image_width as u32,
            config.channels as u32,
            config.patch_height as u32,
            config.patch_width as u32,
            config.dim as u32,
            config.depth as u32,
            config.heads as u32,
            config.hidden as u32,
            config.classes as u32,
            flags,
            config.pool as u32,
            config.head as u32,
            config.activation as u32,
            config.norm_eps.to_bits(),
            config.output as u32,
        ]
    }

    /// Reads and checks the section, given by its offset in the file and its bytes.
    pub(super) fn parse(section: (u32, &'a [u8])) -> Result<(Self, VitConfig), Error> {
        let reader = Words::new(section, Self::bytes(0))?;
        let flags = reader.word(10);
        let classes = reader.size("classes", 9, 0, 1 << 20);
        let unsaid = Output::unsaid(classes);
        let output = reader.one_of("output", 15, &[unsaid, Output::Sigmoid, Output::Values], unsaid);
        let heads = [Head::None, Head::Linear, Head::Distilled, Head::TokenAndMean];
        let activations = [Activation::GeluErf, Activation::GeluTanh, Activation::Relu];
        let config = VitConfig {
            image_height: reader.size("image_height", 0, 1, 16_384),
            image_width: reader.size("image_width", 1, 1, 16_384),
            channels: reader.size("channels", 2, 1, 4),
            patch_height: reader.size("patch_height", 3, 1, 16_384),
            patch_width: reader.size("patch_width", 4, 1, 16_384),
            dim: reader.size("dim", 5, 1, 16_384),
            depth: reader.size("depth", 6, 1, MAX_DEPTH),
            heads: reader.size("heads", 7, 1, 1024),
            hidden: reader.size("hidden", 8, 1, 65_535),
            classes,
            class_token: flags & 1 != 0,
            distill_token: flags & 2 != 0,
            norm_before_pool: flags & 4 != 0,
            norm_after_pool: flags & 8 != 0,
            pool: reader.one_of("pool", 11, &[Pool::Token, Pool::Mean], Pool::Token),
            head: reader.one_of("head", 12, &heads, Head::None),
            activation: reader.one_of("activation", 13, &activations, Activation::Relu),
            norm_eps: f32::from_bits(reader.word(14)),
            output,
        };
        reader.done()?;
        check_relations(&reader, &config, flags);
        reader.done()?;
        reader.expect_length(Self::bytes(config.depth))?;
        let section = Self { bytes: section.1, head_precision: Precision::from_bit(flags >> 4 & 1) };
        for layer in 0..config.depth {
            let word = FIXED_WORDS + layer;
            reader.check(reader.word(word) < 16, "precision", word);
        }
        reader.done()?;
        Ok((section, config))
    }

    /// Precision of the linear layers of block `layer`.
    pub fn block(&self, layer: usize) -> LayerPrecision {
        LayerPrecision::from_word(u32_at(self.bytes, 4 * (FIXED_WORDS + layer)))
    }
}

/// Checks relations between fields. The bounds of [`ConfigSection::parse`] keep every product below 2^32.
fn check_relations(words: &Words, c: &VitConfig, flags: u32) {
    let check = |good: bool, name, word| words.check(good, name, word);
    check(c.image_height.is_multiple_of(c.patch_height), "patch_height", 3);
    check(c.image_width.is_multiple_of(c.patch_width), "patch_width", 4);
    let patch_bytes = (c.patch_height as u64) * (c.patch_width as u64) * (c.channels as u64);
    check(patch_bytes <= MAX_INPUTS as u64, "patch_height", 3);
    check(c.patches() + 2 <= MAX_TOKENS, "image_height", 0);
    check(c.dim.is_multiple_of(c.heads), "heads", 7);
    check(flags < 32, "flags", 10);
    check(c.class_token || !c.distill_token, "flags", 10);
    check(c.class_token || c.pool == Pool::Mean, "pool", 11);
    check((c.head == Head::None) == (c.classes == 0), "classes", 9);
    let second_head_fits = match c.head {
        Head::None | Head::Linear => true,
        Head::Distilled => c.distill_token && c.pool == Pool::Token,
        Head::TokenAndMean => c.class_token && c.pool == Pool::Mean,
    };
    check(second_head_fits, "head", 12);
    check(c.norm_eps >= MIN_MAGNITUDE && c.norm_eps <= 1.0, "norm_eps", 14);
    check(c.head != Head::None || c.output == Output::Softmax, "output", 15);
}
