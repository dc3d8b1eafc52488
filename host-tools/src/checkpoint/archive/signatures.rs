//! Tensors by which models are recognised: each model of a library or architecture has one of them, and no
//! other library's has. What stands before it is a prefix.

/// timm.
pub(crate) const TIMM: &str = "patch_embed.proj.weight";
/// Hugging Face transformers.
pub(crate) const HUGGING_FACE: &str = "embeddings.patch_embeddings.projection.weight";
/// torchvision.
pub(crate) const TORCHVISION: &str = "conv_proj.weight";
/// The authors of the IPT.
pub(crate) const IPT: &str = "body.linear_encoding.weight";

/// Those of ViTs.
pub(crate) const VIT: [&str; 3] = [TIMM, HUGGING_FACE, TORCHVISION];
/// All of them: a further architecture adds its own.
pub(crate) const ALL: [&str; 4] = [TIMM, HUGGING_FACE, TORCHVISION, IPT];
