//! Progress of a run: what a profiler, a progress bar or a watchdog learns after each step.

/// A part of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stage {
    /// Patch and position embedding.
    Embed,
    /// First layer norm of a block, and its quantization.
    Norm {
        /// Block.
        layer: u16,
    },
    /// Keys and values of one head, or of several heads if several workers share them.
    KeysValues {
        /// Block.
        layer: u16,
        /// The head, or the first of several.
        head: u16,
    },
    /// Queries, attention and output projection of the same heads.
    Attention {
        /// Block.
        layer: u16,
        /// The head, or the first of several.
        head: u16,
    },
    /// Second layer norm and MLP of a block.
    Mlp {
        /// Block.
        layer: u16,
    },
    /// Final norm, pooling, classifiers.
    Head,
    /// A convolution of a restorer's head, one output row per step: part 0 is the first convolution, the
    /// residual blocks follow.
    Conv {
        /// Number of the part.
        part: u16,
    },
    /// Patches of feature maps become tokens.
    Encode,
    /// The encoder's output, quantized for the decoder.
    Memory,
    /// Layer norm of a cross-attention, and its quantization.
    CrossNorm {
        /// Layer; the decoder's numbers follow the encoder's.
        layer: u16,
    },
    /// Keys and values of one head of a cross-attention, from the encoder's output.
    CrossKeysValues {
        /// Layer.
        layer: u16,
        /// Head.
        head: u16,
    },
    /// Queries, attention and output projection of one head of a cross-attention.
    CrossAttention {
        /// Layer.
        layer: u16,
        /// Head.
        head: u16,
    },
    /// The MLP behind the decoder; tokens become feature maps again.
    Decode,
    /// Upsampling and the last convolution, one output row per step.
    Tail,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Progress {
    /// One tile of this stage; more steps remain.
    Running(Stage),
    /// The last step; the output is ready.
    Done,
}
