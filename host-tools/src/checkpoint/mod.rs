//! Float weights: import from timm, Hugging Face transformers, torchvision and the authors of the IPT, and
//! the tool's own checkpoints.
//!
//! Files are safetensors, or dicts of tensors by `torch.save`, which are read as data: nothing in them is
//! executed. A ViT's tensors are renamed to timm's names, the configuration is read from their shapes and
//! from the config.json beside them, and every shape and value is checked once. Afterwards a [`FloatVit`] or
//! a [`FloatIpt`](ipt::FloatIpt) can be trusted.
//!
//! A checkpoint goes one way, and each step uses earlier ones alone: its bytes (`file`), its tensors
//! (`archive`), their canonical names (`names`), what files and names say beside them (`metadata`), the model
//! (`vit`, `ipt`). A further architecture adds its signature (`archive::signatures`) and a module for the
//! last step.
mod archive;
mod checks;
mod error;
mod file;
pub mod ipt;
mod json;
mod metadata;
mod names;
mod settings;
mod tensor;
mod vit;

pub use archive::sets::WeightsChoice;
pub use error::CheckpointError;
pub use file::locate::{PREVIOUS_STATE_FILE, STATE_FILE};
pub use names::head::HeadKind;
pub use settings::{Origin, Setting, Settings};
pub use tensor::FloatTensor;
pub use vit::{
    activation_name, crop_name, filter_name, pool_name, tensor_shapes, validate_config, validate_preprocess,
    BlockKind, ChannelOrder, FloatVit, LoadOptions, PreprocessOptions,
};
