//! The Image Processing Transformer as a network to train.

mod args;
mod folder;
mod init;
mod model;
mod parameters;
mod recipe;

pub use args::TrainIptArgs;
pub use folder::{adopt, load};
pub use model::Ipt;
pub use recipe::IptRecipe;
