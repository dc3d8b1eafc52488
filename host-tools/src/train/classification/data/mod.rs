//! Labelled image sets for training, held in memory as 8-bit pixels of the model's size.

mod cifar;
mod dataset;
mod digits;
mod folder;
mod idx;
mod image_set;
mod source;
mod split;

pub use dataset::{DataKind, Dataset};
pub use digits::{digits, digits_test, write_digits_test};
pub use image_set::ImageSet;
pub use source::{DataSource, Shape, FOLDER_SIDE};
