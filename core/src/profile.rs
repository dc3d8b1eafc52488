//! Where a run is: what a profiler, a progress bar or a watchdog is told after each step.

/// Part of a forward pass.
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
    /// Keys and values of one head; of several where several workers share them.
    Project {
        /// Block.
        layer: u16,
        /// Head, the first of them.
        head: u16,
    },
    /// Queries, attention and projection of the same heads.
    Attention {
        /// Block.
        layer: u16,
        /// Head, the first of them.
        head: u16,
    },
    /// Second layer norm and MLP of a block.
    Mlp {
        /// Block.
        layer: u16,
    },
    /// Final norm, pooling, classifiers.
    Head,
    /// A convolutional part of a restorer's head, by output rows: 0 the first convolution, then the residual
    /// blocks.
    Conv {
        /// Which part.
        part: u16,
    },
    /// Patches of feature maps to tokens.
    Encode,
    /// The encoder's output, quantized for the decoder.
    Memory,
    /// Layer norm of a cross-attention, and its quantization.
    CrossNorm {
        /// Layer; the decoder's are counted on from the encoder's.
        layer: u16,
    },
    /// Keys and values of one head of a cross-attention, from the encoder's output.
    CrossProject {
        /// Layer.
        layer: u16,
        /// Head.
        head: u16,
    },
    /// Queries, attention and projection of one head of a cross-attention.
    CrossAttention {
        /// Layer.
        layer: u16,
        /// Head.
        head: u16,
    },
    /// The MLP behind the decoder, and tokens back to feature maps.
    Decode,
    /// Upsampling and the last convolution, by output rows.
    Tail,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Progress {
    /// One tile of this stage; more remains to be done.
    Running(Stage),
    /// The last one: the output is there.
    Done,
}
