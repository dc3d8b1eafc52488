//! The hyperparameters of a ViT.

use crate::kernels::Activation;
use crate::tensor::quotient;

/// How the token sequence becomes one feature vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Pool {
    /// The class token's row.
    Token,
    /// The mean of the patch tokens' rows (class and distillation tokens left out).
    Mean,
}

/// What follows the pooled features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Head {
    /// Nothing: the features are the output.
    None,
    /// One linear classifier.
    Linear,
    /// DeiT's two classifiers, on the class token and on the distillation token. Their logits are averaged
    /// (arXiv 2012.12877, §4).
    Distilled,
    /// One classifier of twice the width, on the class token and on the mean of the patch tokens (DINOv2,
    /// arXiv 2304.07193, §7.1). The file has it as two classifiers, on the mean and on the class token, with
    /// doubled weights. Their logits are averaged: `W·[c; m] + b = (2·W_m·m + 2·W_c·c + 2·b) / 2`.
    TokenAndMean,
}

/// What the classifier's outputs mean, and so how they are shown to people. The arithmetic of the classifier
/// does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Output {
    /// Logits of classes of which exactly one is true. They are shown as their softmax.
    Softmax,
    /// Logits of labels that are true or not independently of each other (multi-label). They are shown as the
    /// sigmoid of each. The threshold for a label is ½, which is a logit of 0.
    Sigmoid,
    /// Values of a regression. They are shown as they are.
    Values,
}

impl Output {
    /// The meaning where the checkpoint states none: softmax. For a single output it is its value, since the
    /// softmax of one number is always 1.
    pub const fn unsaid(classes: usize) -> Self {
        if classes == 1 {
            Output::Values
        } else {
            Output::Softmax
        }
    }
}

/// The hyperparameters of a ViT with pre-norm blocks.
///
/// Token order: class token (if any), distillation token (if any), then patches row by row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VitConfig {
    /// Image height in pixels, a multiple of `patch_height`.
    pub image_height: usize,
    /// Image width in pixels, a multiple of `patch_width`.
    pub image_width: usize,
    /// Colour channels: 1 (grey) to 4.
    pub channels: usize,
    /// Patch height in pixels.
    pub patch_height: usize,
    /// Patch width in pixels.
    pub patch_width: usize,
    /// Width of a token (embedding dimension), a multiple of `heads`.
    pub dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads per block.
    pub heads: usize,
    /// Width of the MLP's hidden layer.
    pub hidden: usize,
    /// Number of classes; 0 if and only if `head` is [`Head::None`].
    pub classes: usize,
    /// Whether a learned class token goes first.
    pub class_token: bool,
    /// Whether DeiT's learned distillation token follows it.
    pub distill_token: bool,
    /// How the features are pooled.
    pub pool: Pool,
    /// Whether there is a final layer norm on the tokens, before pooling.
    pub norm_before_pool: bool,
    /// Whether there is a layer norm on the pooled features (timm's `fc_norm`).
    pub norm_after_pool: bool,
    /// The kind of classifier.
    pub head: Head,
    /// The MLP's nonlinearity.
    pub activation: Activation,
    /// ε of every layer norm.
    pub norm_eps: f32,
    /// What the outputs mean. A single class never has [`Output::Softmax`]. A model without head always has
    /// it, since its features mean nothing in themselves.
    pub output: Output,
}

impl VitConfig {
    /// Number of patches of one image.
    pub const fn patches(&self) -> usize {
        quotient(self.image_height, self.patch_height) * self.patch_columns()
    }

    /// Number of patches side by side.
    pub const fn patch_columns(&self) -> usize {
        quotient(self.image_width, self.patch_width)
    }

    /// Number of tokens before the first patch: class and distillation token.
    pub const fn prefix_tokens(&self) -> usize {
        self.class_token as usize + self.distill_token as usize
    }

    /// Number of tokens.
    pub const fn tokens(&self) -> usize {
        self.prefix_tokens() + self.patches()
    }

    /// The row of the token that the second of two classifiers reads, or `None` with one classifier.
    pub const fn second_head_token(&self) -> Option<usize> {
        match self.head {
            Head::None | Head::Linear => None,
            Head::Distilled => Some(1),
            Head::TokenAndMean => Some(0),
        }
    }

    /// Width of one attention head.
    pub const fn head_dim(&self) -> usize {
        quotient(self.dim, self.heads)
    }

    /// Bytes of one patch: `patch_height · patch_width · channels`.
    pub const fn patch_bytes(&self) -> usize {
        self.patch_height * self.patch_width * self.channels
    }
}
