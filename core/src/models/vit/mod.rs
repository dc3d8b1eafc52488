//! Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877).
mod config;
pub use config::{Activation, Head, Pool, VitConfig};
