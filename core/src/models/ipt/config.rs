//! The hyperparameters of an Image Processing Transformer.

use heapless::Vec;

use crate::tensor::quotient;

/// Most tasks that a model may have.
pub const MAX_TASKS: usize = 16;

/// What a task repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TaskKind {
    /// Gaussian noise; the strength is its standard deviation σ in grey levels of 0..255.
    Denoise,
    /// Bicubic reduction; the task's scale is the factor, the strength 0.
    SuperResolve,
    /// Rain streaks; strength 0.
    Derain,
    /// JPEG artefacts; the strength is the quality, 1 to 100.
    Jpeg,
}

/// One task: its own head, query and tail around the shared body.
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
    /// See [`TaskKind`].
    pub strength: usize,
}

/// The hyperparameters of an IPT (Chen et al., arXiv 2012.00364) on RGB images.
///
/// Convolutions keep their size by zero padding. A window of `window × window` pixels becomes `features`
/// maps, cut into `(window/patch)²` tokens of width `features·patch²`.
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
    /// Feature maps.
    pub features: usize,
    /// Side of the window in pixels, a multiple of `patch`.
    pub window: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Attention heads; divides the token width.
    pub heads: usize,
    /// Width of the hidden layer of the encoder's and decoder's MLPs.
    pub hidden: usize,
    /// Width of the hidden layer of the MLP behind the decoder (`mlp_head`).
    pub head_hidden: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Tasks, in the order of heads, queries and tails.
    pub tasks: Vec<Task, MAX_TASKS>,
    /// ε of every layer norm.
    pub norm_eps: f32,
}

/// Colour channels in and out.
pub const COLOURS: usize = 3;
/// Side of the first convolution's kernel, and of the tail's.
pub const OUTER_KERNEL: usize = 3;
/// Side of the kernels in a head's residual blocks.
pub const BLOCK_KERNEL: usize = 5;
/// Residual blocks in a head.
pub const HEAD_BLOCKS: usize = 2;

impl IptConfig {
    /// Width of a token: `features·patch²`. A token holds its patch's pixels row by row, the features of each
    /// together.
    pub const fn dim(&self) -> usize {
        self.features * self.patch * self.patch
    }

    /// Tokens in one row of the window.
    pub const fn token_columns(&self) -> usize {
        quotient(self.window, self.patch)
    }

    /// Tokens of a window.
    pub const fn tokens(&self) -> usize {
        self.token_columns() * self.token_columns()
    }

    /// Width of one attention head.
    pub const fn head_dim(&self) -> usize {
        quotient(self.dim(), self.heads)
    }
}

impl Task {
    /// Steps of the upsampler: the factor of each pixel shuffle (Shi et al., arXiv 1609.05158), in order; ×4
    /// is two steps of 2.
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
    /// `denoise30`, `x2`, `derain`, `jpeg40`: what `--task` takes.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.kind {
            TaskKind::Denoise => write!(f, "denoise{}", self.strength),
            TaskKind::SuperResolve => write!(f, "x{}", self.scale),
            TaskKind::Derain => write!(f, "derain"),
            TaskKind::Jpeg => write!(f, "jpeg{}", self.strength),
        }
    }
}
