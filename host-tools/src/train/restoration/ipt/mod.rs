//! The Image Processing Transformer as a network to train.

mod adopt;
mod args;
mod file;
mod init;
mod model;
mod parameters;
mod recipe;

pub use adopt::{adopt, load};
pub use args::TrainIptArgs;
pub use model::Ipt;
pub use recipe::IptRecipe;
