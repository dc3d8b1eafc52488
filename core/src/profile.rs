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
    /// Keys and values of one head.
    Project {
        /// Block.
        layer: u16,
        /// Head.
        head: u16,
    },
    /// Queries, attention and projection of one head.
    Attention {
        /// Block.
        layer: u16,
        /// Head.
        head: u16,
    },
    /// Second layer norm and MLP of a block.
    Mlp {
        /// Block.
        layer: u16,
    },
    /// Final norm, pooling, classifiers.
    Head,
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
