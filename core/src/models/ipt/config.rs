//! The hyperparameters of an Image Processing Transformer.

use heapless::Vec;

use crate::tensor::quotient;

/// The most tasks that a model may have.
pub const MAX_TASKS: usize = 16;

/// What a task repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TaskKind {
    /// Gaussian noise. The strength is its standard deviation σ in grey levels of 0..255.
    Denoise,
    /// Bicubic reduction by the task's scale. The strength is 0.
    SuperResolve,
    /// Rain streaks. The strength is 0.
    Derain,
    /// JPEG artefacts. The strength is the quality, 1 to 100.
    Jpeg,
}

/// One task. It has its own head, query and tail around the shared body.
///
/// ```
/// use vitreous::models::ipt::{Task, TaskKind};
///
/// let task = Task { kind: TaskKind::SuperResolve, scale: 4, strength: 0 };
/// assert_eq!(format!("{task}"), "x4");
/// assert_eq!(task.upsampler(), [2, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Task {
    /// What is repaired.
    pub kind: TaskKind,
    /// How many times larger the output is in each direction: 1, 2, 3 or 4; 1 unless the kind is
    /// [`TaskKind::SuperResolve`].
    pub scale: usize,
    /// How strong the damage is; [`TaskKind`] says in which unit.
    pub strength: usize,
}

/// The hyperparameters of an IPT (Chen et al., arXiv 2012.00364) on RGB images.
///
/// Convolutions pad with zeros, so that maps keep their size. A window of `window × window` pixels becomes
/// `features` maps. They are cut into `(window/patch)²` tokens of width `features·patch²`.
///
/// ```
/// use vitreous::models::ipt::IptConfig;
///
/// // The authors' release.
/// let config = IptConfig {
///     features: 64,
///     window: 48,
///     patch: 3,
///     heads: 12,
///     hidden: 2304,
///     head_hidden: 2304,
///     encoder_layers: 12,
///     decoder_layers: 12,
///     tasks: Default::default(),
///     norm_eps: 1e-5,
/// };
/// assert_eq!((config.tokens(), config.dim(), config.head_dim()), (256, 576, 48));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IptConfig {
    /// Number of feature maps.
    pub features: usize,
    /// Side of the window in pixels, a multiple of `patch`.
    pub window: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Number of attention heads; a divisor of the token width.
    pub heads: usize,
    /// Width of the hidden layer of the encoder's and decoder's MLPs.
    pub hidden: usize,
    /// Width of the hidden layer of the MLP behind the decoder (`mlp_head`).
    pub head_hidden: usize,
    /// Number of layers of the encoder.
    pub encoder_layers: usize,
    /// Number of layers of the decoder.
    pub decoder_layers: usize,
    /// The tasks, in the order in which the file has their heads and tails.
    pub tasks: Vec<Task, MAX_TASKS>,
    /// ε of every layer norm.
    pub norm_eps: f32,
}

/// Colour channels of input and output.
pub const COLOURS: usize = 3;
/// Side of the kernels of the first convolution and of the tail's convolutions.
pub const OUTER_KERNEL: usize = 3;
/// Side of the kernels in a head's residual blocks.
pub const BLOCK_KERNEL: usize = 5;
/// Number of residual blocks in a head.
pub const HEAD_BLOCKS: usize = 2;

impl IptConfig {
    /// Width of a token: `features·patch²`. A token holds its patch's pixels row by row, and
    /// the features of each pixel together.
    pub const fn dim(&self) -> usize {
        self.features * self.patch * self.patch
    }

    /// Number of tokens in one row of the window.
    pub const fn token_columns(&self) -> usize {
        quotient(self.window, self.patch)
    }

    /// Number of tokens of a window.
    pub const fn tokens(&self) -> usize {
        self.token_columns() * self.token_columns()
    }

    /// Width of one attention head.
    pub const fn head_dim(&self) -> usize {
        quotient(self.dim(), self.heads)
    }
}

impl Task {
    /// The steps of the upsampler, as the factor of each pixel shuffle (Shi et al., arXiv 1609.05158), in
    /// order. ×4 is two steps of 2.
    pub const fn upsampler(&self) -> &'static [usize] {
        match self.scale {
            2 => &[2],
            3 => &[3],
            4 => &[2, 2],
            _ => &[],
        }
    }
}

impl core::fmt::Display for Task {
    /// `denoise30`, `x2`, `derain` or `jpeg40`, as the option `--task` takes it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.kind {
            TaskKind::Denoise => write!(f, "denoise{}", self.strength),
            TaskKind::SuperResolve => write!(f, "x{}", self.scale),
            TaskKind::Derain => write!(f, "derain"),
            TaskKind::Jpeg => write!(f, "jpeg{}", self.strength),
        }
    }
}
