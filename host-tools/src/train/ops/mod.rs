//! Fused operators with their own backward passes, for training on candle.
//!
//! candle records one graph node per operator and its backward pass allocates and adds one gradient per
//! argument, so a layer norm spelled in plain candle walks the memory a dozen times. Each operator here is
//! one node that walks it once or twice. Loops run on one thread: [`crate::train`] splits a batch into a
//! fixed number of shards and runs these in parallel, so no sum depends on the number of threads.

mod activation;
mod attention;
#[cfg(test)]
pub(crate) mod check;
mod conv;
mod cross_attention;
mod cross_entropy;
mod heads;
mod lanes;
mod layer_norm;
mod linear;
mod node;
mod pixel_loss;
mod rearrange;
mod rows;
mod tile;
mod tokens;

pub use activation::activation;
pub use attention::attention;
pub use conv::{conv2d, conv2d_relu};
pub use cross_attention::cross_attention;
pub use cross_entropy::cross_entropy;
pub use layer_norm::layer_norm;
pub use linear::{linear, project};
pub use pixel_loss::{pixel_loss, PixelLoss};
pub use rearrange::{fold, pixel_shuffle, unfold};
pub use tokens::{add_rows, embed_tokens, pool_tokens};
